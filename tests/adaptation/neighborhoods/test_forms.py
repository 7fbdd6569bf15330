"""Every form of the inner steps against gradients taken query by query: outputs and derivatives, float64, 1e-9."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modicum.memory.dictionary import drop_entries

from .cases import LAYERS, B, D, S, learned, make, reference

CLOSE = 1e-9


def draw(how: Any) -> Tensor | None:
    """Entries that are kept."""
    return None if how == "none" else drop_entries(S, 0.5, how, B, torch.Generator().manual_seed(3))


def derivatives(logits: Tensor, model: Any, z: Tensor) -> dict[str, Tensor]:
    """Of a loss that weighs every logit differently, in all that is learned and in the features."""
    weighed = torch.randn(logits.shape, generator=torch.Generator().manual_seed(7), dtype=logits.dtype)
    named = {"z": z, **learned(model)}
    loss = (weighed * logits).sum() + logits.square().sum()
    return dict(zip(named, torch.autograd.grad(loss, list(named.values()), retain_graph=True), strict=True))


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest difference between derivatives, relative where they are above 1."""
    return max(float((found[name] - t).abs().max() / max(1.0, float(t.abs().max()))) for name, t in expected.items())


@pytest.mark.parametrize("how", ["none", "shared", "query"])
@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize(("kind", "bias"), LAYERS)
def test_all_forms_are_the_gradients_of_single_queries(kind: str, bias: bool, rates: str, how: str):
    """One, two and three steps; the logits after every step, and derivatives in everything that is learned."""
    model, keep = make(kind, bias, rates, steps=3), draw(how)
    z = torch.randn(B, D, dtype=torch.float64, requires_grad=True)
    expected = reference(model, z, 3, keep)
    wanted = {steps: derivatives(expected[steps], model, z) for steps in (1, 2, 3)}
    all_steps = derivatives(expected, model, z)
    for form in ("closed", "explicit"):
        model.form = form
        for steps in (1, 2, 3):
            logits = model.logits(z, keep, steps)
            assert (logits - expected[steps]).abs().max() < CLOSE
            assert furthest(derivatives(logits, model, z), wanted[steps]) < CLOSE
        found = model.trajectory(z, keep)
        assert (found - expected).abs().max() < CLOSE
        assert furthest(derivatives(found, model, z), all_steps) < CLOSE


@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize(("kind", "bias"), LAYERS)
def test_forms_without_gradients_agree(kind: str, bias: bool, rates: str):
    """Evaluation: what is kept between calls, left-out entries and inference tensors change no logit."""
    model = make(kind, bias, rates, steps=3).eval()
    z = torch.randn(B, D, dtype=torch.float64)
    expected = reference(model, z, 3).detach()
    for form in ("closed", "explicit"):
        model.form = form
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                for steps in (1, 3):
                    assert (model.trajectory(z, steps=steps) - expected[: steps + 1]).abs().max() < CLOSE
                    assert (model.logits(z, steps=steps) - expected[steps]).abs().max() < CLOSE

"""Steps made again in the backward pass: the same gradients to the bit, and a graph that is not kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from modicum.adaptation.gradient.checkpointing import made_again
from modicum.adaptation.gradient.meta import meta_gradients
from modicum.adaptation.gradient.step_norms import StepNorms

from .small import curves, make, pictures


def test_gradients_by_hand() -> None:
    # y = a x^2 with x = 3, a = 2, twice: z = a (a x^2)^2 = 648; dz/dx = 4 a^3 x^3 = 864; dz/da = 3 a^2 x^4 = 972
    x, a = torch.tensor(3.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    y = x
    for _ in range(2):
        (y,) = made_again(lambda tensors: [a * tensors[0] ** 2], [y], [a])
    assert y.item() == 648
    y.backward()
    assert (x.grad, a.grad) == (864, 972)


def test_nothing_is_kept_between_the_passes() -> None:
    kept: list[Tensor] = []
    x = torch.ones(3, requires_grad=True)

    def function(tensors: Any) -> list[Tensor]:
        kept.append(tensors[0])
        return [tensors[0].exp().sin().sum()]

    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        (y,) = made_again(function, [x], [])
    assert len(kept) == 2  # the argument as the function saw it, and as it is saved
    y.backward()
    torch.testing.assert_close(x.grad, x.exp().cos() * x.exp())


@pytest.mark.parametrize(
    "options",
    [
        {"rule": "alfa-attached", "start": "l2f"},
        {"rule": "layer-step", "moves": "head", "strategy": "grouped"},
        {"norms": True, "batch_norm": "batch"},
        {"network": "mlp", "rule": "alfa-both", "strategy": "grouped"},
    ],
)
def test_meta_gradients_are_the_same_to_the_bit(options: dict[str, Any]) -> None:
    own = {"strategy": "loop", **{key: value for key, value in options.items() if key != "norms"}}
    learner, *_ = make(**own)
    if "norms" in options:
        learner.norms = StepNorms(learner.model, learner.steps)
    twin = copy.deepcopy(learner)
    twin.checkpoint = True
    episode = curves() if options.get("network") == "mlp" else pictures()
    plain, again = (meta_gradients(each, episode, [0.1, 0.2, 0.7]) for each in (learner, twin))
    for ours, theirs in zip(learner.parameters(), twin.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad)
    assert torch.equal(plain.losses, again.losses)
    assert len(plain.found) == len(again.found)

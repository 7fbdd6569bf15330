"""What rac is trained with (Long et al. 2022, tables S6 and S7): warm-up and cosine, AdamW, clipping by the norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modicum.configs import Train
from modicum.errors import ConfigError
from modicum.training.schedules import learning_rate_factor
from modicum.training.steps import clip_gradients, make_optimizer


def rate(step: int, full: float = 1e-4) -> float:
    return full * learning_rate_factor("cosine-warm", step, 30, warmup=10, rate=full)


def test_cosine_warm_by_hand():
    """From 1e-7 by a line to the full rate at the end of the warm-up, half of it halfway between there and the end.

    A cosine that had begun at step 0 would stand at 0.75 of the full rate after the warm-up, and at 0.25 at step 20.
    """
    assert rate(0) == pytest.approx(1e-7)
    assert rate(5) == pytest.approx((1e-7 + 1e-4) / 2)
    assert rate(10) == pytest.approx(1e-4)
    assert rate(20) == pytest.approx((1e-7 + 1e-4) / 2)
    assert rate(30) == pytest.approx(1e-7)
    assert rate(30, full=1e-2) == pytest.approx(1e-7)  # the floor is a rate, not a share of the full one
    assert [learning_rate_factor("cosine-warm", 0, 9, warmup=0, rate=1.0), rate(0, full=1e-8)] == [1, 1e-8]


def test_other_schedules_warm_up_as_before():
    assert [learning_rate_factor("cosine", step, 9, warmup=2) for step in (0, 1)] == [0.1, 0.1]


def test_adamw_decays_weights_and_adam_their_loss():
    """No gradient: AdamW takes rate * decay off the weight, Adam, whose penalty is a gradient, a whole rate."""
    found = {}
    for name in ("adamw", "adam"):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0)
        config = Train(data="digits", out="run", optimizer=name, learning_rate=0.1, weight_decay=0.02)  # type: ignore[arg-type]
        optimizer = make_optimizer(layer, config)
        layer.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        found[name] = layer.weight.item()
        assert optimizer.defaults["betas"] == (0.9, 0.999)
    assert found["adamw"] == pytest.approx(2 - 0.1 * 0.02 * 2)
    assert found["adam"] == pytest.approx(2 - 0.1)


def test_the_norm_is_that_of_all_parameters_together():
    """Gradients 3 and 4 have the norm 5: a fifth of each is left, where two norms of their own would leave 1 and 1."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    for parameter, value in zip(parameters, (3.0, 4.0), strict=True):
        parameter.grad = torch.tensor([value])
    for norm in (1.0, 2.0):  # shorter ones stay
        clip_gradients(parameters, Train(data="digits", out="run", clip_norm=norm))
        assert [p.grad.item() for p in parameters if p.grad is not None] == pytest.approx([0.6, 0.8], rel=1e-5)


def test_clip_norm_is_more_than_nothing():
    with pytest.raises(ConfigError, match="clip_norm: expected more than 0, found 0"):
        Train(data="digits", out="run", clip_norm=0)

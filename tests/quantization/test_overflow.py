"""Overflow: rate and penalty by hand, and step sizes against a search through many."""

from __future__ import annotations

import math

import pytest
import torch

from modicum.quantization.overflow import best_step, overflow_penalty, overflow_rate, smallest_step


def test_rate_and_penalty_by_hand() -> None:
    """8 bits hold -128..127: 128 overflows, but exceeds 2^7 by nothing. Excesses 2 and 72 of 8 sums."""
    z = torch.tensor([[-130.0, -128.0, 0.0, 127.0], [128.0, 200.0, -1.0, 5.0]], requires_grad=True)
    assert overflow_rate(z.detach(), 8).item() == 3 / 8
    penalty = overflow_penalty(z, 8)
    assert penalty.item() == 74 / 8
    (4 * penalty).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.tolist() == [[-0.5, 0, 0, 0], [0, 0.5, 0, 0]]


def test_the_penalty_has_the_derivative_of_its_values() -> None:
    z = torch.tensor([-20.0, -9.0, -8.5, -3.0, 0.0, 7.5, 8.5, 31.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: overflow_penalty(x, 4), z)


def test_sums_that_fit_cost_nothing_and_pull_nowhere() -> None:
    z = torch.linspace(-128, 128, 50, requires_grad=True)
    penalty = overflow_penalty(z, 8)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert penalty.item() == 0
    assert z.grad is not None
    assert not z.grad.any()


def test_the_smallest_step_is_found_where_the_rate_falls_to_the_share() -> None:
    """Sums 1000 u / s of u = 1/n .. 1 overflow 100 for u >= s / 10: a share p does for s = 10 (1 - p)."""
    u = torch.arange(1, 10_001) / 10_000
    for share in (0.0, 0.05, 0.3):
        found = smallest_step(lambda s: float((1000 * u / s >= 100).float().mean()), share, 0.01, 100.0)
        assert found == pytest.approx(10 * (1 - share), rel=3e-4)
        assert float((1000 * u / found >= 100).float().mean()) <= share


def test_a_range_whose_ends_settle_it() -> None:
    assert smallest_step(lambda s: 0.0, 0.05, 0.5, 3.0) == 0.5
    assert smallest_step(lambda s: 1.0, 0.05, 0.5, 3.0) == 3.0


@pytest.mark.parametrize(("low", "top"), [(0, 1), (0, 7), (0, 255), (-4, 3), (-1, 0)])
def test_the_step_of_least_error_against_a_search_through_many(low: int, top: int) -> None:
    values = torch.randn(2_000).abs() if low == 0 else torch.randn(2_000)

    def error(step: float) -> float:
        return float(((values / step).round().clamp(low, top) * step - values).double().square().mean())

    most = float(values.abs().max()) / max(top, 0.5)
    searched = min(error(most * i / 3000) for i in range(60, 6001))
    assert error(best_step(values, low, top)) <= searched * 1.02 + 1e-12


def test_values_on_a_grid_are_met_exactly() -> None:
    values = torch.arange(8) * 0.3
    step = best_step(values, 0, 7)
    assert math.isclose(step, 0.3, rel_tol=1e-6)

"""Theorem 1: its terms by hand, and a simulation in which the rule is at least as good as the bound."""

import numpy as np
import pytest
import torch

from modicum.evaluation.one_shot_bound import (
    VACUOUS,
    accuracy_bound,
    mixture_variance,
    names_first,
    one_shot_accuracy,
    variance_ratio,
)


def _t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_terms_by_hand() -> None:
    """Var X = 3, Var Y = 1, means 10 apart: Var U = 2 + 25 = 27, not the 4 + 100 of the proof."""
    assert mixture_variance(_t(3), _t(1), _t(100)).tolist() == [27]
    assert variance_ratio(_t(3), _t(1), _t(100)).tolist() == pytest.approx([4 / 27])
    assert variance_ratio(_t(1, 0), _t(1, 0), _t(0, 5)).tolist() == [2, 0]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4000, 2)) * 1.5, rng.normal(size=(4000, 2)) + 3
    mixed = np.concatenate([x, y])
    expected = ((mixed - mixed.mean(0)) ** 2).sum(1).mean()
    spread = [float(((z - z.mean(0)) ** 2).sum(1).mean()) for z in (x, y)]
    apart = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    assert mixture_variance(_t(spread[0]), _t(spread[1]), _t(apart)).item() == pytest.approx(expected)


def test_bound_is_vacuous_from_one_33rd_on() -> None:
    bound = accuracy_bound(_t(0, 0.01, VACUOUS * 0.99, VACUOUS, 0.5, 1, 2))
    assert bound[:2].tolist() == pytest.approx([1, 1 - 0.32 / 0.99])
    assert bound[2] > 0
    assert bound[3:].tolist() == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_rule_is_the_nearer_of_both() -> None:
    torch.manual_seed(0)
    x, y, z = torch.randn(3, 200, 5, dtype=torch.float64).unbind(0)
    nearer = (z - x).norm(dim=-1) <= (z - y).norm(dim=-1)
    assert torch.equal(names_first(z, x, y), nearer)
    assert bool(names_first(_t(1, 0), _t(0, 0), _t(2, 5)))
    assert not bool(names_first(_t(9, 9), _t(0, 0), _t(2, 5)))


@pytest.mark.parametrize("dims", [1, 10])
@pytest.mark.parametrize("apart", [8.0, 14.0, 30.0])
@pytest.mark.parametrize("wide", [1.0, 3.0])
def test_simulation_with_the_true_mixture_variance(dims: int, apart: float, wide: float) -> None:
    """Gaussians of standard deviation 1 and `wide` a side, `apart * sqrt(dims)` apart: accuracy >= bound."""
    torch.manual_seed(0)
    n = 20_000
    centre = torch.full((dims,), apart, dtype=torch.float64)
    for sx, sy in ((1.0, wide), (wide, 1.0)):
        x, z, y = torch.randn(3, n, dims, dtype=torch.float64).unbind(0)
        accuracy = names_first(z * sx, x * sx, y * sy + centre).double().mean().item()
        ratio = variance_ratio(_t(dims * sx**2), _t(dims * sy**2), centre.square().sum()[None])
        assert accuracy >= accuracy_bound(ratio).item()
    proof = 1 - 32 * (r := dims * (1 + wide**2) / (dims * (1 + wide**2) + dims * apart**2)) / (1 - r)
    assert accuracy_bound(ratio).item() <= max(0.0, proof)  # the mixture's variance gives the weaker bound


def test_heavy_tails_keep_the_bound_where_it_is_not_vacuous() -> None:
    """A point that jumps far with small probability uses up Chebyshev's inequality: accuracy falls, the bound holds."""
    rng = np.random.default_rng(0)
    n, jump, often, apart = 200_000, 40.0, 0.005, 70.0
    draw = lambda: np.where(rng.random(n) < often, jump, 0.0)  # noqa: E731
    variance = jump**2 * often * (1 - often)
    x, z, y = draw(), draw(), apart + draw()
    accuracy = names_first(*(torch.from_numpy(part[:, None]) for part in (z, x, y))).double().mean().item()
    bound = accuracy_bound(variance_ratio(_t(variance), _t(variance), _t(apart**2))).item()
    assert 0.5 < bound <= accuracy < 1


def test_measured_over_class_pairs() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    centres = np.array([[0.0, 0], [200, 0], [0, 200], [200, 200]])
    x = (centres[labels] + rng.normal(size=(200, 2))).astype(np.float32)
    found = one_shot_accuracy(x, labels, draws=500)
    assert found.accuracy.mean == 1
    assert 0.9 < found.bound < 1
    assert found.share_bounded == 1
    assert found.ratio == pytest.approx(np.mean([16 / 40_000] * 4 + [16 / 80_000] * 2), rel=0.15)
    assert found.least_ratio < found.ratio
    noise = one_shot_accuracy(rng.normal(size=(200, 50)), labels, draws=4000)
    assert noise.accuracy.mean == pytest.approx(0.5, abs=0.05)
    assert (noise.bound, noise.share_bounded) == (0, 0)
    assert noise.ratio == pytest.approx(2, abs=0.1)

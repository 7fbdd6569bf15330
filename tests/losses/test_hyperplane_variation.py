"""R_HV and 4 R_HV^2 against cases worked by hand and a plain loop over pairs."""

from itertools import combinations

import pytest
import torch

from modicum.errors import DataError
from modicum.losses.hyperplane_variation import hyperplane_variation, hyperplane_variation_squared, pair_variation

HAND = torch.tensor([[[0.0, 0], [0, 2]], [[3, 4], [0, 3]]])
"""x1 - y1 = (-3,-4) of norm 5, x2 - y2 = (0,-1) of norm 1, their difference (-3,-3)."""


def test_both_forms_by_hand() -> None:
    """R = sqrt(18) / 6 = 0.7071; 4 R^2 = 4 * 18 / 36 = 2. Squared norms below would give 18 / 26."""
    assert hyperplane_variation(HAND).item() == pytest.approx(18**0.5 / 6)
    assert hyperplane_variation_squared(HAND).item() == pytest.approx(2)
    assert pair_variation(HAND).item() == pytest.approx(18**0.5 / 6)


def test_all_pairs_agree_with_a_plain_loop() -> None:
    """Ratios are averaged, not sums: the second form is the mean of squares, which is not the square of the mean."""
    torch.manual_seed(0)
    x = torch.randn(6, 2, 5, dtype=torch.float64)
    ratios = []
    for a, b in combinations(range(6), 2):
        first, second = x[a, 0] - x[b, 0], x[a, 1] - x[b, 1]
        ratios.append(float((first - second).norm() / (first.norm() + second.norm())))
    assert hyperplane_variation(x).item() == pytest.approx(sum(ratios) / 15)
    assert hyperplane_variation_squared(x).item() == pytest.approx(4 * sum(r * r for r in ratios) / 15)
    pairs = torch.stack([x[[a, b]] for a, b in combinations(range(6), 2)])
    assert pair_variation(pairs).tolist() == pytest.approx(ratios)


def test_bounds_and_scale() -> None:
    """Opposite lines give the largest value, 1 and 4; noise of many features gives 2; scale and shift change nothing."""
    opposite = torch.tensor([[[1.0], [-1]], [[-2], [2]]])
    assert hyperplane_variation(opposite).item() == pytest.approx(1)
    assert hyperplane_variation_squared(opposite).item() == pytest.approx(4)
    torch.manual_seed(0)
    noise = torch.randn(20, 2, 5000, dtype=torch.float64)
    assert hyperplane_variation_squared(noise).item() == pytest.approx(2, abs=0.02)
    assert hyperplane_variation(7 * noise + 3).item() == pytest.approx(hyperplane_variation(noise).item())


def test_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(hyperplane_variation, (x,))
    assert torch.autograd.gradcheck(hyperplane_variation_squared, (x,))


def test_distances_of_zero_pass_no_gradient_and_no_nan() -> None:
    """Class 0 twice the same picture and class 1 likewise: the line does not turn. All equal: 0 / 0."""
    still = torch.tensor([[[1.0, 2], [1, 2]], [[3, 3], [3, 3]]], requires_grad=True)
    same = torch.full((3, 2, 4), 0.1, requires_grad=True)
    for x in (still, same):
        for form in (hyperplane_variation, hyperplane_variation_squared):
            value = form(x)
            assert value.item() == 0
            (slope,) = torch.autograd.grad(value, x)
            assert slope.abs().max() == 0


def test_other_shapes_are_refused() -> None:
    for shape in ((1, 2, 3), (4, 3, 3), (4, 3)):
        with pytest.raises(DataError, match="expected \\(classes, 2, D\\)"):
            hyperplane_variation(torch.zeros(shape))

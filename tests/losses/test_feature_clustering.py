"""R_FC against cases worked by hand, where each misreading of the equation gives another number."""

from itertools import combinations

import pytest
import torch

from modicum.errors import DataError
from modicum.losses.feature_clustering import (
    feature_clustering,
    feature_clustering_all_pairs,
    feature_clustering_pairs,
    pair_clustering,
)


def test_three_classes_of_two_pictures_by_hand() -> None:
    """Class means (1,0), (0,4), (5,2), mu = (2,2); within 2 + 2 + 8, between 5 + 8 + 9; C/N = 3/2.

    Without C/N 12/22, with C alone 36/22, with N - 1 36/22, with unsquared distances another number.
    """
    x = torch.tensor([[0.0, 0], [2, 0], [0, 3], [0, 5], [3, 2], [7, 2]])
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert feature_clustering(x, labels).item() == pytest.approx(1.5 * 12 / 22)
    order = torch.tensor([4, 1, 0, 3, 5, 2])
    assert feature_clustering(x[order], labels[order] * 10 - 3).item() == pytest.approx(1.5 * 12 / 22)


def test_centre_is_the_mean_of_all_features_and_classes_count_alike() -> None:
    """Class 0: 0, 2 (mean 1, spread 2/2); class 1: 6, 6, 6, 12 (mean 7.5, spread 27/4); mu = 32/6, not 4.25.

    2 (1 + 6.75) / (4.3333^2 + 2.1667^2); with the mean of class means the bottom would be 2 * 3.25^2.
    """
    x = torch.tensor([0.0, 2, 6, 6, 6, 12])[:, None]
    labels = torch.tensor([0, 0, 1, 1, 1, 1])
    bottom = (32 / 6 - 1) ** 2 + (7.5 - 32 / 6) ** 2
    assert feature_clustering(x, labels).item() == pytest.approx(2 * 7.75 / bottom)


def test_a_pair_by_hand_is_the_equation_with_two_classes_and_two_pictures() -> None:
    """x: (0,0), (2,0); y: (0,3), (0,5): (4 + 4) / ||(1,0) - (0,4)||^2 = 8/17."""
    pair = torch.tensor([[[0.0, 0], [2, 0]], [[0, 3], [0, 5]]])
    assert pair_clustering(pair).item() == pytest.approx(8 / 17)
    assert feature_clustering(pair.reshape(4, 2), torch.tensor([0, 0, 1, 1])).item() == pytest.approx(8 / 17)


def test_pairs_estimator_is_the_mean_over_pairs_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    pairs = torch.randn(7, 2, 2, 3, dtype=torch.float64)
    values = []
    for (x1, x2), (y1, y2) in pairs:
        mx, my = (x1 + x2) / 2, (y1 + y2) / 2
        mu = (mx + my) / 2
        within = sum(((f - m) ** 2).sum() for f, m in ((x1, mx), (x2, mx), (y1, my), (y2, my)))
        values.append(float(within / (((mx - mu) ** 2).sum() + ((my - mu) ** 2).sum())))
    assert pair_clustering(pairs).tolist() == pytest.approx(values)


def test_all_pairs_of_a_batch_are_the_mean_of_single_pairs() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    single = [feature_clustering(x[[a, b]].reshape(4, 3), torch.tensor([0, 0, 1, 1])) for a, b in combinations(range(5), 2)]
    assert feature_clustering_all_pairs(x).item() == pytest.approx(torch.stack(single).mean().item())
    assert torch.autograd.gradcheck(feature_clustering_all_pairs, (x,))
    same = torch.full((3, 2, 4), 0.1, requires_grad=True)
    value = feature_clustering_all_pairs(same)
    assert value.item() == 0
    assert torch.autograd.grad(value, same)[0].abs().max() == 0
    with pytest.raises(DataError, match="expected \\(classes, 2, D\\)"):
        feature_clustering_all_pairs(torch.zeros(4, 3))


def test_features_that_know_nothing_give_4_by_pairs_and_grow_with_classes_as_a_whole() -> None:
    """The two estimators are not comparable: noise of 2,000 features, 2 pictures of 5 and of 20 classes."""
    torch.manual_seed(0)
    for classes in (5, 20):
        x, labels = torch.randn(2 * classes, 2000), torch.arange(classes).repeat(2)
        by_pairs = feature_clustering_pairs(x, labels, 400, torch.Generator().manual_seed(0))
        assert by_pairs.item() == pytest.approx(4, abs=0.25)
        expected = classes**2 / (classes - 1)  # C^2 (N - 1) / (C - 1) with N = 2
        assert feature_clustering(x, labels).item() == pytest.approx(expected, rel=0.05)


def test_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda z: feature_clustering(z, labels), (x,))
    assert torch.autograd.gradcheck(lambda z: feature_clustering_pairs(z, labels, 5, torch.Generator().manual_seed(0)), (x,))


def test_classes_that_are_points_give_0_and_a_step_down_separates() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    points = torch.tensor([[1.0, 2], [1, 2], [3, 4], [3, 4]])
    assert feature_clustering(points, labels).item() == 0
    torch.manual_seed(0)
    x = torch.randn(4, 5, requires_grad=True)
    before = feature_clustering(x, labels)
    (slope,) = torch.autograd.grad(before, x)
    assert feature_clustering(x - 0.01 * slope, labels) < before


def test_collapsed_features_give_0_and_no_gradient_and_half_precision_does_not_overflow() -> None:
    x = torch.full((6, 4), 0.1, requires_grad=True)
    labels = torch.arange(6) % 2
    for value in (feature_clustering(x, labels), feature_clustering_pairs(x, labels, 3, torch.Generator())):
        assert value.item() == 0
        (slope,) = torch.autograd.grad(value, x)
        assert slope.abs().max() == 0
    large = torch.tensor([[300.0], [100], [-300], [-500]], dtype=torch.float16)  # squares overflow float16
    assert feature_clustering(large, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(2 * 200**2 / 600**2)


def test_one_class_and_single_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="2 classes or more"):
        feature_clustering(torch.randn(3, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(DataError, match="2 pictures or more"):
        feature_clustering(torch.randn(3, 2), torch.arange(3))

"""Draws of class pairs, and the two pictures of each class of a batch."""

import pytest
import torch

from modicum.errors import DataError
from modicum.losses.class_pairs import draw_class_pairs, safe_ratio, two_of_each


def test_pairs_are_two_classes_with_two_pictures_each_and_all_alike() -> None:
    labels = torch.tensor([5, 2, 2, 5, 9, 2, 7, 7])  # class 9 has one picture and is never drawn
    pairs = draw_class_pairs(labels, 6000, torch.Generator().manual_seed(0))
    assert bool((labels[pairs[..., 0]] == labels[pairs[..., 1]]).all())
    assert bool((pairs[..., 0] != pairs[..., 1]).all())
    assert bool((labels[pairs[:, 0, 0]] != labels[pairs[:, 1, 0]]).all())
    drawn = torch.bincount(labels[pairs[:, :, 0]].ravel(), minlength=10) / 12000
    assert drawn[[2, 5, 7]].tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert drawn[9] == 0
    of_two = pairs[labels[pairs[..., 0]] == 2].ravel()
    assert (torch.bincount(of_two, minlength=8)[[1, 2, 5]] / len(of_two)).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)


def test_same_seed_same_pairs() -> None:
    labels = torch.arange(20) % 4
    first, second, other = (draw_class_pairs(labels, 9, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 classes with 2 pictures"):
        draw_class_pairs(torch.tensor([0, 0, 1]), 5, torch.Generator())


def test_two_of_each_takes_the_first_two_rows_of_every_class() -> None:
    features = torch.arange(5.0)[:, None]
    assert two_of_each(features, torch.tensor([3, 1, 3, 1, 3])).squeeze(-1).tolist() == [[1, 3], [0, 2]]
    with pytest.raises(DataError, match="found 1 of class 4"):
        two_of_each(features, torch.tensor([3, 3, 4, 1, 1]))


def test_ratio_of_nothing_is_zero_with_gradient_zero() -> None:
    top = torch.tensor([0.0, 1.0, 6.0], requires_grad=True)
    bottom = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
    ratio = safe_ratio(top, bottom)
    assert ratio.tolist() == [0, float("inf"), 3]
    ratio[[0, 2]].sum().backward()
    assert top.grad is not None
    assert bottom.grad is not None
    assert top.grad.tolist() == [0, 0, 0.5]
    assert bottom.grad.tolist() == [0, 0, -1.5]

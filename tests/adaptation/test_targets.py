"""What a support set must not be: every error names what was found and what to do."""

from __future__ import annotations

import pytest
import torch

from modicum.adaptation.targets import label_weights, refuse_soft_labels, require_support
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError

SET = LabelledSet(torch.rand(2, 4, 3), torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]))


def test_one_class_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ConfigError, match="n_out: expected at least 2 classes, found 1"):
        label_weights(SET._replace(y=torch.zeros(2, 4, dtype=torch.int64)), 1)
    only = torch.tensor([[True, False], [True, True]])
    with pytest.raises(DataError, match="fewer than two classes"):
        require_support(label_weights(SET, 2), only)


def test_a_class_without_pictures_is_named() -> None:
    one = SET._replace(y=torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(DataError, match="class 1 has no picture"):
        require_support(label_weights(one, 2), None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_are_finite(bad: float) -> None:
    x = SET.x.clone()
    x[1, 2, 0] = bad
    with pytest.raises(DataError, match="found NaN or infinity"):
        label_weights(SET._replace(x=x), 2)


def test_a_picture_that_stands_twice_is_named() -> None:
    """Twice in one task is an error; the same picture in two tasks, or as padding, or without a known id is not."""
    twice = torch.tensor([[1, 2, 3, 4], [9, 7, 8, 7]])
    with pytest.raises(DataError, match="picture 7 stands twice in task 1"):
        label_weights(SET._replace(id=twice), 2)
    there = torch.tensor([[True, True, True, True], [True, True, True, False]])
    assert label_weights(SET._replace(id=twice, mask=there), 2)[1, 3].sum() == 0
    between = SET._replace(id=torch.tensor([[5, 5, 5, 1], [1, 2, 3, 4]]))
    with pytest.raises(DataError, match="picture 5 stands twice in task 0"):
        label_weights(between._replace(mask=torch.tensor([[True, False, True, True]] * 2)), 2)
    label_weights(SET._replace(id=torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])), 2)
    label_weights(SET._replace(id=torch.full((2, 4), -1)), 2)


def test_equal_pixels_under_different_ids_are_legal() -> None:
    same = SET._replace(x=SET.x[:, :1].expand(2, 4, 3), id=torch.arange(8).reshape(2, 4))
    assert torch.equal(label_weights(same, 2).sum(-1), torch.ones(2, 4))


def test_soft_labels_are_weights_of_at_least_zero() -> None:
    soft = torch.full((2, 4, 2), 0.5)
    assert torch.equal(label_weights(SET._replace(soft=soft), 2), soft)
    soft[0, 1, 0] = -0.25
    with pytest.raises(DataError, match=r"soft labels: expected finite weights of at least 0, found -0\.25"):
        label_weights(SET._replace(soft=soft), 2)
    with pytest.raises(ConfigError, match="expected 3 columns, one per class, found 2"):
        label_weights(SET._replace(soft=soft), 3)
    with pytest.raises(ConfigError, match="svm takes one class for each picture, found class weights; use linear"):
        refuse_soft_labels(SET._replace(soft=soft), "svm", "linear")


def test_parts_of_other_counts_are_named() -> None:
    for name, other in (
        ("labels", SET._replace(y=SET.y[:, :3])),
        ("mask", SET._replace(mask=torch.ones(2, 5, dtype=torch.bool))),
        ("ids", SET._replace(id=torch.arange(4))),
        ("soft labels", SET._replace(soft=torch.ones(2, 3, 2))),
    ):
        with pytest.raises(ConfigError, match=rf"{name}: expected one for each of the support features, shape \(2, 4\)"):
            label_weights(other, 2)

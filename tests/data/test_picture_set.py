"""Splits and subsets of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.data.picture_set import PictureSet
from modicum.errors import DataError


@pytest.fixture
def pictures() -> PictureSet:
    labels = np.array([0, 0, 1, 2, 2, 3])
    pixels = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    return PictureSet(
        pixels, labels, ("a", "b", "c", "d"), tuple("uvwxyz"), tuple("123456"), np.array([0, 0, 1, 1, 2, 2]),
        splits={"train": ("a", "c"), "val": ("b",)}, split_rule="a rule", name="set",
    )  # fmt: skip


def test_split_keeps_its_classes_and_numbers_them_anew(pictures: PictureSet):
    train = pictures.split("train")
    assert train.classes == ("a", "c")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert train.ids == tuple("uvxy")
    assert train.digests == tuple("1245")
    assert train.groups.tolist() == [0, 0, 1, 2]
    assert train.pixels.reshape(-1).tolist() == [0, 1, 3, 4]
    assert train.split("train").classes == ("a", "c")
    assert pictures.split("all") is pictures
    assert pictures.split("train+val").classes == ("a", "b", "c")
    assert len(pictures.split("train+val")) == 5


def test_unknown_split_names_those_there_are(pictures: PictureSet):
    with pytest.raises(DataError, match=r"set has no split 'test'; it has: train, val, all\. a rule"):
        pictures.split("test")
    with pytest.raises(DataError, match="'test'"):
        pictures.split("train+test")


def test_subset_by_mask_or_index_and_blocks_stay_views(pictures: PictureSet):
    assert pictures.subset(pictures.labels == 2).ids == ("x", "y")
    assert pictures.subset(np.array([5, 0])).labels.tolist() == [3, 0]
    assert np.shares_memory(pictures.subset(np.array([1, 2, 3])).pixels, pictures.pixels)
    assert len(pictures.subset(np.array([], np.int64))) == 0

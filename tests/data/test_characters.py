"""Digits and Omniglot's rotations."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from modicum.data.characters import digits, rotated
from modicum.data.images import Preparation
from modicum.data.picture_set import PictureSet


def test_digits_keep_their_strokes_light_and_their_labels():
    """Averaged back to 8x8, the upsampled digits are scikit-learn's, 16 -> 255."""
    listing, manifest, pixels = digits(Preparation(32, 1))
    bunch = load_digits()
    places = np.array([int(path.split("/")[1]) for path in listing.paths])
    assert np.array_equal(bunch.target[places], listing.labels)
    back = pixels[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    original = bunch.images[places] * 255 / 16
    assert np.corrcoef(back.reshape(-1), original.reshape(-1))[0, 1] > 0.97
    assert abs(back.mean() - original.mean()) < 2
    assert manifest.rows == len(listing.paths) == 1797


def test_digits_of_three_channels_repeat_the_one():
    grey, rgb = digits(Preparation(28, 1))[2], digits(Preparation(28, 3))[2]
    assert np.array_equal(np.repeat(grey, 3, axis=-1), rgb)


def test_rotations_are_classes_and_turn_counter_clockwise():
    pixels = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2, 1)
    base = PictureSet(
        pixels, np.array([0, 1, 1]), ("A/c1", "A/c2"), ("x", "y", "z"), ("d", "e", "e"), groups=np.array([5, 6, 7]),
        splits={"train": ("A/c2",), "test": ("A/c1",)},
    )  # fmt: skip
    found = rotated(base)
    assert found.classes == ("A/c1/rot000", "A/c1/rot090", "A/c1/rot180", "A/c1/rot270",
                             "A/c2/rot000", "A/c2/rot090", "A/c2/rot180", "A/c2/rot270")  # fmt: skip
    assert found.labels.tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert found.ids[:5] == ("x@rot000", "x@rot090", "x@rot180", "x@rot270", "y@rot000")
    assert found.pixels[1, ..., 0].tolist() == [[1, 3], [0, 2]]  # [[0, 1], [2, 3]] turned to the left
    assert np.array_equal(found.pixels[4], pixels[1])
    assert found.groups.tolist() == [5, 5, 5, 5, 6, 7, 6, 7, 6, 7, 6, 7]
    assert found.splits["train"] == ("A/c2/rot000", "A/c2/rot090", "A/c2/rot180", "A/c2/rot270")
    same = [found.digests[i] == found.digests[j] for i, j in ((4, 5), (4, 6), (0, 1), (6, 7))]
    assert same == [True, False, False, True]

"""What the report shows of retrieval: which pictures, whose neighbours, whose thumbnails; functions of what was scored."""

from __future__ import annotations

import numpy as np
import torch

from modicum.data.picture_set import PictureSet
from modicum.memory.types import Item, Neighbours
from modicum.training.retrieval_panels import NEAR, SIDE, WORDS, panel_places, retrieval_panels, thumbnail
from modicum.training.supervised_scoring import Scored


def pictures(n: int = 6, size: int = 4) -> PictureSet:
    """Picture i is of one brightness, 10 i."""
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * 10 + np.zeros((n, size, size, 3), np.uint8)
    return PictureSet(
        pixels=pixels, labels=np.arange(n) % 2, classes=("cat", "dog"), ids=tuple(f"{i}.png" for i in range(n)),
        digests=tuple(f"digest {i}" for i in range(n)), name="pets",
    )  # fmt: skip


def item(number: int, source: str, name: str, label: str | None, text: str | None = None, digest: str = "") -> Item:
    return Item(number, source, name, label, text, 0.0, digest)


def test_places_are_spread_over_buckets_and_drawn_by_seed() -> None:
    """200 frequent, 60 medium and 2 rare pictures: of 9 places the rare ones get 2, the others what is left, evenly."""
    labels, counts = np.repeat([0, 1, 2], [200, 60, 2]), np.array([500, 50, 3])
    places = panel_places(labels, counts, queries=9)
    assert np.bincount(labels[places]).tolist() == [4, 3, 2]
    assert labels[places].tolist() == sorted(labels[places].tolist())  # frequent classes first
    assert len(set(places.tolist())) == 9
    assert np.array_equal(places, panel_places(labels, counts, queries=9))
    assert not np.array_equal(places, panel_places(labels, counts, seed=1, queries=9))
    assert sorted(panel_places(np.array([0, 0]), counts).tolist()) == [0, 1]  # fewer pictures than places


def test_arrays_are_of_the_pictures_asked_about() -> None:
    """Rows 3, 4, 5 are tested; the second of them found an item of its own data, one of equal content, and a stranger."""
    data, rows = pictures(), np.array([3, 4, 5])
    found = [
        item(1, "pets", "0.png", "cat"),
        item(2, "elsewhere", "0.png", "dog", "a long-haired " + "very " * 40 + "good dog", "digest 2"),
        item(3, "elsewhere", "1.png", None, "no label"),
    ]
    blank = [item(9, "pets", "0.png", "dog")] * 3
    near = Neighbours(np.tile([0.9, 0.5, 0.25], (3, 1)), np.zeros((3, 3), np.int64), np.zeros((3, 3), np.int64))
    scored = Scored(None, torch.zeros(3, 2), None, near, [blank, found, blank])
    predicted = {"retrieval": np.array([0, 1, 0]), "knn": np.array([1, 0, 1])}
    arrays = retrieval_panels(scored, predicted, data, rows, data.labels[rows], data.classes, np.array([1]))
    assert arrays["panel_ids"].tolist() == ["4.png"]
    assert arrays["panel_labels"].tolist() == ["cat"]
    assert arrays["panel_predictions"].tolist() == [["dog", "cat"]]
    assert arrays["panel_branches"].tolist() == ["retrieval", "knn"]
    assert arrays["panel_own"].tolist() == [[True, False, False]]
    assert arrays["panel_sources"].tolist() == [["pets", "elsewhere", "elsewhere"]]
    assert arrays["panel_words"][0].tolist()[::2] == ["cat", "no label"]
    assert len(arrays["panel_words"][0, 1]) == WORDS
    assert arrays["panel_near_there"].tolist() == [[True, True, False]]
    assert arrays["panel_pixels"][0, 0, 0, 0] == 40
    assert arrays["panel_near"][0, :, 0, 0, 0].tolist() == [0, 20, 0]  # pictures 0 and 2; black for the stranger
    assert all(array.dtype != object for array in arrays.values())


def test_at_most_so_many_thumbnails_and_none_without_a_memory() -> None:
    data = pictures()
    near = Neighbours(np.zeros((1, NEAR + 5)), np.zeros((1, NEAR + 5), np.int64), np.zeros((1, NEAR + 5), np.int64))
    scored = Scored(None, None, None, near, [[item(1, "pets", "1.png", "dog")] * (NEAR + 5)])
    rows, labels, classes = np.array([0]), data.labels[:1], data.classes
    arrays = retrieval_panels(scored, {"knn": np.array([0])}, data, rows, labels, classes, np.array([0]))
    assert arrays["panel_near"].shape == (1, NEAR, 4, 4, 3)
    assert arrays["panel_similarity"].shape == (1, NEAR + 5)
    nothing = Scored(torch.zeros(1, 2), None, None, None, [])
    assert retrieval_panels(nothing, {"base": np.array([0])}, data, rows, labels, classes, np.array([0])) == {}


def test_thumbnails_keep_small_pictures_and_shrink_large_ones() -> None:
    small = np.full((SIDE, SIDE, 1), 7, np.uint8)
    assert np.array_equal(thumbnail(small), small)
    assert thumbnail(np.full((4 * SIDE, 2 * SIDE, 3), 9, np.uint8)).shape == (SIDE, SIDE // 2, 3)
    grey = thumbnail(np.full((2 * SIDE, 2 * SIDE, 1), 9, np.uint8))
    assert grey.shape == (SIDE, SIDE, 1)
    assert (grey == 9).all()

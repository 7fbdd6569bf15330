"""Equal files within and across classes, splits and groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from modicum.data.duplicates import duplicate_findings, equal_files, parts_of
from modicum.data.sources import Listing


def listing(classes: str, **more: object) -> Listing:
    names = tuple(sorted(set(classes)))
    labels = np.array([names.index(name) for name in classes])
    paths = tuple(f"{name}/{place}" for place, name in enumerate(classes))
    return replace(Listing("x", "x", Path(), paths, np.zeros((len(classes), 2), np.int64), labels, names), **more)


def digests(*content: int) -> np.ndarray:
    table = np.random.default_rng(0).integers(0, 256, (10, 16), dtype=np.uint8)
    return table[list(content)]


def kinds(source: Listing, content: np.ndarray, usable: np.ndarray | None = None) -> dict[str, tuple[tuple[str, ...], ...]]:
    every = np.ones(len(content), bool) if usable is None else usable
    return {finding.kind: finding.sets for finding in duplicate_findings(source, content, every)}


def test_sets_of_equal_files_against_a_dictionary():
    rng = np.random.default_rng(0)
    content = rng.integers(0, 40, 100)
    table = rng.integers(0, 256, (40, 16), dtype=np.uint8)
    slow: dict[bytes, list[int]] = {}
    for place, row in enumerate(table[content]):
        slow.setdefault(row.tobytes(), []).append(place)
    found = [indices.tolist() for indices in equal_files(table[content])]
    assert found == [places for places in slow.values() if len(places) > 1]


def test_within_and_across_classes():
    found = kinds(listing("aabbc"), digests(1, 1, 2, 3, 3))
    assert found == {"duplicates-within-class": (("a/0", "a/1"),), "duplicates-across-classes": (("b/3", "c/4"),)}
    assert kinds(listing("aabb"), digests(1, 2, 3, 4)) == {}


def test_files_that_cannot_be_used_do_not_count():
    """Their digests are all zero, or belong to pictures that are left out anyway."""
    assert kinds(listing("aab"), digests(1, 1, 1), np.array([True, False, False])) == {}


def test_across_splits_of_classes_and_of_pictures():
    by_class = listing("aab", splits={"train": ("a",), "test": ("b",)})
    assert "duplicates-across-splits" in kinds(by_class, digests(1, 2, 2))
    assert "duplicates-across-splits" not in kinds(by_class, digests(1, 1, 2))
    by_picture = listing("aab", parts=np.array([0, 1, 1]), part_names=("train", "test"))
    assert kinds(by_picture, digests(1, 1, 2))["duplicates-across-splits"] == (("a/0", "a/1"),)
    assert parts_of(listing("aab")) is None


def test_across_groups():
    found = kinds(listing("aaa", groups=np.array([0, 0, 1])), digests(1, 1, 1))
    assert found["duplicates-across-groups"] == (("a/0", "a/1", "a/2"),)
    assert "duplicates-across-groups" not in kinds(listing("aaa", groups=np.array([0, 0, 1])), digests(1, 1, 2))

"""What trains and what is held out: shares of classes, groups and equal pictures undivided, parts of the data kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from modicum.data.holdout import Holdout, held_out, holdout, units_of
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.data.pictures import open_pictures
from modicum.errors import ConfigError, DataError

from .conftest import MakeFolder


def pictures(sizes: list[int], groups: np.ndarray | None = None, equal: list[list[int]] | None = None) -> PictureSet:
    """Empty pictures of classes with so many; `equal` lists rows of equal content."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    digests = [f"{i:032x}" for i in range(len(labels))]
    for rows in equal or []:
        for row in rows:
            digests[row] = digests[rows[0]]
    return PictureSet(
        pixels=np.zeros((len(labels), 1, 1, 3), np.uint8), labels=labels, classes=tuple(f"c{i}" for i in range(len(sizes))),
        ids=tuple(f"{i}.png" for i in range(len(labels))), digests=tuple(digests), groups=groups,
        group_names=() if groups is None else tuple(map(str, range(groups.max() + 1))), name="made",
    )  # fmt: skip


def sides(found: Holdout) -> list[np.ndarray]:
    return [found.train, found.validation, found.test]


def counts(of: PictureSet, found: Holdout) -> list[list[int]]:
    return [np.bincount(of.labels[rows], minlength=len(of.classes)).tolist() for rows in sides(found)]


def shared(of: PictureSet, found: Holdout, values: object) -> list[int]:
    """How many values (digests, groups) two sides share, over the three pairs."""
    inside = [{values[i] for i in rows} for rows in sides(found)]  # type: ignore[index]
    return [len(a & b) for a, b in combinations(inside, 2)]


def test_shares_of_every_class_by_hand():
    """Test 20 per cent, rounded, at least 1 of two; validation 10 per cent of what is left, rounded: 0 of small classes."""
    of = pictures([100, 21, 7, 2, 1])
    found = holdout(of)
    assert counts(of, found) == [[72, 15, 5, 1, 1], [8, 2, 1, 0, 0], [20, 4, 1, 1, 0]]
    assert sorted(np.concatenate(sides(found)).tolist()) == list(range(131))
    assert "1 class has no test picture" in found.rule
    assert "training: 94, 72 to 1 a class" in found.rule


def test_a_seed_changes_pictures_and_nothing_else_does():
    of = pictures([50, 50])
    first, again, other = holdout(of, seed=1), holdout(of, seed=1), holdout(of, seed=2)
    assert all((a == b).all() for a, b in zip(sides(first), sides(again), strict=True))
    assert first.test.tolist() != other.test.tolist()
    more_validation = holdout(of, seed=1, validation=0.3)
    assert (first.test == more_validation.test).all()


def test_groups_are_never_torn_and_shares_are_near():
    rng = np.random.default_rng(0)
    sizes = [400, 120, 40]
    groups = rng.integers(0, 60, sum(sizes))  # senders of all classes
    of = pictures(sizes, groups)
    found = holdout(of)
    assert shared(of, found, groups) == [0, 0, 0]
    assert np.array(counts(of, found)[2]) / sizes == pytest.approx([0.2] * 3, abs=0.05)
    assert "whole groups" in found.rule


def test_a_group_that_holds_all_of_a_class_trains():
    of = pictures([6, 4], np.array([0, 1, 2, 3, 4, 5, 9, 9, 9, 9]))
    found = holdout(of, test=0.7, validation=0)  # 3 of 4 are wanted, and 4 would be nearer than none
    assert counts(of, found) == [[2, 4], [0, 0], [4, 0]]


def test_equal_pictures_stay_together_across_groups_and_classes():
    """Picture 0 equals 12 of the other class, whose group holds 13 too: one unit of 0, 12, 13 and 0's group 1."""
    groups = np.arange(20)
    groups[1] = groups[0]
    groups[13] = groups[12]
    of = pictures([10, 10], groups, [[0, 12]])
    units = units_of(of)
    assert len({units[i] for i in (0, 1, 12, 13)}) == 1
    assert len(set(units.tolist())) == 17
    for seed in range(20):
        found = holdout(of, seed=seed)
        assert shared(of, found, of.digests) == [0, 0, 0]
        assert sum(bool({0, 1, 12, 13} & set(rows.tolist())) for rows in sides(found)) == 1


def test_units_that_overshoot_are_held_out_only_if_that_is_nearer():
    """2 of 10 wanted: a unit of 3 is nearer than none, one of 5 is not (error 3 against 2)."""
    labels, targets = np.zeros(10, np.int64), np.array([2])
    three = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert held_out(labels, three, targets, 0, "t").sum() == 3
    halves = np.repeat([0, 1], 5)
    assert held_out(labels, halves, targets, 0, "t").sum() == 0


def with_parts(of: PictureSet, parts: list[str]) -> PictureSet:
    names = tuple(sorted(set(parts)))
    return replace(of, parts=np.array([names.index(p) for p in parts]), part_names=names, split_rule="the table says so")


def test_the_datas_own_parts_win_and_copies_of_tested_pictures_do_not_train():
    """Rows 0-3 of class 0 and 4-7 of class 1: the last of each is tested; 0 equals 7, so 0 is left out of training."""
    of = with_parts(pictures([4, 4], equal=[[0, 7]]), ["train", "train", "train", "test"] * 2)
    found = holdout(of, validation=0)
    assert [rows.tolist() for rows in sides(found)] == [[1, 2, 4, 5, 6], [], [3, 7]]
    assert "the table says so; 1 training pictures left out" in found.rule


def test_own_validation_is_used_or_left_out_but_never_trains():
    of = with_parts(pictures([4, 4], equal=[[0, 5], [1, 7]]), ["train", "val", "train", "test"] * 2)
    found = holdout(of)
    assert [rows.tolist() for rows in sides(found)] == [[2, 4, 6], [5], [3, 7]]  # 1 = 7 is tested, 0 = 5 is validated
    assert [rows.tolist() for rows in sides(holdout(of, validation=0))] == [[0, 2, 4, 6], [], [3, 7]]
    no_test = with_parts(pictures([4, 4]), ["train", "train", "train", "val"] * 2)  # iNaturalist's usual protocol
    assert holdout(no_test, validation=0).test.tolist() == [3, 7]


def test_rows_without_a_part_are_left_out_and_parts_of_classes_are_no_parts_of_pictures():
    of = with_parts(pictures([4, 4]), ["train", "train", "", "test"] * 2)
    assert sorted(np.concatenate(sides(holdout(of))).tolist()) == [0, 1, 3, 4, 5, 7]
    of_classes = with_parts(pictures([10, 10]), ["train"] * 10 + ["test"] * 10)
    assert counts(of_classes, holdout(of_classes, validation=0)) == [[8, 8], [0, 0], [2, 2]]


def test_a_class_with_nothing_to_train_on_is_refused():
    of = with_parts(pictures([4, 2]), ["train", "train", "train", "test", "test", "test"])
    with pytest.raises(DataError, match=r"1 classes of made \(c1\) have no picture to train on"):
        holdout(of)
    with pytest.raises(ConfigError, match="test_share: expected 0 or more and below 1, found 1"):
        holdout(of, test=1.0)


def test_the_tail_is_made_of_training_pictures_and_validated_as_long_tailed():
    of = pictures([100, 100, 100])
    found = holdout(of, imbalance=16)
    assert counts(of, found) == [[72, 18, 5], [8, 2, 0], [20, 20, 20]]
    assert "exponential long tail with factor 16 by seed 0: 105 left" in found.rule


def test_ranks_are_by_all_pictures_whatever_was_left_out():
    """Class 0 loses copies of its test pictures to training, but stays the head of equal classes."""
    labels = ["train"] * 8 + ["test"] * 2
    of = with_parts(pictures([10, 10], equal=[[0, 8], [1, 9]]), labels * 2)
    assert counts(of, holdout(of, validation=0, imbalance=4))[0] == [6, 2]


def test_train_and_test_folders_of_the_same_classes(make_folder: MakeFolder):
    top = make_folder({"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 1})
    (top / "train" / "dog" / "copy.png").write_bytes((top / "test" / "cat" / "000.png").read_bytes())
    with pytest.raises(DataError, match="hold the same classes"):
        open_pictures(str(top))
    of = open_split_pictures(str(top))
    assert of.classes == ("cat", "dog")
    assert of.ids[:3] == ("test/cat/000.png", "test/cat/001.png", "train/cat/000.png")
    found = holdout(of, validation=0)
    assert counts(of, found) == [[4, 3], [0, 0], [2, 1]]
    assert "train/dog/copy.png" not in {of.ids[i] for i in found.train}
    for row in (0, 5):
        assert (of.pixels[row] == np.asarray(open_pixels(top / of.ids[row]))).all()


def open_pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_a_tables_column_splits_pictures(make_folder: MakeFolder):
    top = make_folder({"cat": 3, "dog": 3})
    lines = [f"{c}/{i:03d}.png,{c},{'test' if i == 0 else 'train'}" for c in ("cat", "dog") for i in range(3)]
    (top / "table.csv").write_text("\n".join(["path,label,split", *lines]))
    found = holdout(of := open_split_pictures(str(top / "table.csv")), validation=0)
    assert counts(of, found) == [[2, 2], [0, 0], [1, 1]]
    assert of.subset(found.test).parts is not None


def test_other_data_is_opened_as_by_open_pictures(make_folder: MakeFolder):
    top = make_folder({"train/cat": 2, "train/dog": 2, "test/owl": 2})  # splits of classes
    assert open_split_pictures(str(top)).classes == open_pictures(str(top)).classes
    assert open_split_pictures("digits").classes == open_pictures("digits").classes


def test_cifar100_keeps_its_published_parts_and_its_long_tail_has_the_published_size(test_data: Path):
    of = open_split_pictures("cifar100", root=str(test_data))
    assert (of.pixels.shape, len(of.classes)) == ((60_000, 32, 32, 3), 100)
    with pytest.raises(DataError, match=r"no split 'train'.*few-shot tasks: cifar-fs, fc100"):
        of.split("train")
    found = holdout(of, imbalance=100, validation=0)
    assert len(found.test) == 10_000
    assert all(of.ids[i].startswith("test/") for i in found.test)
    assert all(of.ids[i].startswith("train/") for i in found.train)
    tail = np.bincount(of.labels[found.train])
    assert (len(found.train), tail[0], tail[-1]) == (10_847, 500, 5)
    assert "10 training pictures left out, their content is held out" in found.rule
    whole = holdout(of, validation=0.1)
    assert shared(of, whole, of.digests) == [0, 0, 0]
    assert len(whole.train) + len(whole.validation) == 49_990


def test_clothing_by_sender_is_never_torn(test_data: Path):
    of = open_split_pictures(str(test_data / "clothing"), group="sender", size=32)
    assert of.groups is not None
    found = holdout(of)
    assert shared(of, found, of.groups) == [0, 0, 0]
    assert shared(of, found, of.digests) == [0, 0, 0]
    assert min(counts(of, found)[2]) > 0
    assert 0.15 < len(found.test) / len(of) < 0.25

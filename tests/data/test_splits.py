"""Class splits by rule, by file, and as shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modicum.data.splits import by_rule, from_file, shipped
from modicum.errors import DataError


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(100, (64, 16, 20)), (17, (11, 3, 3)), (2, (1, 0, 1)), (3, (2, 0, 1)), (5, (3, 1, 1)), (1, (1, 0, 0))],
)
def test_rule_splits_64_16_20_by_largest_remainders(count: int, sizes: tuple[int, int, int]):
    classes = [f"c{index:03d}" for index in range(count)]
    splits, rule = by_rule(classes, 0)
    assert tuple(len(splits[split]) for split in ("train", "val", "test")) == sizes
    assert sorted(sum(splits.values(), ())) == classes
    assert f"{count} classes split 64/16/20 per cent by seed 0 into {sizes[0]} train" in rule


def test_rule_depends_on_the_seed_only():
    classes = [f"c{index}" for index in range(50)]
    assert by_rule(classes, 1) == by_rule(classes, 1)
    assert by_rule(classes, 1)[0] != by_rule(classes, 2)[0]


def write(path: Path, record: object) -> Path:
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return path


def test_file_names_classes_per_split(tmp_path: Path):
    splits, rule = from_file(write(tmp_path / "s.json", {"train": ["b", "a"], "test": ["c"]}), ["a", "b", "c", "d"])
    assert splits == {"train": ("a", "b"), "test": ("c",)}
    assert rule.endswith("2 train, 1 test; 1 classes in no split")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"train": ["a", "bird"]}, r"puts the class 'bird' into 'train'.*no such class \(did you mean 'birds'\?\)"),
        ({"train": ["a"], "test": ["a"]}, r"'a' into 'train' and into 'test'; splits must not share classes"),
        ({"train": "a"}, "expected a list of class names under 'train'"),
        ([1], "expected {"),
        ({}, "names no split"),
        ("{", "not valid JSON"),
    ],
)
def test_bad_files_say_what_is_wrong(record: object, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        from_file(write(tmp_path / "s.json", record), ["a", "birds"])
    with pytest.raises(DataError, match="cannot be read"):
        from_file(tmp_path / "none.json", ["a"])


def test_shipped_splits_have_the_published_numbers_and_share_nothing():
    """CIFAR-FS 64/16/20, FC100 60/20/20, mini-ImageNet 64/16/20, Omniglot 1028/172/423 characters."""
    for name, sizes in (("cifar-fs", (64, 16, 20)), ("fc100", (60, 20, 20)), ("mini-imagenet", (64, 16, 20))):
        splits = shipped(name)
        assert tuple(map(len, splits.values())) == sizes
        assert len({class_name for classes in splits.values() for class_name in classes}) == sum(sizes)
    tree = shipped("omniglot-vinyals")
    counts = [sum(map(len, split.values())) for split in tree.values()]
    assert counts == [1028, 172, 423]
    names = [(alphabet, index) for split in tree.values() for alphabet, indices in split.items() for index in indices]
    assert len(set(names)) == 1623


def test_fc100_splits_whole_superclasses():
    """People are in FC100's test set, flowers in its train set (Oreshkin et al. 2018)."""
    splits = shipped("fc100")
    assert {"baby", "boy", "girl", "man", "woman"} <= set(splits["test"])
    assert {"orchid", "poppy", "rose", "sunflower", "tulip"} <= set(splits["train"])

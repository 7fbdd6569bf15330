"""Known names: where they are looked for, and what is said where they are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from modicum.data.benchmarks import character, last_folder, list_known, published
from modicum.data.picture_splits import open_split_pictures
from modicum.data.pictures import open_pictures
from modicum.data.splits import coarse_classes
from modicum.errors import DataError

from .conftest import MakeFolder, png


@pytest.fixture
def omniglot(make_folder: MakeFolder) -> Path:
    """Two characters of the Vinyals train split, one of test, in torchvision's layout."""
    return make_folder(
        {
            "images_background/Angelic/character01": 2,
            "images_background/Angelic/character02": 2,
            "images_evaluation/Kannada/character03": 2,
            "images_background_small1/Angelic/character01": 2,
        },
        name="omniglot-py",
        size=(105, 105),
    )


def test_classes_of_paths():
    assert character("images_background/Angelic/character01/0965_01.png") == "Angelic/character01"
    assert character("images_background_small1/Angelic/character01/0965_01.png") is None
    assert last_folder("train/apple/1.png") == "apple"


def test_omniglot_in_torchvisions_layout(omniglot: Path):
    found = open_pictures("omniglot", root=str(omniglot.parent))
    assert len(found) == 24
    assert found.classes[1] == "Angelic/character01/rot090"
    assert found.split("train").classes[::4] == ("Angelic/character01/rot000", "Angelic/character02/rot000")
    assert found.split("test").classes[0] == "Kannada/character03/rot000"
    assert [problem.kind for problem in found.skipped] == []
    lake = open_pictures("omniglot", root=str(omniglot.parent), splits="lake")
    assert lake.split("train").classes == ("Angelic/character01", "Angelic/character02")
    assert "2 background characters train, 1 evaluation" in lake.split_rule


def test_the_root_comes_from_the_environment_too(omniglot: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODICUM_DATA", str(omniglot.parent))
    assert len(open_pictures("omniglot", splits="lake")) == 6


def test_an_incomplete_set_says_so(omniglot: Path):
    listing = list_known("omniglot", str(omniglot.parent), None)
    (problem,) = listing.problems
    assert problem.kind == "incomplete"
    assert "1620 classes are missing" in problem.message
    assert listing.splits["val"] == ()


@pytest.mark.parametrize("layout", ["{}", "images/{}", "train/{}"])
def test_mini_imagenet_from_a_local_copy(make_folder: MakeFolder, layout: str):
    top = make_folder({layout.format(name): 1 for name in ("n01532829", "n01855672", "n01930112", "n99999999")},
                      name="miniimagenet", size=(90, 84))  # fmt: skip
    found = open_pictures("mini-imagenet", root=str(top.parent))
    assert found.pixels.shape == (3, 84, 84, 3)
    assert [found.split(name).classes for name in ("train", "val", "test")] == [
        ("n01532829",), ("n01855672",), ("n01930112",)
    ]  # fmt: skip


def test_mini_imagenet_as_one_folder_of_pictures(make_folder: MakeFolder):
    top = make_folder({"images": 1}, name="miniimagenet")
    for name in ("n0153282900000005", "n0193011200000001", "n9999999900000001"):
        (top / "images" / f"{name}.png").write_bytes(png(1))
    assert open_pictures("mini-imagenet", root=str(top.parent)).classes == ("n01532829", "n01930112")


def test_the_root_may_be_the_set_itself(make_folder: MakeFolder, omniglot: Path):
    assert len(open_pictures("omniglot", root=str(omniglot), splits="lake")) == 6
    top = make_folder({"train/apple": 1, "test/apple": 1, "train/whale": 1}, name="pictures")
    assert len(open_pictures("cifar-fs", root=str(top))) == 3


def test_cifar_with_parts_of_pictures_and_coarse_labels(make_folder: MakeFolder):
    """Coarse labels on the same pictures: equal ids, 20 classes of five each; parts by the folders; no splits of classes."""
    top = make_folder(
        {"train/apple": 2, "test/apple": 1, "train/pear": 1, "train/whale": 1, "test/whale": 1}, name="cifar100"
    )
    fine, coarse = (open_split_pictures(name, root=str(top.parent)) for name in ("cifar100", "cifar100-coarse"))
    assert sorted(fine.ids) == sorted(coarse.ids)
    assert coarse.classes == ("aquatic_mammals", "fruit_and_vegetables")
    kinds = {"apple": "fruit_and_vegetables", "pear": "fruit_and_vegetables", "whale": "aquatic_mammals"}
    assert [coarse.classes[c] for c in coarse.labels] == [kinds[last_folder(name)] for name in coarse.ids]
    assert [coarse.part_names[p] for p in coarse.parts] == [name.partition("/")[0] for name in coarse.ids]
    assert "cifar100-coarse: the published parts of pictures (2 test, 4 train)" in coarse.split_rule
    table = coarse_classes()
    assert set(table) == {name for classes in published("cifar-fs")[0].values() for name in classes}
    assert sorted(Counter(table.values()).values()) == [5] * 20
    ten = make_folder({"train/cat": 2, "test/cat": 1, "train/dog": 1, "train/apple": 1}, name="cifar10")
    small = open_split_pictures("cifar10", root=str(ten.parent))
    assert (small.classes, len(small), small.splits) == (("cat", "dog"), 4, {})


def test_where_nothing_is_found_the_message_says_where_it_looked_and_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match=r"neither --root nor MODICUM_DATA is set.*MODICUM_OFFLINE.*--root or MODICUM_DATA"):
        open_pictures("omniglot")
    with pytest.raises(DataError, match=rf"looked for {tmp_path}/cifar100, .*fetch it where there is a network"):
        open_pictures("cifar-fs", root=str(tmp_path))
    with pytest.raises(DataError, match="a folder per WordNet id"):
        open_pictures("mini-imagenet", root=str(tmp_path))
    with pytest.raises(DataError, match=r"root: .*none is not a folder"):
        open_pictures("omniglot", root=str(tmp_path / "none"))
    (tmp_path / "cifar100").mkdir()
    with pytest.raises(DataError, match="holds none of the classes of fc100"):
        open_pictures("fc100", root=str(tmp_path))


def test_published_splits_share_no_class():
    for which in ("vinyals", "cifar-fs", "fc100", "mini-imagenet", "digits"):
        splits, rule = published(which)
        names = [name for classes in splits.values() for name in classes]
        assert len(set(names)) == len(names)
        assert rule

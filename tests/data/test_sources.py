"""Folders of class folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modicum.data.sources import list_by, list_folder
from modicum.errors import DataError

from .conftest import MakeFolder, png


def kinds(listing) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in listing.problems:
        found.setdefault(problem.kind, []).append(problem.path)
    return found


def test_classes_are_folders_that_hold_pictures_at_any_depth(make_folder: MakeFolder):
    top = make_folder({"animals/cats/tabby": 2, "animals/dogs": 1, "animals": 1})
    listing = list_folder(top)
    assert listing.classes == ("animals", "animals/cats/tabby", "animals/dogs")
    assert listing.paths == ("animals/000.png", "animals/cats/tabby/000.png", "animals/cats/tabby/001.png",
                             "animals/dogs/000.png")  # fmt: skip
    assert listing.labels.tolist() == [0, 1, 1, 2]
    status = os.stat(top / "animals/dogs/000.png")
    assert listing.stats[3].tolist() == [status.st_size, status.st_mtime_ns]


def test_hidden_files_other_files_and_stray_pictures(make_folder: MakeFolder):
    top = make_folder({"a": 1, "b": 1, ".git": 1, "__MACOSX/a": 1})
    (top / "a/.DS_Store.png").write_bytes(png(1))
    (top / "a/notes.txt").write_text("x")
    (top / "a/no-ending").write_bytes(png(2))
    (top / "a/picture.dat").write_bytes(png(3))
    (top / "b/picture.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (top / "stray.png").write_bytes(png(4))
    (top / "empty").mkdir()
    listing = list_folder(top)
    assert listing.paths == ("a/000.png", "a/no-ending", "a/picture.dat", "b/000.png")
    assert kinds(listing) == {
        "no-class": ["stray.png"], "empty-folder": ["empty"], "ignored": ["a/notes.txt", "b/picture.heic"]
    }  # fmt: skip


def test_names_are_not_ascii(make_folder: MakeFolder):
    top = make_folder({"Köpfe/äöü": 1, "猫": 1, "a b": 1}, name="Bilder ñ")
    (top / "猫" / "写真 1.png").write_bytes(png(9))
    assert list_folder(top).classes == ("Köpfe/äöü", "a b", "猫")
    assert "猫/写真 1.png" in list_folder(top).paths


def test_names_that_are_not_utf8_are_left_out_and_named(make_folder: MakeFolder):
    top = make_folder({"a": 1, "b": 1})
    try:
        with open(os.fsencode(top) + b"/a/\xff.png", "wb") as file:
            file.write(png(5))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = list_folder(top)
    assert listing.paths == ("a/000.png", "b/000.png")
    assert kinds(listing) == {"bad-name": ["a/\N{REPLACEMENT CHARACTER}.png"]}


def test_links_are_followed_but_not_in_circles(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    (top / "a/back").symlink_to(top)
    (top / "b/gone.png").symlink_to(top / "nowhere.png")
    listing = list_folder(top)
    assert listing.paths == ("a/000.png", "a/001.png", "b/000.png", "b/gone.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(make_folder: MakeFolder):
    top = make_folder({"a": 1, "b": 1})
    (top / "a").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        list_folder(top)


def test_split_folders_with_classes_of_their_own_are_splits(make_folder: MakeFolder):
    listing = list_folder(make_folder({"train/a": 1, "train/b": 2, "valid/c": 1, "test/d": 1}))
    assert listing.classes == ("test/d", "train/a", "train/b", "valid/c")
    assert listing.splits == {"train": ("train/a", "train/b"), "val": ("valid/c",), "test": ("test/d",)}
    assert "folders test, train, valid" in listing.split_rule


def test_split_folders_that_share_classes_are_a_problem_with_a_way_out(make_folder: MakeFolder):
    top = make_folder({"train/a": 1, "train/b": 2, "test/a": 1})
    listing = list_folder(top)
    (problem,) = listing.problems
    assert problem.kind == "split-folders"
    assert str(top / "train") in problem.message
    assert listing.splits == {}
    assert [listing.part_names[i] for i in listing.parts] == ["test", "train", "train", "train"]


def test_no_splits_where_other_folders_stand_beside(make_folder: MakeFolder):
    assert list_folder(make_folder({"train/a": 1, "test/b": 1, "extra/c": 1})).splits == {}


def test_classes_by_a_function_of_the_path(make_folder: MakeFolder):
    top = make_folder({"train/a": 1, "test/a": 1, "test/b": 1, "other/c": 1})
    listing = list_by(top, "set", "rule", lambda path: path.split("/")[1] if path.startswith("t") else None)
    assert listing.classes == ("a", "b")
    assert listing.paths == ("test/a/000.png", "train/a/000.png", "test/b/000.png")
    assert np.array_equal(listing.labels, [0, 0, 1])


def test_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="nowhere"):
        list_folder(tmp_path / "nowhere")

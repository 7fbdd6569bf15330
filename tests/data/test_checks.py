"""What `inspect` finds in data sets that are wrong in one way each."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from modicum.data.checks import Inspection, inspect
from modicum.data.findings import Finding
from modicum.data.pictures import open_pictures

from .conftest import MakeFolder, png


def of(inspection: Inspection) -> dict[str, Finding]:
    return {finding.kind: finding for finding in inspection.findings}


def test_a_good_folder_has_counts_and_no_findings(make_folder: MakeFolder):
    found = inspect(str(make_folder({"a": 5, "b": 6})))
    assert found.findings == ()
    assert not found.unsafe
    assert found.pictures == 11
    assert found.classes == {"a": 5, "b": 6}
    assert found.sizes == {"32 x 32": 11}
    assert found.looks == {"PNG RGB": 11}
    assert found.groups is None


def test_bad_files_are_named_by_kind_and_a_tenth_of_them_is_unsafe(make_folder: MakeFolder):
    top = make_folder({"a": 12, "b": 12})
    (top / "a/000.png").write_bytes(png(0)[:700])
    (top / "a/001.png").write_text("text")
    few = inspect(str(top))
    assert of(few)["truncated"].paths == ("a/000.png",)
    assert of(few)["wrong-type"].paths == ("a/001.png",)
    assert {finding.severity for finding in few.findings} == {"warning"}
    assert not few.unsafe
    (top / "b/000.png").write_bytes(b"")
    many = inspect(str(top))
    assert of(many)["many-bad"].severity == "unsafe"
    assert "3 of 24 pictures" in of(many)["many-bad"].message


def test_classes_with_one_few_or_no_pictures(make_folder: MakeFolder):
    top = make_folder({"a": 5, "b": 5, "few": 4, "one": 1, "none": 1})
    (top / "none/000.png").write_text("x")
    found = of(inspect(str(top)))
    assert found["one-picture"].paths == ("one",)
    assert found["one-picture"].severity == "warning"
    assert found["few-pictures"].paths == ("few",)
    assert found["empty-class"].paths == ("none",)
    assert found["empty-class"].severity == "unsafe"


def test_one_class_only_and_nothing_at_all_are_unsafe(make_folder: MakeFolder, tmp_path: Path):
    assert of(inspect(str(make_folder({"a": 5}))))["one-class"].severity == "unsafe"
    (tmp_path / "void" / "a").mkdir(parents=True)
    found = of(inspect(str(tmp_path / "void")))
    assert found["no-data"].severity == "unsafe"
    assert found["empty-folder"].paths == ("a",)
    assert "there is no" in of(inspect(str(tmp_path / "nowhere")))["no-data"].message


def test_duplicates(make_folder: MakeFolder):
    top = make_folder({"a": 5, "b": 5})
    shutil.copy(top / "a/000.png", top / "a/copy.png")
    assert not inspect(str(top)).unsafe
    shutil.copy(top / "a/001.png", top / "b/copy.png")
    found = inspect(str(top))
    assert of(found)["duplicates-within-class"].sets == (("a/000.png", "a/copy.png"),)
    assert of(found)["duplicates-across-classes"].sets == (("a/001.png", "b/copy.png"),)
    assert found.unsafe
    assert found.findings[0].severity == "unsafe"


def test_duplicates_across_groups_and_the_number_of_groups(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    shutil.copy(top / "a/000.png", top / "a/001.png")
    (top / "who.csv").write_text("path,who\na/000.png,x\na/001.png,y\nb/000.png,x\n")
    found = inspect(str(top), group="who")
    assert found.groups == 2
    assert "duplicates-across-groups" in of(found)
    assert "no CSV in" in of(inspect(str(top), group="whom"))["no-data"].message


def test_split_folders_that_share_classes_are_unsafe_and_still_examined(make_folder: MakeFolder):
    top = make_folder({"train/a": 5, "train/b": 5, "test/a": 5, "test/b": 5})
    shutil.copy(top / "train/a/000.png", top / "test/a/000.png")
    found = of(inspect(str(top)))
    assert found["split-folders"].severity == "unsafe"
    assert found["duplicates-across-splits"].sets == (("test/a/000.png", "train/a/000.png"),)


def test_table_findings(make_folder: MakeFolder):
    top = make_folder({"p": 4})
    (top / "t.csv").write_text("path,label,split\np/000.png,a,train\np/001.png,a,test\np/002.png,b,test\n"
                               "p/003.png,b,test\np/003.png,c,test\np/none.png,b,test\n")  # fmt: skip
    found = of(inspect(str(top / "t.csv")))
    assert found["two-labels"].severity == "unsafe"
    assert found["missing"].paths == ("p/none.png",)
    assert "`train` needs splits of classes" in found["splits"].message


def test_groups_in_several_splits_of_pictures_are_unsafe(make_folder: MakeFolder):
    top = make_folder({"p": 8})
    text = "path,label,split,group\n" + "".join(
        f"p/{i:03d}.png,{'ab'[i % 2]},{split},{who}\n"
        for i, (split, who) in enumerate(
            [
                ("train", "x"),
                ("train", "x"),
                ("test", "x"),
                ("test", "y"),
                ("test", "y"),
                ("", "y"),
                ("train", ""),
                ("test", ""),
            ]
        )
    )
    (top / "t.csv").write_text(text)
    found = of(inspect(str(top / "t.csv")))["groups-across-splits"]
    assert (found.severity, found.paths) == ("unsafe", ("x",))
    (top / "t.csv").write_text(text.replace("p/002.png,a,test,x", "p/002.png,a,test,y"))
    assert "groups-across-splits" not in of(inspect(str(top / "t.csv")))


def test_groups_in_several_splits_of_classes(make_folder: MakeFolder, tmp_path: Path):
    """Unsafe where the splits were asked for; a warning where our own rule drew them, for `fit` does not use those."""
    top = make_folder({"a": 5, "b": 5, "c": 5})
    (top / "who.csv").write_text(
        "path,who\n" + "".join(f"{c}/{i:03d}.png,w{i if c != 'c' else 9}\n" for c in "abc" for i in range(5))
    )
    splits = tmp_path / "s.json"
    splits.write_text('{"train": ["a"], "test": ["b", "c"]}')
    asked = inspect(str(top), group="who", splits=str(splits))
    assert of(asked)["groups-across-splits"].paths == ("w0", "w1", "w2", "w3", "w4")
    assert asked.unsafe
    splits.write_text('{"train": ["a", "b"], "test": ["c"]}')
    assert inspect(str(top), group="who", splits=str(splits)).findings == ()
    (top / "who.csv").write_text("path,who\n" + "".join(f"{c}/{i:03d}.png,w{i}\n" for c in "abc" for i in range(5)))
    drawn = inspect(str(top), group="who")
    assert of(drawn)["groups-across-splits"].severity == "warning"
    assert not drawn.unsafe


def test_animations_and_small_pictures_are_noted(make_folder: MakeFolder):
    top = make_folder({"a": 5, "b": 5}, size=(64, 64))
    frames = [Image.new("RGB", (70, 70), colour) for colour in ("red", "blue")]
    frames[0].save(top / "a/moving.gif", save_all=True, append_images=frames[1:])
    (top / "b/small.png").write_bytes(png(77, (20, 40)))
    found = inspect(str(top))
    assert of(found)["animated"].paths == ("a/moving.gif",)
    assert of(found)["small"].paths == ("b/small.png",)
    assert not found.unsafe
    assert found.looks == {"PNG RGB": 11, "GIF P": 1}


def test_many_sizes_are_told_by_the_short_side(make_folder: MakeFolder):
    top = make_folder({"a": 1})
    for index in range(12):
        (top / "a" / f"{index}.png").write_bytes(png(index, (20 + index, 50)))
    found = inspect(str(top))
    assert found.sizes == {"short side 16 to 27": 8, "short side 28 to 31": 4, "short side 32 to 63": 1}


def test_deep_finds_what_changed_unseen(make_folder: MakeFolder):
    top = make_folder({"a": 5, "b": 5})
    victim = top / "a/x.bmp"
    Image.new("RGB", (32, 32), "red").save(victim)
    status = victim.stat()
    assert inspect(str(top), deep=True).findings == ()
    Image.new("RGB", (32, 32), "blue").save(victim)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert inspect(str(top)).findings == ()
    assert of(inspect(str(top), deep=True))["changed"].paths == ("a/x.bmp",)


def test_deep_looks_into_every_size_that_is_cached(make_folder: MakeFolder):
    top = make_folder({"a": 5, "b": 5})
    victim = top / "a/x.bmp"
    Image.new("RGB", (32, 32), "red").save(victim)
    status = victim.stat()
    open_pictures(top, size=16)
    open_pictures(top, size=28, channels=1)
    Image.new("RGB", (32, 32), "blue").save(victim)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    found = inspect(str(top), deep=True)
    assert of(found)["changed"].paths == ("a/x.bmp",)
    for size in (16, 28):
        pictures = open_pictures(top, size=size, channels=3 if size == 16 else 1)
        expected = (0, 0, 255) if size == 16 else (29,)
        assert tuple(pictures.pixels[pictures.ids.index("a/x.bmp"), 8, 8]) == expected


def test_digits_are_safe():
    found = inspect("digits")
    assert (found.pictures, found.unsafe, found.sizes) == (1797, False, {"8 x 8": 1797})


def test_cifar_100_holds_26_known_duplicates_17_of_them_across_classes(test_data: Path):
    """26 sets of equal pictures, 17 across classes, 15 across the splits of CIFAR-FS."""
    found = inspect("cifar-fs", root=str(test_data))
    assert found.pictures == 60_000
    within, across = of(found)["duplicates-within-class"], of(found)["duplicates-across-classes"]
    assert (len(within.sets), len(across.sets)) == (9, 17)
    assert len(of(found)["duplicates-across-splits"].sets) == 15
    assert ("test/baby/baby_s_000222.png", "train/girl/baby_s_000222.png") in across.sets
    assert found.unsafe


@pytest.mark.parametrize("group", [None, "sender"])
def test_clothing_is_safe(test_data: Path, group: str | None):
    found = inspect(str(test_data / "clothing"), group=group)
    assert (found.pictures, len(found.classes), found.unsafe) == (5096, 17, False)
    assert found.groups == (344 if group else None)

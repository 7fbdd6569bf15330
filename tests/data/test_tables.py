"""CSV tables of pictures, labels, splits and groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.data.sources import Listing, list_folder
from modicum.data.tables import groups_beside, list_table, read_table
from modicum.errors import DataError

from .conftest import MakeFolder


def table(folder: Path, text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def groups(listing: Listing) -> list[str]:
    return [listing.group_names[i] for i in listing.groups]


def test_paths_and_labels_relative_to_the_table(make_folder: MakeFolder):
    top = make_folder({"pictures": 3})
    listing = list_table(table(top, "path,label\npictures/002.png,zebra\n./pictures\\000.png,ant\n"), None)
    assert listing.classes == ("ant", "zebra")
    assert listing.paths == ("pictures/000.png", "pictures/002.png")
    assert listing.folder == top
    assert listing.groups is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_separators_marks_and_class_for_label(make_folder: MakeFolder, separator: str, encoding: str):
    top = make_folder({"p": 1})
    text = separator.join(("class", "path", "Ort")) + "\n" + separator.join(("Bär", "p/000.png", "Köln")) + "\n"
    assert list_table(table(top, text, encoding=encoding), None).classes == ("Bär",)


def test_groups_by_column_or_by_the_column_called_group(make_folder: MakeFolder):
    top = make_folder({"p": 3})
    text = "path,label,group,camera\np/000.png,a,g,x\np/001.png,b,h,x\np/002.png,b,,y\n"
    path = table(top, text)
    assert groups(list_table(path, None)) == ["g", "h", "(alone) p/002.png"]
    assert groups(list_table(path, "camera")) == ["x", "x", "y"]
    with pytest.raises(DataError, match=r"no column 'camrea' \(did you mean 'camera'\?\); it has: path, label, group"):
        list_table(path, "camrea")


def test_splits_of_classes(make_folder: MakeFolder):
    top = make_folder({"p": 3})
    listing = list_table(table(top, "path,label,split\np/000.png,a,train\np/001.png,b,test\np/002.png,c,\n"), None)
    assert listing.splits == {"test": ("b",), "train": ("a",)}
    assert listing.split_rule == "classes split by the table's split column"


def test_splits_are_called_by_their_usual_names(make_folder: MakeFolder):
    top = make_folder({"p": 6})
    names = ("training", "valid", "testing", "Train", "validation", "other")
    text = "path,label,split\n" + "".join(f"p/{i:03d}.png,{'abcdef'[i]},{name}\n" for i, name in enumerate(names))
    splits = list_table(table(top, text), None).splits
    assert splits == {"other": ("f",), "test": ("c",), "train": ("a", "d"), "val": ("b", "e")}


def test_splits_of_pictures_are_no_class_splits_and_say_so(make_folder: MakeFolder):
    top = make_folder({"p": 3})
    listing = list_table(table(top, "path,label,split\np/000.png,a,train\np/001.png,a,test\np/002.png,b,test\n"), None)
    assert listing.splits == {}
    assert "1 classes (a) have pictures in several splits" in listing.split_rule


def test_rows_that_cannot_be_used_are_named_and_left_out(make_folder: MakeFolder):
    top = make_folder({"p": 4})
    text = ("path,label\np/000.png,a\np/000.png,a\np/001.png,a\np/001.png,b\np/gone.png,a\np/002.png\np/002.png,\n"
            "\np/003.png,b\n")  # fmt: skip
    listing = list_table(table(top, text), None)
    assert listing.paths == ("p/000.png", "p/003.png")
    assert sorted((problem.kind, problem.path) for problem in listing.problems) == [
        ("bad-row", "table.csv:7"), ("bad-row", "table.csv:8"), ("missing", "p/gone.png"), ("repeated", "p/000.png"),
        ("two-labels", "p/001.png"),
    ]  # fmt: skip


def test_header_is_required(make_folder: MakeFolder):
    top = make_folder({"p": 1})
    with pytest.raises(DataError, match=r"has no column 'path'; expected path,label.*--target COLUMN"):
        list_table(table(top, "p/000.png,a\n"), None)
    with pytest.raises(DataError, match=r"no column 'label'.*found path, kind"):
        list_table(table(top, "path,kind\np/000.png,a\n"), None)
    with pytest.raises(DataError, match="is empty; expected a header"):
        list_table(table(top, ""), None)


def test_other_encodings_are_refused_with_what_to_do(make_folder: MakeFolder):
    with pytest.raises(DataError, match="not a CSV in UTF-8"):
        read_table(table(make_folder({"p": 1}), "path,label\np/000.png,Bär\n", encoding="latin-1"))


def test_confined_paths_do_not_leave_the_folder(make_folder: MakeFolder):
    top = make_folder({"p": 1, "outside": 1})
    text = f"path,label\n../outside/000.png,a\n{top}/outside/000.png,b\n000.png,c\n"
    path = table(top / "p", text)
    assert list_table(path, None).classes == ("a", "b", "c")
    confined = list_table(path, None, confined=True)
    assert confined.classes == ("c",)
    assert [problem.kind for problem in confined.problems] == ["outside", "outside"]


def test_groups_from_a_table_beside_class_folders(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    table(top, "x,y\n1,2\n", "other.csv")
    table(top, "path,class,sender\na/000.png,a,ann\na/001.png,a,bob\nb/000.png,b,ann\n")
    listing = list_folder(top)
    assert groups(groups_beside(listing, "sender")) == ["ann", "bob", "ann"]
    with pytest.raises(DataError, match=r"'path' and 'sendr' \(other.csv has x, y; table.csv has path, class, sender\)"):
        groups_beside(listing, "sendr")
    table(top, "path,class,sender\na/000.png,a,ann\n")
    with pytest.raises(DataError, match=r"does not name 2 of 3 pictures, among them a/001\.png"):
        groups_beside(listing, "sender")


def test_clothing_senders_are_found_beside_the_pictures(test_data: Path):
    listing = groups_beside(list_folder(test_data / "clothing"), "sender")
    assert len(listing.classes) == 17
    assert len(listing.group_names) == 344
    by_table = list_table(test_data / "clothing" / "clothing.csv", "sender")
    assert by_table.paths == listing.paths
    assert groups(by_table) == groups(listing)

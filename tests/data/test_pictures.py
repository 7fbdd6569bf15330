"""`open_pictures`: every DATA, and what bad data gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.data import cache, pictures
from modicum.data.images import load_picture
from modicum.data.pictures import open_pictures
from modicum.errors import ConfigError, DataError

from .conftest import MakeFolder, png


def test_a_folder_of_class_folders(make_folder: MakeFolder):
    top = make_folder({"a": 3, "b/c": 2})
    found = open_pictures(str(top))
    assert found.name == "data"
    assert found.classes == ("a", "b/c")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.ids[3] == "b/c/000.png"
    assert found.pixels.shape == (5, 32, 32, 3)
    assert np.array_equal(found.pixels[3], load_picture(top / "b/c/000.png", 32, 3))
    assert len(set(found.digests)) == 5
    assert found.split_rule.startswith("no splits file: 2 classes split 64/16/20 per cent by seed 0 into 1 train")


@pytest.mark.parametrize(("short", "size"), [(20, 28), (28, 28), (31, 28), (40, 32), (64, 64), (200, 84)])
def test_the_usual_size_is_the_largest_below_the_median_short_side(make_folder: MakeFolder, short: int, size: int):
    top = make_folder({"a": 3, "b": 2}, size=(short, short + 7))
    assert open_pictures(str(top)).pixels.shape[1:] == (size, size, 3)


def test_size_margin_and_channels_as_asked(make_folder: MakeFolder):
    top = str(make_folder({"a": 1, "b": 1}))
    assert open_pictures(top, size=20, margin=1.15, channels=1).pixels.shape == (2, 23, 23, 1)
    for wrong in ({"channels": 2}, {"size": 0}, {"margin": 0.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            open_pictures(top, **wrong)


def test_pixels_are_a_channels_last_view_for_torch(make_folder: MakeFolder):
    torch = pytest.importorskip("torch")
    found = open_pictures(str(make_folder({"a": 2, "b": 2})))
    tensor = torch.from_numpy(np.array(found.pixels)).permute(0, 3, 1, 2)
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_a_splits_file_and_a_seed(make_folder: MakeFolder, tmp_path: Path):
    top = str(make_folder(dict.fromkeys("abcdefgh", 1)))
    (tmp_path / "s.json").write_text(json.dumps({"train": ["a"], "test": ["h", "b"]}))
    found = open_pictures(top, splits=str(tmp_path / "s.json"))
    assert found.split("test").classes == ("b", "h")
    assert open_pictures(top, seed=1).splits != open_pictures(top, seed=2).splits


def test_groups_by_a_column(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    (top / "who.csv").write_text("path,sender\na/000.png,x\na/001.png,y\nb/000.png,x\n")
    assert open_pictures(str(top), group="sender").groups.tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="digits has no column 'sender'"):
        open_pictures("digits", group="sender")


def test_bad_pictures_are_skipped_and_named_or_refused(make_folder: MakeFolder):
    top = make_folder({"a": 3, "b": 2})
    (top / "a/001.png").write_bytes(png(1)[:500])
    (top / "b/notes.jpg").write_text("text")
    found = open_pictures(str(top))
    assert [(problem.path, problem.kind) for problem in found.skipped] == [
        ("a/001.png", "truncated"), ("b/notes.jpg", "wrong-type")
    ]  # fmt: skip
    assert found.ids == ("a/000.png", "a/002.png", "b/000.png", "b/001.png")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(found.pixels[1], load_picture(top / "a/002.png", 32, 3))
    with pytest.raises(DataError, match=r"2 pictures of data cannot be used: a/001\.png: .*; b/notes\.jpg"):
        open_pictures(str(top), bad="refuse")


def test_a_class_without_usable_pictures_is_left_out(make_folder: MakeFolder):
    top = make_folder({"a": 1, "b": 1, "c": 2})
    (top / "b/000.png").write_bytes(b"")
    found = open_pictures(str(top))
    assert found.classes == ("a", "c")
    assert found.labels.tolist() == [0, 1, 1]
    assert ("b", "empty-class") in [(problem.path, problem.kind) for problem in found.skipped]
    assert all("b" not in classes for classes in found.splits.values())
    (top / "c/000.png").write_bytes(b"")
    (top / "c/001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture of b, c can be used \(b/000\.png: .*leaves 1 classes"):
        open_pictures(str(top))


def test_missing_empty_and_flat_folders(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no .*nowhere; expected a folder of class folders"):
        open_pictures(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no omniglott \(did you mean 'omniglot'\?\)"):
        open_pictures("omniglott")
    with pytest.raises(DataError, match="holds no pictures; expected a folder for each class with its pictures"):
        open_pictures(str(tmp_path))
    (tmp_path / "a.png").write_bytes(png(0))
    with pytest.raises(DataError, match=r"lie in no class folder \(a\.png\); make a folder for each class"):
        open_pictures(str(tmp_path))
    with pytest.raises(DataError, match="found an empty name"):
        open_pictures("")
    (tmp_path / "a.zip").write_text("x")
    with pytest.raises(DataError, match="called a zip but is none"):
        open_pictures(str(tmp_path / "a.zip"))
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(DataError, match="neither a folder, a CSV"):
        open_pictures(str(tmp_path / "a.xyz"))


def test_one_class_only(make_folder: MakeFolder):
    top = make_folder({"a": 3})
    (top / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"one class only \(a\); expected at least 2.*; if labels\.csv has the labels"):
        open_pictures(str(top))
    assert open_pictures(str(top), min_classes=1).classes == ("a",)


def test_train_and_test_folders_that_share_classes_are_refused(make_folder: MakeFolder):
    with pytest.raises(DataError, match=r"test, train hold the same classes \(a\); give one of them"):
        open_pictures(str(make_folder({"train/a": 1, "test/a": 1})))


def test_table_with_picture_splits_opens_but_has_no_class_splits(make_folder: MakeFolder):
    top = make_folder({"p": 4})
    lines = ["path,label,split", *(f"p/{i:03d}.png,{'ab'[i % 2]},{'train' if i < 2 else 'test'}" for i in range(4))]
    (top / "t.csv").write_text("\n".join(lines))
    found = open_pictures(str(top / "t.csv"))
    assert len(found) == 4
    with pytest.raises(DataError, match=r"no split 'train'; it has: all\. the table's split column splits pictures"):
        found.split("train")


def test_grey_16_bit_cmyk_animated_and_turned_pictures_and_odd_names_all_come_in(tmp_path: Path):
    folder = tmp_path / "Größe 猫" / "ä b"
    folder.mkdir(parents=True)
    (tmp_path / "Größe 猫" / "other").mkdir()
    (tmp_path / "Größe 猫" / "other" / "ö.png").write_bytes(png(3))
    Image.new("L", (40, 40), 9).save(folder / "grey.png")
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(folder / "16 bit.png")
    Image.new("CMYK", (40, 40)).save(folder / "cmyk.jpg")
    Image.new("P", (40, 40)).save(folder / "moving.gif", save_all=True, append_images=[Image.new("P", (40, 40), 1)])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (50, 40)).save(folder / "turned.jpg", exif=exif)
    found = open_pictures(str(tmp_path / "Größe 猫"), bad="refuse")
    assert found.classes == ("other", "ä b")
    assert len(found) == 6


def test_digits(tmp_path: Path):
    found = open_pictures("digits")
    assert found.pixels.shape == (1797, 28, 28, 1)
    assert found.split("train").classes == ("0", "1", "2", "3", "4")
    assert len(found.split("test")) == 896
    with pytest.raises(DataError, match=r"digits has no split 'val'.*too few classes for a val"):
        found.split("val")
    with pytest.raises(DataError, match=r"no file digit \(did you mean 'digits'\?\); .* published split of digits: digits"):
        open_pictures("digits", splits="digit")
    (tmp_path / "s.json").write_text(json.dumps({"train": ["3"], "val": ["4"], "test": ["5"]}))
    assert open_pictures("digits", splits=str(tmp_path / "s.json")).split("val").classes == ("4",)


def test_omniglot_whole(test_data: Path):
    """Published sizes: 32,460 drawings; 4,112 / 688 / 1,692 classes of the Vinyals split with rotations, 20 each."""
    found = open_pictures("omniglot", root=str(test_data))
    assert found.pixels.shape == (129_840, 28, 28, 1)
    assert [len(found.split(name).classes) for name in ("train", "val", "test")] == [4112, 688, 1692]
    assert (np.bincount(found.labels) == 20).all()
    lake = open_pictures("omniglot", root=str(test_data), splits="lake")
    assert [len(lake.split(name).classes) for name in ("train", "test")] == [964, 659]
    place = {path: row for row, path in enumerate(lake.ids)}
    for row in np.random.default_rng(0).integers(0, len(found), 50):
        origin, _, turn = found.ids[row].partition("@rot")
        assert np.array_equal(found.pixels[row], np.rot90(lake.pixels[place[origin]], int(turn) // 90))
        assert found.classes[found.labels[row]] == f"{lake.classes[lake.labels[place[origin]]]}/rot{turn}"
    assert lake.pixels[:2000].mean() > 200  # dark strokes on light, as they are stored


def test_cifar_fs_and_fc100_share_their_pictures_and_the_second_start_decodes_none(
    test_data: Path, monkeypatch: pytest.MonkeyPatch
):
    first = open_pictures("cifar-fs", root=str(test_data))
    monkeypatch.setattr(cache, "_write", None)
    second = open_pictures("fc100", root=str(test_data))
    assert isinstance(second.pixels, np.memmap)
    assert first.pixels.shape == second.pixels.shape == (60_000, 32, 32, 3)
    assert (np.bincount(first.labels) == 600).all()
    assert [len(first.split(name).classes) for name in ("train", "val", "test")] == [64, 16, 20]
    assert [len(second.split(name).classes) for name in ("train", "val", "test")] == [60, 20, 20]
    mean = first.pixels[: len(first)].mean(axis=(0, 1, 2)) / 255
    assert np.abs(mean - [0.5071, 0.4865, 0.4409]).max() < 0.002


def test_importing_the_layer_loads_no_torch_and_no_pillow():
    heavy = ("torch", "torchvision", "PIL", "sklearn")
    code = f"import sys, modicum.data.pictures; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_module_offers_is_there():
    assert all(hasattr(pictures, name) for name in pictures.__all__)

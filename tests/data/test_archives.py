"""Zips: what is unpacked, where to, and what is refused."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from modicum.data import archives
from modicum.data.archives import safe_name, unpack
from modicum.data.pictures import open_pictures
from modicum.errors import DataError
from modicum.files import cache_dir

from .conftest import MakeFolder, png


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_a_zip_gives_the_same_pictures_as_the_folder(make_folder: MakeFolder, tmp_path: Path):
    top = make_folder({"a": 2, "b": 3})
    files = {f"data/{path.relative_to(top).as_posix()}": path.read_bytes() for path in top.rglob("*.png")}
    from_zip = open_pictures(str(pack(tmp_path / "set.zip", files)))
    from_folder = open_pictures(str(top))
    assert from_zip.ids == from_folder.ids
    assert from_zip.digests == from_folder.digests
    assert (from_zip.pixels == from_folder.pixels).all()
    assert from_zip.name == "set"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "set.zip"]


def test_a_zip_with_a_table_and_one_with_a_single_class_folder(tmp_path: Path):
    pictures = {"p/1.png": png(1), "p/2.png": png(2), "p/3.png": png(3)}
    table = b"path,label,group\np/1.png,a,x\np/2.png,b,x\np/3.png,b,y\n"
    found = open_pictures(str(pack(tmp_path / "t.zip", {**pictures, "labels.csv": table})))
    assert found.classes == ("a", "b")
    assert found.group_names == ("x", "y")
    with pytest.raises(DataError, match=r"one class only \(p\)"):
        open_pictures(str(pack(tmp_path / "one.zip", pictures)))


def test_a_table_in_a_zip_comes_before_its_folders(tmp_path: Path):
    pictures = {f"shard{i % 2}/{i}.png": png(i) for i in range(4)}
    table = "path,label,sender\n" + "".join(f"{path},{'cat' if i < 2 else 'dog'},s{i}\n" for i, path in enumerate(pictures))
    other = {
        "aaa.csv": b"",
        "notes.csv": b"path,label\nshard0/0.png,cat\n",
        "who.csv": table.replace("sender", "camera").encode(),
    }
    path = str(pack(tmp_path / "t.zip", {**pictures, "labels.csv": table.encode(), **other}))
    found = open_pictures(path)
    assert found.classes == ("cat", "dog")
    assert found.ids == ("shard0/0.png", "shard1/1.png", "shard0/2.png", "shard1/3.png")
    assert open_pictures(path, group="sender").group_names == ("s0", "s1", "s2", "s3")


def test_a_table_of_pictures_that_are_not_in_the_zip_does_not_hide_the_folders(tmp_path: Path):
    files = {"a/1.png": png(1), "b/2.png": png(2), "old.csv": b"path,label\nelsewhere/1.png,x\n", "bad.csv": b"\xff"}
    assert open_pictures(str(pack(tmp_path / "z.zip", files))).classes == ("a", "b")


def test_groups_are_found_in_a_zip_of_class_folders(tmp_path: Path):
    who = b"path,who\na/1.png,x\nb/1.png,y\n"
    path = pack(tmp_path / "z.zip", {"top/a/1.png": png(1), "top/b/1.png": png(2), "top/who.csv": who})
    assert open_pictures(path, group="who").group_names == ("x", "y")


def test_what_is_no_picture_or_table_stays_packed(tmp_path: Path):
    kept = {"a/1.png": png(1), "b/1.png": png(2)}
    files = {**kept, "a/x.py": b"", "__MACOSX/a/1.png": b"", ".git/c": b"", "a/.hidden.png": b""}
    folder = unpack(pack(tmp_path / "z.zip", files))
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(kept)


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png"])
def test_entries_that_lead_out_are_refused_and_nothing_is_left(name: str, tmp_path: Path):
    path = pack(tmp_path / "z.zip", {"a/1.png": png(1), name: png(2)})
    with pytest.raises(DataError, match="leads out of the archive"):
        unpack(path)
    assert list((cache_dir() / "archives").iterdir()) == []
    assert not list(tmp_path.parent.rglob("evil.png"))


def test_windows_paths_become_folders():
    assert safe_name("cats\\tom.png") == "cats/tom.png"


def test_links_are_refused(tmp_path: Path):
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"holds a link \(a/link\.png\)"):
        unpack(tmp_path / "z.zip")


def test_bombs_are_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "FREE", 10**6)
    path = pack(tmp_path / "bomb.zip", {"a/1.bmp": bytes(20_000_000)})
    with pytest.raises(DataError, match="would unpack to"):
        unpack(path)
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1000)
    with pytest.raises(DataError, match="more than the limit"):
        unpack(pack(tmp_path / "large.zip", {"a/1.png": png(1)}))
    monkeypatch.setattr(archives, "MAX_FILES", 1)
    with pytest.raises(DataError, match="2 files"):
        unpack(pack(tmp_path / "many.zip", {"a/1.png": b"", "a/2.png": b""}))


def test_damaged_and_encrypted_zips_are_named(tmp_path: Path):
    path = pack(tmp_path / "z.zip", {"a/1.png": png(1), "b/2.png": png(2)})
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"z\.zip is damaged"):
        unpack(path)
    data = bytearray(pack(tmp_path / "e.zip", {"a/1.png": png(1)}).read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "e.zip").write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        unpack(tmp_path / "e.zip")


def test_unpacked_once_and_again_when_the_zip_changes(tmp_path: Path):
    path = pack(tmp_path / "z.zip", {"a/1.png": png(1)})
    first = unpack(path)
    assert unpack(path) == first
    pack(path, {"a/2.png": png(2)})
    os.utime(path, ns=(1, 1))
    second = unpack(path)
    assert [path.name for path in second.rglob("*.png")] == ["2.png"]
    assert not first.exists()


def test_half_unpacked_leftovers_are_swept_after_a_day(tmp_path: Path):
    leftover = cache_dir() / "archives" / ".old"
    leftover.mkdir(parents=True)
    unpack(pack(tmp_path / "y.zip", {"a/1.png": png(1)}))
    assert leftover.exists()
    os.utime(leftover, (1, 1))
    unpack(pack(tmp_path / "z.zip", {"a/1.png": png(1)}))
    assert not leftover.exists()


def test_the_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[tuple[Path, int]] = []
    monkeypatch.setattr(archives, "sync_folder", lambda folder: synced.append((folder, len(list(folder.glob("[!.]*"))))))
    folder = unpack(pack(tmp_path / "z.zip", {"a/1.png": png(1), "b/2.png": png(2)}))
    assert synced == [(folder.parent, 1)]

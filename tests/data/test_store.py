"""The cache file: what is written is what is read, and damage is found."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from modicum.data import store
from modicum.data.images import Facts, Preparation, Problem
from modicum.errors import FileFormatError, WriteError

SIDE = 4


def manifest(count: int) -> store.Manifest:
    rng = np.random.default_rng(0)
    return store.Manifest(
        "origin", Preparation(SIDE, 3), tuple(f"{i}\n猫.png" for i in range(count)),
        rng.integers(0, 2**62, (count, 2)), np.where(np.arange(count) == 1, -1, np.arange(count) - (np.arange(count) > 1)),
        rng.integers(0, 256, (count, 16), dtype=np.uint8), rng.integers(0, 2**32, count, dtype=np.uint32),
        np.array([[7, 9, 1]] * count, np.int32).reshape(-1, 3), np.zeros(count, np.uint8), ("PNG RGB",),
        (Problem("1\n猫.png", "truncated", "cut"),) if count > 1 else (),
    )  # fmt: skip


def write(path: Path, count: int = 5) -> tuple[store.Manifest, np.ndarray]:
    record = manifest(count)
    pixels = np.random.default_rng(1).integers(0, 256, (record.rows, SIDE, SIDE, 3), dtype=np.uint8)
    with store.writing(path) as out:
        store.begin(out)
        out.write(pixels.tobytes())
        store.finish(out, record)
    return record, pixels


@pytest.mark.parametrize("count", [0, 1, 5])
def test_round_trip_is_exact(count: int, tmp_path: Path):
    record, pixels = write(tmp_path / "x.pictures", count)
    found, mapped = store.read(tmp_path / "x.pictures")
    for field in fields(store.Manifest):
        assert np.array_equal(getattr(found, field.name), getattr(record, field.name)), field.name
    assert np.array_equal(mapped, pixels)
    if count:
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        assert found.facts(0) == Facts(7, 9, "RGB", "PNG", True)


def test_cutting_off_any_part_is_found(tmp_path: Path):
    write(tmp_path / "x.pictures")
    data = (tmp_path / "x.pictures").read_bytes()
    for length in (0, 10, store.PAGE, store.PAGE + 50, len(data) - 100, len(data) - 1):
        (tmp_path / "cut.pictures").write_bytes(data[:length])
        with pytest.raises(FileFormatError):
            store.read(tmp_path / "cut.pictures")


def test_changes_in_the_manifest_are_found(tmp_path: Path):
    record, _ = write(tmp_path / "x.pictures")
    data = (tmp_path / "x.pictures").read_bytes()
    begin = store.PAGE + record.rows * SIDE * SIDE * 3
    for place in np.random.default_rng(0).integers(begin, len(data), 100):
        broken = bytearray(data)
        broken[place] ^= 1
        (tmp_path / "broken.pictures").write_bytes(broken)
        with pytest.raises(FileFormatError):
            store.read(tmp_path / "broken.pictures")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    write(tmp_path / "x.pictures")
    before = (tmp_path / "x.pictures").read_bytes()
    with pytest.raises(TypeError), store.writing(tmp_path / "x.pictures") as out:
        out.writelines([b"half", None])
    with pytest.raises(WriteError, match="No space left"), store.writing(tmp_path / "x.pictures"):
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pictures"]
    assert (tmp_path / "x.pictures").read_bytes() == before


def test_leftovers_of_dead_writers_are_swept_and_work_in_progress_is_not(tmp_path: Path):
    dead = tmp_path / ".y.pictures.abc.tmp"
    dead.write_bytes(b"x")
    os.utime(dead, (1, 1))
    with store.writing(tmp_path / "x.pictures") as out:
        os.utime(out.name if isinstance(out.name, str) else out.fileno(), (1, 1))
        assert not dead.exists()
        store.sweep(tmp_path)
        assert len(list(tmp_path.glob(".*.tmp"))) == 1


def test_an_unwritable_cache_folder_says_what_to_set(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="file"), store.writing(tmp_path / "file" / "x.pictures"):
        pass


def test_the_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[tuple[Path, bool]] = []
    monkeypatch.setattr(store, "sync_folder", lambda folder: synced.append((folder, (tmp_path / "x.pictures").exists())))
    write(tmp_path / "x.pictures")
    assert synced == [(tmp_path, True)]

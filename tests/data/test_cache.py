"""Decoding once: what is decoded again, what is not, and what kills and races leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.data import decoding, store
from modicum.data.cache import cache_file, clear, entries, open_cache, verify
from modicum.data.images import Preparation, load_picture
from modicum.data.pictures import open_pictures
from modicum.data.sources import list_folder
from modicum.files import cache_dir

from .conftest import MakeFolder, png

PREPARE = Preparation(16, 3)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []
    original = decoding.read_bytes

    def spy(path: Path) -> bytes:
        names.append("/".join(Path(path).parts[-2:]))
        return original(path)

    monkeypatch.setattr(decoding, "read_bytes", spy)
    return names


def check_pixels(top: Path) -> None:
    """The cache holds for every picture what decoding it alone gives."""
    listing = list_folder(top)
    manifest, pixels = open_cache(listing, PREPARE)
    assert manifest.paths == listing.paths
    for row, path in enumerate(listing.paths):
        assert np.array_equal(pixels[manifest.row[row]], load_picture(top / path, 16, 3)), path


def test_second_opening_decodes_nothing_and_third_only_what_is_new(make_folder: MakeFolder, decoded: list[str]):
    top = make_folder({"a": 3, "b": 2})
    check_pixels(top)
    assert sorted(decoded) == ["a/000.png", "a/001.png", "a/002.png", "b/000.png", "b/001.png"]
    decoded.clear()
    check_pixels(top)
    assert decoded == []
    (top / "a/0005.png").write_bytes(png(50))
    (top / "b/001.png").write_bytes(png(51, (40, 20)))
    (top / "a/001.png").unlink()
    check_pixels(top)
    assert sorted(decoded) == ["a/0005.png", "b/001.png"]


def test_more_pictures_than_a_batch_come_in_order(make_folder: MakeFolder):
    check_pixels(make_folder({"a": 150, "b": 90}, size=(5, 5)))


def test_progress_counts_what_is_decoded(make_folder: MakeFolder):
    seen: list[tuple[int, int]] = []
    listing = list_folder(make_folder({"a": 100, "b": 30}, size=(4, 4)))
    open_cache(listing, PREPARE, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 130), (128, 130), (130, 130)]


def test_bad_pictures_are_remembered_and_decoded_when_they_are_mended(make_folder: MakeFolder, decoded: list[str]):
    top = make_folder({"a": 2, "b": 1})
    (top / "a/001.png").write_bytes(png(1)[:1000])
    for _ in range(2):
        manifest, pixels = open_cache(list_folder(top), PREPARE)
        assert manifest.row.tolist() == [0, -1, 1]
        assert [(problem.path, problem.kind) for problem in manifest.problems] == [("a/001.png", "truncated")]
        assert len(pixels) == 2
    assert decoded.count("a/001.png") == 1
    (top / "a/001.png").write_bytes(png(1))
    check_pixels(top)
    assert decoded.count("a/000.png") == 1


def test_sides_and_channels_have_files_of_their_own(make_folder: MakeFolder):
    listing = list_folder(make_folder({"a": 1, "b": 1}))
    assert len({cache_file(listing, Preparation(side, channels)) for side in (8, 16) for channels in (1, 3)}) == 4
    assert open_cache(listing, Preparation(8, 1))[1].shape == (2, 8, 8, 1)


def test_a_damaged_cache_is_built_anew(make_folder: MakeFolder):
    top = make_folder({"a": 3, "b": 2})
    listing = list_folder(top)
    open_cache(listing, PREPARE)
    path = cache_file(listing, PREPARE)
    for damage in (b"", b"rubbish" * 1000, path.read_bytes()[:-7]):
        path.write_bytes(damage)
        check_pixels(top)


def test_verify_finds_content_that_changed_unseen(make_folder: MakeFolder):
    """A bitmap of the same size and time with other pixels: only reading it shows that."""
    top = make_folder({"a": 2, "b": 2})
    victim = top / "a/x.bmp"
    Image.new("RGB", (9, 9), "red").save(victim)
    status = victim.stat()
    listing = list_folder(top)
    open_cache(listing, PREPARE)
    assert verify(listing, PREPARE) == []
    Image.new("RGB", (9, 9), "blue").save(victim)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(list_folder(top), PREPARE) == ["a/x.bmp"]
    check_pixels(top)
    assert verify(list_folder(top), PREPARE) == []


def test_verify_finds_cached_pixels_that_rotted(make_folder: MakeFolder):
    top = make_folder({"a": 3, "b": 2})
    listing = list_folder(top)
    open_cache(listing, PREPARE)
    path = cache_file(listing, PREPARE)
    data = bytearray(path.read_bytes())
    data[4096 + 16 * 16 * 3 * 3 + 5] ^= 255
    path.write_bytes(data)
    assert verify(listing, PREPARE) == ["b/000.png"]
    check_pixels(top)


def test_readers_keep_their_pixels_when_the_cache_is_replaced_or_cleared(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    _, pixels = open_cache(list_folder(top), PREPARE)
    before = pixels.copy()
    (top / "a/000.png").write_bytes(png(99))
    open_cache(list_folder(top), PREPARE)
    clear()
    assert np.array_equal(pixels, before)
    assert not cache_file(list_folder(top), PREPARE).exists()


def test_entries_tell_what_the_cache_holds(make_folder: MakeFolder):
    top = make_folder({"a": 2, "b": 1})
    open_cache(list_folder(top), PREPARE)
    (entry,) = entries()
    assert entry.name == f"{top}: 3 pictures, 16 x 16 x 3"
    assert clear() == entry.size
    assert entries() == []


BUILD = """
import sys
from pathlib import Path
from modicum.data import cache
from modicum.data.images import Preparation
from modicum.data.pictures import open_pictures
from modicum.data.sources import list_folder
print("ready", flush=True)
manifest, pixels = cache.open_cache(list_folder(Path(sys.argv[1])), Preparation(16, 3))
print(int(pixels.astype("int64").sum()), flush=True)
"""


def build(top: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(top)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_that_build_at_once_both_get_all_pictures(make_folder: MakeFolder):
    top = make_folder({"a": 120, "b": 120}, size=(64, 64))
    both = [build(top), build(top)]
    sums = {process.communicate(timeout=60)[0] for process in both}
    _, pixels = open_cache(list_folder(top), PREPARE)
    assert sums == {f"{int(pixels.astype(np.int64).sum())}\n"}
    assert len(list((cache_dir() / "pictures").iterdir())) == 1


def test_a_build_that_is_killed_leaves_nothing_that_is_read(make_folder: MakeFolder):
    top = make_folder({"a": 150, "b": 150}, size=(96, 96))
    for delay in (0.02, 0.1, 0.2):
        process = build(top)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.communicate()
    check_pixels(top)
    for leftover in (cache_dir() / "pictures").glob(".*.tmp"):
        os.utime(leftover, (1, 1))
    (top / "a/000.png").write_bytes(png(7))
    check_pixels(top)
    assert len(list((cache_dir() / "pictures").iterdir())) == 1


def test_second_start_on_60000_pictures_reads_no_picture(test_data: Path, monkeypatch: pytest.MonkeyPatch):
    """How long it takes is a benchmark; here, that no file is opened, and that what the map holds is right."""
    open_pictures("cifar-fs", root=str(test_data))
    monkeypatch.setattr(decoding, "read_bytes", None)
    monkeypatch.setattr(store, "writing", None)
    found = open_pictures("cifar-fs", root=str(test_data))
    assert found.pixels.shape == (60_000, 32, 32, 3)
    for row in np.random.default_rng(0).integers(0, 60_000, 20):
        assert np.array_equal(found.pixels[row], load_picture(test_data / "cifar100" / found.ids[row], 32, 3))

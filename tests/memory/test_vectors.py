"""The vector file is a cache: whatever happens to it, results are those of the database, of which it follows all changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modicum.memory import checksums, vectors, view
from modicum.memory.beacon import CACHE
from modicum.memory.checksums import checksum
from modicum.memory.memory import Memory
from modicum.memory.types import MemoryInfo
from modicum.memory.vectors import CacheDamaged, VectorCache

DIM = 7


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Files from 50 rows on, in parts of 32."""
    monkeypatch.setattr(view, "FLUSH", 50)
    for module in ("vectors", "view", "segments", "exact"):
        monkeypatch.setattr(f"modicum.memory.{module}.PART", 32)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def filled(folder: Path, n: int = 200) -> np.ndarray:
    """A memory of n items whose file is on disk; returns their ids."""
    with Memory.create(folder, MemoryInfo(DIM), "exact") as memory:
        ids = memory.add(rows(n))
        memory.lookup(rows(1), 1)
    return ids


def answers(folder: Path, readonly: bool = False):
    with Memory.open(folder, "exact", readonly) as memory:
        found = memory.lookup(rows(20, 5), 9)
        assert memory.verify() == []
        return found.id.tolist(), found.similarity.tolist()


def manifest(folder: Path) -> dict:
    return json.loads((folder / CACHE / vectors.MANIFEST).read_text())


def only(folder: Path, suffix: str) -> Path:
    (path,) = (folder / CACHE).glob(f"*{suffix}")
    return path


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def damage_manifest(**changes):
    def run(folder: Path) -> None:
        (folder / CACHE / vectors.MANIFEST).write_text(json.dumps({**manifest(folder), **changes}))

    return run


DAMAGES = {
    "no cache": lambda folder: shutil.rmtree(folder / CACHE),
    "no manifest": lambda folder: (folder / CACHE / vectors.MANIFEST).unlink(),
    "garbage": lambda folder: (folder / CACHE / vectors.MANIFEST).write_text("{"),
    "no vectors": lambda folder: only(folder, ".vectors").unlink(),
    "no rows": lambda folder: only(folder, ".rows").unlink(),
    "short vectors": lambda folder: cut(only(folder, ".vectors")),
    "short rows": lambda folder: cut(only(folder, ".rows")),
    "a bit of a vector": lambda folder: flip(only(folder, ".vectors"), 4 * DIM * 150 + 2),
    "a bit of an id": lambda folder: flip(only(folder, ".rows"), 16 * 77),
    "a bit of a removal": lambda folder: flip(only(folder, ".removed"), 1),
    "another dimension": damage_manifest(dim=DIM + 1),
    "another machine": damage_manifest(byteorder="middle"),
    "another database": damage_manifest(stamp=12345),
    "a later change": damage_manifest(change=10**9),
    "fewer sums": damage_manifest(sums=[]),
    "no number of rows": damage_manifest(rows=None),
}


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew(damage, readonly, tmp_path):
    """Each piece missing, cut off, altered or of another memory: same results; then the file is whole again."""
    ids = filled(tmp_path / "m")
    with Memory.open(tmp_path / "m", "exact") as memory:
        memory.remove(ids[:3])
        memory.add(rows(60, 1))  # 60 more: removals and rows are brought into the file
        memory.lookup(rows(1), 1)
    assert manifest(tmp_path / "m")["rows"] == 260
    expected = answers(tmp_path / "m")
    generation = manifest(tmp_path / "m")["generation"]
    DAMAGES[damage](tmp_path / "m")
    assert answers(tmp_path / "m", readonly) == expected
    if not readonly:
        assert manifest(tmp_path / "m")["generation"] != generation
        assert manifest(tmp_path / "m")["rows"] == 257
        assert answers(tmp_path / "m") == expected


def test_an_intact_cache_is_used(tmp_path, monkeypatch):
    """Opening it again reads no embedding from the database."""
    filled(tmp_path / "m")
    expected = answers(tmp_path / "m")
    with Memory.open(tmp_path / "m", "exact") as memory:
        monkeypatch.setattr(type(memory.store), "added_vectors", lambda *_: pytest.fail("read from the database"))
        found = memory.lookup(rows(20, 5), 9)
    assert (found.id.tolist(), found.similarity.tolist()) == expected


def test_what_a_killed_writer_left_behind_the_count_is_overwritten(tmp_path):
    ids = filled(tmp_path / "m")
    for suffix in (".vectors", ".rows"):
        with open(only(tmp_path / "m", suffix), "ab") as file:
            file.write(b"half a row")
    with Memory.open(tmp_path / "m", "exact") as memory:
        new = memory.add(rows(70, 3))
        assert memory.lookup(rows(70, 3)[5:6], 1).id[0, 0] == new[5]
        assert memory.lookup(rows(200)[9:10], 1).id[0, 0] == ids[9]
    assert manifest(tmp_path / "m")["rows"] == 270
    assert only(tmp_path / "m", ".vectors").stat().st_size == 270 * 4 * DIM
    answers(tmp_path / "m")


def test_few_rows_stay_in_memory_and_many_go_into_the_file(tmp_path):
    with Memory.create(tmp_path / "m", MemoryInfo(DIM), "exact") as memory:
        sizes = []
        for i in range(4):
            memory.add(rows(20, i))
            memory.lookup(rows(1), 1)
            sizes.append(manifest(tmp_path / "m")["rows"] if (tmp_path / "m" / CACHE / vectors.MANIFEST).exists() else 0)
        assert sizes == [0, 0, 60, 60]
        assert memory.follower.current().live == 80


def test_two_processes_follow_each_other(tmp_path):
    """A child adds and removes while this process searches: each look-up sees what was acknowledged before it.

    The child makes larger parts, so that each writes the file anew: neither may disturb the other by that. That two are open
    here shows, too, that opening one does not take away the locks of the other, without which the child deletes the log.
    """
    ids = filled(tmp_path / "m")
    code = """if True:
        import sys, numpy as np
        from modicum.memory import view
        from modicum.memory.memory import Memory
        view.FLUSH = 50
        folder, command, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
        with Memory.open(folder, "exact") as memory:
            if command == "add":
                vectors = np.random.default_rng(seed).standard_normal((90, 7)).astype(np.float32)
                memory.add(vectors, source=str(seed))
                memory.lookup(vectors[:1], 1)
            else:
                memory.remove_source(str(seed))
    """

    def child(command: str, seed: int) -> None:
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "m"), command, str(seed)], check=True, timeout=120)

    with Memory.open(tmp_path / "m", "exact") as memory, Memory.open(tmp_path / "m", "exact", readonly=True) as reader:
        for both in (memory, reader):
            assert both.lookup(rows(200)[:1], 1).id[0, 0] == ids[0]
        for seed in (11, 12, 13):
            child("add", seed)
            query = rows(90, seed)[40:41]
            for both in (memory, reader):
                assert both.lookup(query, 1).similarity[0, 0] == 1.0
                assert len(both) == both.follower.current().live
        child("remove", 12)
        for both in (memory, reader):
            assert both.lookup(rows(90, 12)[40:41], 1).similarity[0, 0] < 1.0
            assert both.follower.current().live == 380
        assert memory.verify() == []


def test_a_log_that_was_forgotten_is_no_loss(tmp_path):
    """A process that lags behind a trimmed log reads the file or the database again."""
    filled(tmp_path / "m")
    with Memory.open(tmp_path / "m", "exact") as memory, Memory.open(tmp_path / "m", "exact") as other:
        memory.lookup(rows(1), 1)
        gone = other.add(rows(5, 1), source="b")
        other.remove(gone[:2])
        other.add(rows(5, 2), source="c")
        other.store.forget_changes(other.store.last_change())
        found = memory.lookup(rows(5, 1), 1)
        assert (found.id[:, 0] == gone).tolist() == [False, False, True, True, True]
        assert memory.verify() == []


def test_an_item_that_comes_again_with_another_embedding(tmp_path):
    """Removed and added under the same name: the old row is gone, also where both changes are read at once."""
    ids = filled(tmp_path / "m")
    with Memory.open(tmp_path / "m", "exact") as memory, Memory.open(tmp_path / "m", "exact") as other:
        memory.lookup(rows(1), 1)
        other.remove(ids[7:8])
        other.add(rows(1, 77), names=["7"])
        assert memory.lookup(rows(1, 77), 1).id[0, 0] == ids[7]
        assert memory.lookup(rows(200)[7:8], 1).similarity[0, 0] < 0.99
        assert memory.follower.current().live == 200


def test_without_a_place_to_write_rows_stay_in_memory(tmp_path, monkeypatch):
    """The cache cannot be written (here: its folder's name is taken by a file): same results."""
    ids = filled(tmp_path / "m")
    shutil.rmtree(tmp_path / "m" / CACHE)
    (tmp_path / "m" / CACHE).write_text("in the way")
    with Memory.open(tmp_path / "m", "exact") as memory:
        assert memory.lookup(rows(200)[50:51], 1).id[0, 0] == ids[50]
        new = memory.add(rows(80, 4))
        assert memory.lookup(rows(80, 4)[70:71], 1).id[0, 0] == new[70]
    assert (tmp_path / "m" / CACHE).read_text() == "in the way"


def test_a_full_disk_while_the_file_is_written(tmp_path, monkeypatch):
    """Writing fails half-way: the look-up answers, the old file stays whole, and the next attempt succeeds."""
    filled(tmp_path / "m")
    with Memory.open(tmp_path / "m", "exact") as memory:
        memory.lookup(rows(1), 1)
        new = memory.add(rows(80, 4))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            assert memory.lookup(rows(80, 4)[70:71], 1).id[0, 0] == new[70]
        assert manifest(tmp_path / "m")["rows"] == 200
        memory.add(rows(1, 6), source="x")
        memory.lookup(rows(1), 1)
        assert manifest(tmp_path / "m")["rows"] == 281
    answers(tmp_path / "m")


def test_a_full_disk_is_not_kept_full_by_half_a_file(tmp_path, monkeypatch):
    """The first file of a memory cannot be written to its end: what there is of it is deleted, the look-up answers."""
    with Memory.create(tmp_path / "m", MemoryInfo(DIM), "exact") as memory:
        ids = memory.add(rows(200))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            assert memory.lookup(rows(200)[50:51], 1).id[0, 0] == ids[50]
        assert [path for path in (tmp_path / "m" / CACHE).iterdir() if path.suffix in (".vectors", ".rows")] == []
    answers(tmp_path / "m")
    only(tmp_path / "m", ".vectors")


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_damage_is_told_by_the_part_that_has_it(tmp_path):
    filled(tmp_path / "m")
    flip(only(tmp_path / "m", ".vectors"), 4 * DIM * 150)
    file = VectorCache(tmp_path / "m" / CACHE, DIM).load()
    file.check(0, 128)
    file.check.chosen(np.array([3, -1, 127]))
    with pytest.raises(CacheDamaged):
        file.check(128, 129)
    with pytest.raises(CacheDamaged):
        file.check.behind(100)(28, 60)
    file.check.behind(100)(60, 90)


@pytest.mark.parametrize("kernel", [True, False])
def test_checksums_by_hand(kernel, monkeypatch):
    """Words 5, 7, 2^32 - 1 from word 2 on: 5 * 5 + 7 * 7 + (2^32 - 1) * 9; parts add up; bytes are padded with zeros."""
    if not kernel:
        monkeypatch.setattr(checksums, "_library", lambda: None)
    words = np.array([5, 7, 2**32 - 1], np.uint32)
    assert checksum(words, 2) == 5 * 5 + 7 * 7 + (2**32 - 1) * 9
    assert checksum(np.array([5, 0, 0, 0, 7], np.uint8)) == 5 * 1 + 7 * 3
    data = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    whole = sum(int(w) * (2 * i + 1) for i, w in enumerate(data)) % 2**64
    assert checksum(data) == whole == (checksum(data[:1234]) + checksum(data[1234:], 1234)) % 2**64
    swapped = data.copy()
    swapped[[3, 900]] = swapped[[900, 3]]
    assert checksum(swapped) != whole

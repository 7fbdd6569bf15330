"""Eight bytes that spare a look-up its query: they never hide a commit, whatever happens to them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import ConfigError, WriteError
from modicum.memory.beacon import CACHE, NAME, Beacon
from modicum.memory.memory import Memory
from modicum.memory.types import MemoryInfo

DIM = 5


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)


def number(folder: Path) -> int:
    return int.from_bytes((folder / CACHE / NAME).read_bytes(), "little")


@pytest.fixture
def memory(tmp_path):
    """A memory of 30 items that was searched once."""
    with Memory.create(tmp_path, MemoryInfo(DIM), "exact") as opened:
        opened.add(rows(30))
        opened.lookup(rows(1), 1)
        yield opened


def test_while_nothing_changes_no_query_is_made(memory, tmp_path, monkeypatch):
    """Neither after this process was the first to search, nor after changes of another."""
    assert number(tmp_path) == memory.last_change() == 30
    with Memory.open(tmp_path, "exact") as other:
        other.add(rows(1, 1), source="b")
    assert number(tmp_path) == memory.last_change() == 31
    before = memory.lookup(rows(3), 5)
    monkeypatch.setattr(memory.store, "last_change", lambda: pytest.fail("asked the database"))
    assert np.array_equal(memory.lookup(rows(3), 5).id, before.id)


def test_every_commit_is_announced_before_it_is_made(memory, tmp_path, monkeypatch):
    """While a commit is announced nobody sees it yet; whoever looks then is told to ask the database."""
    seen = []

    def announce(self: Beacon, change: int) -> None:
        announced(self, change)
        with Memory.open(tmp_path, "exact", readonly=True) as other:
            seen.append((change, other.last_change(), other.lookup(rows(1), 1).id.shape))

    announced = Beacon.announce
    monkeypatch.setattr(Beacon, "announce", announce)
    ids = memory.add(rows(4, 1), source="b")
    memory.relabel(ids[:2], "x")
    memory.remove(ids[:1])
    memory.remove_source("b")
    assert seen == [(34, 30, (1, 1)), (36, 34, (1, 1)), (37, 36, (1, 1)), (40, 37, (1, 1))]


def test_a_reader_does_not_wait_for_a_writer(tmp_path):
    """Somebody holds the lock for writing while a memory is searched for the first time: the query tells."""
    Memory.create(tmp_path, MemoryInfo(DIM), "exact").close()
    with Memory.open(tmp_path, "exact") as memory, Memory.open(tmp_path, "exact") as other:
        other.add(rows(3))
        with other.store._connections.writing():
            assert memory.lookup(rows(3)[1:2], 1).similarity[0, 0] == 1.0
            assert number(tmp_path) != 3
        assert number(tmp_path) == 3


def stale(path: Path) -> None:
    path.write_bytes((7).to_bytes(8, "little"))


def replaced(path: Path) -> None:
    """Another file of the same name; the old one, still open elsewhere, keeps its number."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


DAMAGES = {
    "deleted": Path.unlink,
    "cut off": lambda path: os.truncate(path, 3),
    "empty": lambda path: os.truncate(path, 0),
    "another number": stale,
    "replaced": replaced,
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_happens_to_the_file_changes_are_seen(damage, when, memory, tmp_path):
    """The file is damaged before or after another connection removes the nearest item: the look-up knows."""
    nearest = memory.lookup(rows(1), 2).id[0]
    with Memory.open(tmp_path, "exact") as other:
        if when == "before":
            DAMAGES[damage](tmp_path / CACHE / NAME)
        other.remove(nearest[:1])
        if when == "after":
            DAMAGES[damage](tmp_path / CACHE / NAME)
        assert memory.lookup(rows(1), 1).id[0, 0] == nearest[1]
        other.add(rows(1), source="again")
        assert memory.lookup(rows(1), 1).similarity[0, 0] == 1.0


def test_a_writer_that_did_not_come_to_its_commit_does_no_harm(memory, tmp_path):
    """A larger number is left behind; the next commit takes up the same number and is seen."""
    Beacon(tmp_path / CACHE).announce(31)
    assert memory.lookup(rows(1), 1).id.shape == (1, 1)
    with Memory.open(tmp_path, "exact") as other:
        new = other.add(rows(1, 5), source="b")
    assert memory.lookup(rows(1, 5), 1).id[0, 0] == new[0]


def test_where_it_cannot_be_written_nothing_is_committed(memory, tmp_path):
    """A reader might rely on it: no commit without it. Where there is no file nobody relies on it."""
    (tmp_path / CACHE / NAME).unlink()
    (tmp_path / CACHE / NAME).mkdir()
    with pytest.raises(WriteError, match="nothing was changed"):
        memory.add(rows(1, 5), source="b")
    assert len(memory) == 30
    (tmp_path / CACHE / NAME).rmdir()
    memory.add(rows(1, 5), source="b")
    assert memory.lookup(rows(1, 5), 1).similarity[0, 0] == 1.0


def test_a_file_that_cannot_be_written_is_deleted_and_nobody_misled(memory, tmp_path, monkeypatch):
    """Such as one that belongs to another user: it stops no commit and hides none."""
    with Memory.open(tmp_path, "exact") as other, monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", denied)
        other.add(rows(1, 5), source="b")
    assert not (tmp_path / CACHE / NAME).exists()
    assert memory.lookup(rows(1, 5), 1).similarity[0, 0] == 1.0


def test_a_writer_that_may_not_look_commits_nothing(memory, tmp_path, monkeypatch):
    """The folder cannot be entered, by this user: whether readers rely on a file there is not known."""
    for name in ("stat", "unlink"):
        monkeypatch.setattr(os, name, denied)
    with pytest.raises(WriteError, match=r"nothing was changed\. Delete "):
        memory.add(rows(1, 5), source="b")
    monkeypatch.undo()
    assert len(memory) == 30


def denied(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_closed_memory_says_so(tmp_path):
    memory = Memory.create(tmp_path, MemoryInfo(DIM), "exact")
    memory.add(rows(3))
    memory.lookup(rows(1), 1)
    memory.close()
    with pytest.raises(ConfigError, match="closed"):
        memory.lookup(rows(1), 1)

"""Two readers and a writer at once, and two writers: each reads a state that was, in order, and loses nothing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from writing_child import DIM, State, added, apply, found, perform

from modicum.memory.store import Store
from modicum.memory.types import MemoryInfo

SEED, OPERATIONS = 11, 120


def digest(state: State) -> str:
    """The same for equal states only."""
    return hashlib.sha256(repr(sorted(state.items())).encode()).hexdigest()


def started(work: Callable[..., None], *arguments: Any) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def ended(*processes: multiprocessing.process.BaseProcess) -> list[int | None]:
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def write(folder: Path, seeds: tuple[int, ...]) -> None:
    with Store.open(folder) as store:
        for seed in seeds:
            for n in range(OPERATIONS):
                perform(store, seed, n)
    (folder / "done").touch()


def read(folder: Path, out: Path, readonly: bool) -> None:
    """Note down every state seen until the writer has ended; its parts are read one after the other."""
    with Store.open(folder, readonly=readonly) as store, open(out, "w") as file:
        ends = False
        while not ends:
            ends = (folder / "done").exists()
            with store.reading():
                first, changes = store.last_change(), store.changes(0)
                state = found(store)
                assert changes is not None
                assert (len(changes), len(state)) == (first, len(store))
                assert store.last_change() == first
            print(digest(state), file=file)


@pytest.mark.parametrize("readonly", [False, True])
def test_two_readers_and_a_writer_at_once(tmp_path: Path, readonly: bool) -> None:
    folder = tmp_path / "memory"
    Store.create(folder, MemoryInfo(DIM)).close()
    readers = [started(read, folder, tmp_path / f"reader{i}", readonly) for i in range(2)]
    writer = started(write, folder, (SEED,))
    assert ended(writer, *readers) == [0, 0, 0]
    state: State = {}
    order = {digest(state): -1}
    for n in range(OPERATIONS):
        apply(state, SEED, n)
        order[digest(state)] = n  # the last of those that are equal, where an operation changed nothing
    for i in range(2):
        seen = [order[line] for line in (tmp_path / f"reader{i}").read_text().split()]
        assert seen == sorted(seen)
        assert seen[-1] == OPERATIONS - 1
        assert len(set(seen)) > 3  # it read while the writer wrote
    with Store.open(folder) as store:
        assert found(store) == state
        assert store.check() == []


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    Store.create(folder, MemoryInfo(DIM)).close()

    def change(seed: int) -> None:
        with Store.open(folder) as store:
            for n in range(OPERATIONS):
                store.add(added(seed, n))
                if n % 3 == 0:
                    store.remove(added(seed, n).ids[::2])

    assert ended(*[started(change, seed) for seed in (1, 2)]) == [0, 0]
    batches = [(added(seed, n), n % 3 == 0) for seed in (1, 2) for n in range(OPERATIONS)]
    with Store.open(folder) as store:
        assert store.check() == []
        assert len(store) == sum(len(b.ids) - (len(b.ids[::2]) if fewer else 0) for b, fewer in batches)
        for batch, fewer in batches:
            rest = slice(1, None, 2) if fewer else slice(None)
            assert store.vectors(batch.ids[rest]).tobytes() == batch.vectors[rest].tobytes()
        changes = store.changes(0)
        assert changes is not None
        assert [change.number for change in changes] == list(range(1, store.last_change() + 1))
    assert sorted(os.listdir(folder)) == ["memory.sqlite3"]

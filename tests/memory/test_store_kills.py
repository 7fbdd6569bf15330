"""Writers killed with SIGKILL at random moments: what they acknowledged is there, to the bit, and nothing is torn.

100 kills in `slow`, 10,000 in `soak` (MODICUM_SOAK_SECONDS and MODICUM_SOAK_SEED: fewer, and others). The child is forked,
which needs no second to import numpy again. After each kill the memory is opened as any program opens it.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from writing_child import DIM, State, apply, found, perform, write

from modicum.memory.store import Store
from modicum.memory.store_schema import DATABASE
from modicum.memory.types import MemoryInfo


def run_and_kill(work: Callable[[], None], delay: float) -> list[int]:
    """Start a process, kill it `delay` seconds after its first sign of life; what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writer, 1)
            work()
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        if delay > 0.02:  # else perhaps before it has done anything
            select.select([pipe], [], [], 60)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        lines = pipe.read().decode().splitlines()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return [int(line) for line in lines]


def kill_often(tmp_path: Path, kills: int, seed: int, seconds: float = float("inf")) -> dict[str, int]:
    """Kill writers of one memory after another, and compare all they left with what it must be after every kill.

    A memory is left after 40 kills, for it grows. Counts: kills, operations acknowledged, kills between a commit and its
    acknowledgement, kills that left a log to be read, acknowledged operations lost, states that fit no number of operations.
    """
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("kills", "acknowledged", "committed", "logs", "lost", "torn", "unsound"), 0)
    end = time.monotonic() + seconds
    while counts["kills"] < kills and time.monotonic() < end:
        folder = tmp_path / f"memory{counts['kills']}"
        state: State = {}
        first = 0
        for _ in range(min(40, kills - counts["kills"])):
            delay = float(rng.choice([rng.uniform(0, 0.02), rng.uniform(0, 0.1)]))
            acknowledged = run_and_kill(partial(write, folder, seed, first), delay)
            assert acknowledged == list(range(first, first + len(acknowledged)))
            counts["kills"] += 1
            counts["acknowledged"] += len(acknowledged)
            counts["logs"] += os.path.exists(folder / "memory.sqlite3-wal")
            before = dict(state)
            for n in acknowledged:
                apply(state, seed, n)
            first += len(acknowledged)
            if not acknowledged and not first and not (folder / DATABASE).exists():
                continue  # killed before the memory was made
            with Store.open(folder) as store:
                there = found(store)
                counts["unsound"] += store.check() != []
            if there != state:
                lost = dict(state)
                apply(state, seed, first)  # committed, and killed before it could say so
                first += 1
                counts["committed"] += there == state
                if there != state:
                    counts["lost" if there != lost and _is_earlier(there, before, seed, first) else "torn"] += 1
                    break
    return counts


def _is_earlier(there: State, state: State, seed: int, first: int) -> bool:
    for n in range(max(0, first - 1000), first):
        if there == state:
            return True
        apply(state, seed, n)
    return False


def assert_nothing_lost(counts: dict[str, int], kills: int) -> None:
    assert (counts["lost"], counts["torn"], counts["unsound"]) == (0, 0, 0), counts
    assert counts["kills"] >= kills
    assert counts["acknowledged"] > counts["kills"] // 4
    assert counts["logs"] > counts["kills"] // 4


def test_ten_random_kills_lose_nothing(tmp_path: Path) -> None:
    assert_nothing_lost(kill_often(tmp_path, 10, seed=0), 10)


def copy_for_ever(folder: Path) -> None:
    """Snapshots, one after the other, and a line before each."""
    store = Store.open(folder)
    for n in itertools.count():
        os.write(1, b"%d\n" % n)
        store.snapshot(folder.parent / f"copy{os.getpid()}.{n}")


def test_a_snapshot_that_is_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    folder = tmp_path / "memory"
    state: State = {}
    (tmp_path / "memory" / "encoder").mkdir(parents=True)
    (folder / "encoder" / "weights").write_bytes(rng.bytes(20_000_000))
    with Store.create(folder, MemoryInfo(DIM)) as store:
        for n in range(30):
            perform(store, 3, n)
            apply(state, 3, n)
    for _ in range(10):
        assert run_and_kill(lambda: copy_for_ever(folder), float(rng.uniform(0.02, 0.3)))
    copies = sorted(tmp_path.glob("copy*"))
    assert copies
    for copy in copies:
        assert (copy / "encoder" / "weights").read_bytes() == (folder / "encoder" / "weights").read_bytes()
        with Store.open(copy) as store:
            assert found(store) == state
            assert store.check() == []


@pytest.mark.slow
def test_a_hundred_random_kills_lose_nothing(tmp_path: Path) -> None:
    assert_nothing_lost(kill_often(tmp_path, 100, seed=1), 100)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_ten_thousand_random_kills_lose_nothing(tmp_path: Path) -> None:
    seconds = float(os.environ.get("MODICUM_SOAK_SECONDS", "inf"))
    counts = kill_often(tmp_path, 10_000, seed=int(os.environ.get("MODICUM_SOAK_SEED", "2")), seconds=seconds)
    print(counts)
    assert_nothing_lost(counts, 10_000 if seconds == float("inf") else 1)

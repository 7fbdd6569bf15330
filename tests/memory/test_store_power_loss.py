"""A power cut at any moment loses nothing that was acknowledged and tears nothing.

One run of the writer is recorded; then the disk is left as a power cut after any of its calls could leave it, and opened.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from power_loss import SYNC, WRITE, Disk, Kept, compile_recorder, records
from writing_child import DIM, State, apply, found

from modicum.memory.store import Store
from modicum.memory.store_schema import DATABASE

HERE = Path(__file__).parent
SEED, OPERATIONS = 5, 60


WRITE_ALL = f"writing_child.write(folder, {SEED}, 0, {OPERATIONS})"
CREATE_ONLY = (
    "writing_child.Store.create(folder, writing_child.MemoryInfo(writing_child.DIM))\nos.write(1, b'0')\nos._exit(0)"
)


def record(tmp_path: Path, work: str = WRITE_ALL, operations: int = OPERATIONS) -> Path:
    """The record of a writer, by default of 60 operations; skips where it cannot be made."""
    if not sys.platform.startswith("linux"):
        pytest.skip("calls are recorded through LD_PRELOAD, which is Linux")
    library = compile_recorder(tmp_path)
    if library is None:
        pytest.skip("no C compiler (cc) to build the recorder of writes")
    folder, written = tmp_path / "memory", tmp_path / "record"
    folder.mkdir()
    environment = {"LD_PRELOAD": str(library), "MODICUM_RECORD_BELOW": str(folder), "MODICUM_RECORD_TO": str(written)}
    code = f"import os, sys\nsys.path.insert(0, {str(HERE)!r})\nfrom pathlib import Path\nimport writing_child\n"
    code += f"folder = Path({str(folder)!r})\n{work}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.split() == [str(n) for n in range(operations)]
    return written


def states() -> list[State]:
    """What the memory holds after 0, 1, ... operations."""
    held: list[State] = [{}]
    for n in range(OPERATIONS):
        held.append(dict(held[-1]))
        apply(held[-1], SEED, n)
    return held


def cut_often(tmp_path: Path, written: Path, cuts: int, seed: int) -> dict[str, int]:
    """Cut the power `cuts` times, in rising order of time, and count what is found wrong in what is left."""
    rng = np.random.default_rng(seed)
    calls = list(records(written))
    held, disk = states(), Disk()
    counts = dict.fromkeys(("cuts", "lost", "torn", "unsound", "unreadable", "before creation", "in flight"), 0)
    moments = np.sort(rng.integers(0, len(calls) + 1, cuts)).tolist()
    done = 0
    for number, moment in enumerate(moments):
        for call in calls[done:moment]:
            disk.apply(call)
        done = moment
        keep: Kept = rng.choice(["synchronised", "all", "some", "some", "some"])
        left = tmp_path / f"left{number}"
        disk.left(keep, rng, str(tmp_path / "memory"), left)
        counts["cuts"] += 1
        count_what_is_left(counts, left, held, len(disk.acknowledged))
    return counts


def count_what_is_left(counts: dict[str, int], left: Path, held: list[State], acknowledged: int) -> None:
    if not (left / DATABASE).exists() and not acknowledged:
        counts["before creation"] += 1
        return
    try:
        with Store.open(left) as store:
            there = found(store)
            counts["unsound"] += store.check() != []
    except Exception:
        counts["unreadable"] += 1
        return
    if there in held[acknowledged : acknowledged + 2]:
        counts["in flight"] += there != held[acknowledged]
    else:
        counts["lost" if there in held[:acknowledged] else "torn"] += 1


def assert_nothing_lost(counts: dict[str, int]) -> None:
    assert {name: counts[name] for name in ("lost", "torn", "unsound", "unreadable")} == {
        "lost": 0, "torn": 0, "unsound": 0, "unreadable": 0
    }  # fmt: skip


def test_no_power_cut_loses_anything(tmp_path: Path) -> None:
    written = record(tmp_path)
    calls = list(records(written))
    assert sum(call.op == SYNC for call in calls) > OPERATIONS
    assert any(call.op == WRITE and call.offset == 0 and call.data[:6] == b"SQLite" for call in calls[len(calls) // 2 :]), (
        "no checkpoint was recorded"
    )
    counts = cut_often(tmp_path, written, 120, seed=1)
    assert_nothing_lost(counts)
    assert counts["in flight"] > 0  # some cuts fell between a commit and its acknowledgement


def test_no_power_cut_loses_a_memory_that_was_made(tmp_path: Path) -> None:
    written = record(tmp_path, CREATE_ONLY, operations=1)
    rng = np.random.default_rng(0)
    there = []
    for cut in range(1, len(list(records(written))) + 1):
        for number, keep in enumerate(("synchronised", "some", "some")):
            disk, left = Disk(), tmp_path / f"left{cut}.{number}"
            for call in list(records(written))[:cut]:
                disk.apply(call)
            disk.left(keep, rng, str(tmp_path / "memory"), left)
            if (left / DATABASE).exists():
                with Store.open(left) as store:
                    assert (store.info.dim, len(store), store.check()) == (DIM, 0, [])
            there.append(((left / DATABASE).exists(), bool(disk.acknowledged)))
    assert (False, True) not in there
    assert {(False, False), (True, True)} <= set(there)


@pytest.mark.slow
def test_no_power_cut_of_a_thousand_loses_anything(tmp_path: Path) -> None:
    assert_nothing_lost(cut_often(tmp_path, record(tmp_path), 1000, seed=2))


CARELESS: dict[str, Any] = {
    "never": ("OFF", ("lost", "torn", "unsound", "unreadable")),
    "at checkpoints only": ("NORMAL", ("lost",)),
}


@pytest.mark.parametrize("when", CARELESS)
def test_a_store_that_synchronises_less_would_be_found_out(tmp_path: Path, when: str) -> None:
    """The same with SQLite told to synchronise less: acknowledged changes are lost, so the cuts above can find it."""
    setting, faults = CARELESS[when]
    work = f"""
from modicum.memory import store_connections
connect = store_connections.connect
def careless(path, **options):
    connection = connect(path, **options)
    connection.execute("PRAGMA synchronous = {setting}")
    return connection
store_connections.connect = careless
{WRITE_ALL}"""
    counts = cut_often(tmp_path, record(tmp_path, work), 60, seed=3)
    assert sum(counts[fault] for fault in faults) > 5, counts

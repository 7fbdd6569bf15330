"""`modicum memory add --plain` killed with SIGKILL at random moments. 5 kills by default, 100 in `slow`, 10,000 in `soak`.

After every kill: each acknowledged item is there, each item that is there is whole (label, name, digest, embedding to the
bit), the database is sound, and it was opened without any repair. The same command then goes on until all is added.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from modicum.cli import main
from modicum.data.pictures import open_pictures
from modicum.memory.pixels import embed_pixels
from modicum.memory.store import Store
from modicum.memory.types import item_id
from modicum.runtime import philox

PICTURES = 60
Whole = dict[int, tuple[str, str, str, bytes]]


class Seen(NamedTuple):
    """How many kills there were, at how many items, and what was wrong after them."""

    kills: int
    sizes: list[int]
    lost: list[int]
    torn: list[int]


def write_pictures(folder: Path) -> Whole:
    """PICTURES pictures of noise in two classes, and what each has to be in a memory, by id."""
    rng = philox(0, "pictures", 0)
    for number in range(PICTURES):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    pictures = open_pictures(folder, size=32, channels=3)
    rows = embed_pixels(pictures.pixels)
    return {
        item_id("pictures", name): (pictures.classes[pictures.labels[i]], name, pictures.digests[i], rows[i].tobytes())
        for i, name in enumerate(pictures.ids)
    }


def add(store: Path, folder: Path, out: int) -> None:
    """The command in a child: acknowledgements go to the file descriptor `out`."""
    os.dup2(out, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    code = main(["memory", "add", str(store), str(folder), "--plain", "--batch", "3"])
    sys.stdout.flush()
    os._exit(code)


def run_for(store: Path, folder: Path, seconds: float | None) -> tuple[set[int], bool]:
    """Run the command, killed after so many seconds (None: never): (ids it acknowledged, whether it was killed)."""
    read, write = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=add, args=(store, folder, write))
    child.start()
    os.close(write)
    child.join(seconds)
    killed = child.is_alive()
    if killed:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    with os.fdopen(read) as lines:
        told = lines.read()
    assert killed or child.exitcode == 0
    whole = told[: told.rfind("\n") + 1]
    return {int(line.split()[1]) for line in whole.splitlines()}, killed


def content(store: Path) -> Whole:
    with Store.open(store) as opened:
        assert opened.check() == []
        items = list(opened.items())
        rows = opened.vectors([item.id for item in items])
    return {item.id: (item.label or "", item.name, item.digest, rows[i].tobytes()) for i, item in enumerate(items)}


def kill(work: Path, kills: int, seed: int) -> Seen:
    """Kill the command until that many kills; a memory that is full is begun anew."""
    expected = write_pictures(work / "pictures")
    rng, number, done = philox(seed, "kills", 0), 0, 0
    seen = Seen(kills, [], [], [])
    duration = 0.0
    while done < kills:
        store = work / f"memory{number}"
        assert main(["memory", "create", str(store), "--encoder", "pixels"]) == 0
        acknowledged: set[int] = set()
        start = time.monotonic()  # the first runs to its end and tells how long that takes
        while True:
            told, killed = run_for(store, work / "pictures", float(rng.uniform(0, duration)) if number else None)
            acknowledged |= told
            found = content(store)
            seen.lost.extend(acknowledged - set(found))
            seen.torn.extend(id_ for id_, value in found.items() if value != expected[id_])
            if not killed:
                break
            done += 1
            seen.sizes.append(len(found))
        duration = duration or time.monotonic() - start
        assert found == expected
        number += 1
    return seen


def check(seen: Seen, distinct: int) -> None:
    assert len(seen.sizes) >= seen.kills
    assert seen.lost == []
    assert seen.torn == []
    assert len({size for size in seen.sizes if 0 < size < PICTURES}) >= distinct  # kills did meet memories half filled


def test_five_random_kills_lose_nothing(tmp_path: Path) -> None:
    check(kill(tmp_path, 5, seed=0), 1)


@pytest.mark.slow
def test_a_hundred_random_kills_lose_nothing(tmp_path: Path) -> None:
    check(kill(tmp_path, 100, seed=1), 5)


@pytest.mark.soak
def test_ten_thousand_random_kills_lose_nothing(tmp_path: Path) -> None:
    check(kill(tmp_path, 10_000, seed=2), 15)

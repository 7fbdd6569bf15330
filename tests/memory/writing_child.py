"""A process that changes a memory until it is killed, and says on its standard output what was acknowledged.

    python writing_child.py STORE SEED FIRST [LAST]

Operation number n follows from (SEED, n) alone (`operation`), so that a reader knows what must be there: one line `n` is
written, unbuffered, after the operation n has returned. `expected` gives the memory after the operations before n.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modicum.memory import store_connections, store_rows
from modicum.memory.store import Store
from modicum.memory.store_schema import DATABASE
from modicum.memory.types import Batch, MemoryInfo, item_id

DIM = 48


class Operation(NamedTuple):
    """What is done: "add" a batch, or "remove", "relabel" those ids, or "source": remove all of a source."""

    kind: str
    batch: Batch | None = None
    ids: tuple[int, ...] = ()
    source: str = ""


def added(seed: int, n: int) -> Batch:
    """The batch that operation n adds, if it adds: 1 to 60 items of one of five sources, as standardised pixels are."""
    rng = np.random.default_rng([seed, n])
    size = int(rng.integers(1, 61))
    pixels = rng.integers(0, 256, (size, DIM)).astype(np.float64)
    vectors = ((pixels - pixels.mean(1, keepdims=True)) / pixels.std(1, keepdims=True)).astype(np.float32)
    source, names = f"source{n % 5}", [f"{seed}.{n}.{i}" for i in range(size)]
    ids = np.array([item_id(source, name) for name in names], dtype=np.int64)
    labels = [f"label{value}" for value in rng.integers(0, 7, size)]
    return Batch(ids, vectors, source, names, labels, [None] * size, [f"{n}"] * size, [float(n)] * size)


def operation(seed: int, n: int) -> Operation:
    """Operation n: two of three add; the others remove or relabel a third of what one of the last ten operations added."""
    rng = np.random.default_rng([seed, n, 1])
    draw = rng.random()
    if draw < 0.67 or n < 2:
        return Operation("add", added(seed, n))
    if draw > 0.985:
        return Operation("source", source=f"source{int(rng.integers(5))}")
    before = added(seed, max(0, n - int(rng.integers(1, 11))))
    ids = before.ids[rng.random(len(before.ids)) < 0.3]
    return Operation("remove" if draw < 0.85 else "relabel", ids=tuple(ids.tolist()))


State = dict[int, tuple[Any, ...]]
"""id -> (source, name, label, text, time, digest, bytes of the embedding)."""


def apply(state: State, seed: int, n: int) -> None:
    """Operation n on a plain dictionary; ids that are gone are left out, as the child does."""
    op = operation(seed, n)
    if op.batch is not None:
        b = op.batch
        assert b.times is not None
        for i, id_ in enumerate(b.ids.tolist()):
            state[id_] = (b.source, b.names[i], b.labels[i], b.texts[i], b.times[i], b.digests[i], b.vectors[i].tobytes())
    for id_ in op.ids:
        if id_ in state and op.kind == "remove":
            del state[id_]
        elif id_ in state:
            state[id_] = (*state[id_][:2], f"new{n}", f"text{n}", *state[id_][4:])
    if op.kind == "source":
        for id_ in [id_ for id_, item in state.items() if item[0] == op.source]:
            del state[id_]


def found(store: Store) -> State:
    """The same of a store, all of it."""
    vectors = {id_: row.tobytes() for ids, rows in store.all_vectors() for id_, row in zip(ids.tolist(), rows, strict=True)}
    items = {item.id: item for item in store.items()}
    return {id_: (*items.get(id_, (None,) * 7)[1:7], vectors.get(id_)) for id_ in items | vectors}


def perform(store: Store, seed: int, n: int) -> None:
    """Operation n on a store."""
    op = operation(seed, n)
    if op.batch is not None:
        store.add(op.batch)
    elif op.kind == "source":
        if op.source in store.counts()[0]:
            store.remove_source(op.source)
    else:
        known = {item.id for item in store.items()} & set(op.ids)
        if op.kind == "remove":
            store.remove(sorted(known))
        else:
            store.relabel(sorted(known), f"new{n}", f"text{n}")


def write(folder: Path, seed: int, first: int, last: int = sys.maxsize) -> None:
    """Make the memory where there is none, perform the operations first, ..., last - 1, and acknowledge each.

    Logs and tables are kept small, so that kills fall into checkpoints and into the settling of ids too.
    """
    store_connections.LOG_SIZE, store_rows.RECENT = 400_000, 500
    store = Store.open(folder) if (folder / DATABASE).exists() else Store.create(folder, MemoryInfo(DIM))
    for n in range(first, last):
        perform(store, seed, n)
        os.write(1, b"%d\n" % n)
    store.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))

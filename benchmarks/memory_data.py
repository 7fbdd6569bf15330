"""Clustered rows for the benchmarks of the memory, memories made of them, and two sides timed in turn on them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import quartiles

DIM = 768
Pair = dict[str, Any]


def parts(n: int, dim: int = DIM, seed: int = 0, size: int = 1000) -> Iterator[np.ndarray]:
    """Clustered rows, `size` at a time."""
    centres = np.random.default_rng(1_000_003).standard_normal((1000, dim), dtype=np.float32)
    generator = np.random.default_rng(seed)
    for first in range(0, n, size):
        rows = min(size, n - first)
        noise = generator.standard_normal((rows, dim), dtype=np.float32)
        yield centres[generator.integers(0, 1000, rows)] + noise


def queries(n: int, seed: int = 10**6) -> np.ndarray:
    """Rows of the same clusters that the memory does not hold."""
    return np.concatenate(list(parts(n, seed=seed)))


def memory_of(folder: Path, n: int, kind: str, dim: int = DIM) -> Any:
    """The memory of n items in the folder, made where it is missing, with its file and index up to date."""
    from modicum.memory.opening import create_memory, open_memory
    from modicum.memory.types import MemoryInfo

    place = folder / f"{n}x{dim}"
    if not place.exists():
        partial = folder / f".{n}x{dim}"
        shutil.rmtree(partial, ignore_errors=True)
        with create_memory(str(partial), MemoryInfo(dim)) as memory:
            done = 0
            for rows in parts(n, dim):
                memory.add(rows, ["label"] * len(rows), names=[str(done + i) for i in range(len(rows))])
                done += len(rows)
        partial.rename(place)
    memory = open_memory(str(place), index=kind)
    memory.lookup(queries(1)[:, :dim], 1)
    if kind != "exact" and memory.stats().pending:
        memory.settle()
    return memory


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    """Share of the expected ids that were found."""
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))


def turns(ours: Callable[[np.ndarray], Any], peer: Callable[[np.ndarray], Any], batch: int, repeats: int) -> Pair:
    """Times of both sides and their ratio, in turn and with the order changing, after as many rounds of warming up."""
    asked = queries(batch * repeats)
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for round_ in range(2):
        for i in range(repeats):
            query = np.ascontiguousarray(asked[i * batch : (i + 1) * batch])
            sides = [("ours", ours), ("peer", peer)]
            for name, call in sides if i % 2 else sides[::-1]:
                start = time.perf_counter()
                call(query)
                if round_:
                    times[name].append(time.perf_counter() - start)
    ratio = [a / b for a, b in zip(times["ours"], times["peer"], strict=True)]
    return {"modicum": quartiles(times["ours"]), "faiss": quartiles(times["peer"]), "ratio": quartiles(ratio)}

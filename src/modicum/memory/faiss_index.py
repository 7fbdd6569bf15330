"""Approximate indexes over the first rows of a vector file: FAISS' HNSW, plain or with 8-bit vectors, and IVF.

Rows are numbered as in the file; removed ones are passed over by a selector, which costs nothing while there are none. The
engine gives candidates only: `modicum.memory.search` scores them again and orders them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from modicum.memory.checksums import MASK, checksum
from modicum.memory.ranking import prepared
from modicum.memory.segments import PART, Segment
from modicum.memory.vectors import CacheDamaged

if TYPE_CHECKING:
    from modicum.memory.segments import Flags, Queries
    from modicum.memory.types import Ints, Rows

Approximate = Literal["hnsw", "hnsw-sq8", "ivf"]
KINDS: tuple[Approximate, ...] = get_args(Approximate)
LINKS = 32  # M of HNSW
CONSTRUCTION = 40  # efConstruction, FAISS' own default
BREADTH = 160  # efSearch at least; see benchmarks/memory.py
TRAINING = 100_000  # rows at most that quantizers are fitted to
_PIECE = 1 << 20  # bytes, which stay in the processor's cache


@dataclass(frozen=True)
class FaissIndex:
    """An engine over rows 0 .. rows - 1 of one generation of a vector file."""

    kind: Approximate
    generation: str
    rows: int
    engine: Any
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def search(self, queries: Queries, k: int, base: Segment) -> Ints:
        """Candidate rows (Q, m), m >= k where there are as many, -1 for none; rows that base has removed are left out."""
        wanted = min(self.rows, 2 * k if self.kind == "hnsw-sq8" else k)
        selector = None if base.live == len(base.ids) else self._live(base.alive)
        _, found = self.engine.search(queries.multiplied, wanted, params=self._parameters(wanted, selector))
        if len(base.odd):
            odd = base.odd[base.odd < self.rows]
            found = np.concatenate([np.where(np.isin(found, odd), -1, found), np.tile(odd, (len(found), 1))], axis=1)
        return np.ascontiguousarray(found)

    def _parameters(self, wanted: int, selector: Any) -> Any:
        """FAISS' parameters of a search; those without a selector are kept."""
        if selector is None and (known := self._kept.get(wanted)) is not None:
            return known
        faiss, more = _faiss(), {} if selector is None else {"sel": selector}
        if self.kind == "ivf":
            made = faiss.SearchParametersIVF(nprobe=probes(self.engine.nlist), **more)
        else:
            made = faiss.SearchParametersHNSW(efSearch=max(BREADTH, 2 * wanted), **more)
        if selector is None:
            self._kept[wanted] = made
        return made

    def _live(self, alive: Flags) -> Any:
        """FAISS' selector of the rows that are not removed; kept for the next search."""
        known = self._kept.get("live")
        if known is None or known[0] is not alive:
            bits = np.packbits(alive[: self.rows], bitorder="little")
            selector = _faiss().IDSelectorBitmap(bits)
            selector.bits = bits  # FAISS keeps the address only
            self._kept["live"] = known = alive, selector
        return known[1]


def probes(lists: int) -> int:
    """Lists that IVF searches: enough for a recall@30 of .95 on clustered vectors; see benchmarks/memory.py."""
    return max(8, lists // 16)


def build(kind: Approximate, base: Segment, rows: int, step: Callable[[int], None], start: Path | None = None) -> Any:
    """An engine over the first rows of base, held in memory. step(rows so far) is called between parts and may raise.

    start: a file with an engine over fewer of these rows, to which the others are added.
    """
    engine = _empty(kind, base, rows) if start is None else _faiss().read_index(str(start))
    some = -(-PART // 8)  # rows between two steps; HNSW takes a second for a thousand or two
    for first in range(engine.ntotal, rows, some):
        step(first)
        engine.add(_multiplied(base, np.arange(first, min(rows, first + some))))
    return engine


def _empty(kind: Approximate, base: Segment, rows: int) -> Any:
    faiss = _faiss()
    lists = max(1, min(rows // 39, round(4 * rows**0.5)))
    description = {"hnsw": f"HNSW{LINKS},Flat", "hnsw-sq8": f"HNSW{LINKS},SQ8", "ivf": f"IVF{lists},Flat"}[kind]
    metric = faiss.METRIC_INNER_PRODUCT if base.metric == "cosine" else faiss.METRIC_L2
    engine = faiss.index_factory(base.vectors.shape[1], description, metric)
    if kind == "ivf":
        engine.cp.seed, engine.cp.max_points_per_centroid = 1, max(39, TRAINING // lists)
    else:
        engine.hnsw.efConstruction = CONSTRUCTION
    if not engine.is_trained:
        chosen = np.random.default_rng(0).permutation(rows)[:TRAINING]
        engine.train(_multiplied(base, np.sort(chosen)))
    return engine


def _multiplied(base: Segment, rows: Ints) -> Rows:
    """Rows of base as they are compared: of unit length under cosine."""
    base.check_rows(rows)
    queries = prepared(np.ascontiguousarray(base.vectors[rows]), base.metric)
    if queries is None:
        raise CacheDamaged("rows that are not finite")
    return queries.multiplied


def save(engine: Any, path: Path) -> None:
    """Write an engine; `OSError` or `RuntimeError` where that fails."""
    _faiss().write_index(engine, str(path))


def mapped(path: Path) -> Any:
    """An engine on a mapped file: there at once, in memory as far as it is used; it must never be added to."""
    return _faiss().read_index(str(path), _faiss().IO_FLAG_MMAP_IFC)


def file_checksum(path: Path) -> int:
    """`checksum` of a file; `OSError` where it cannot be read."""
    total = first = 0
    piece = np.empty(_PIECE, np.uint8)
    with open(path, "rb") as file:
        while count := file.readinto(piece.data):
            total += checksum(piece[:count], first)
            first += count // 4
    return total & MASK


def leave_cores() -> None:
    """Let FAISS use half of its threads for calls from this thread, so that searches go on beside them."""
    _faiss().omp_set_num_threads(max(1, _faiss().omp_get_max_threads() // 2))


def _faiss() -> Any:
    """FAISS, when it is needed: it takes 0.2 s to load."""
    return importlib.import_module("faiss")

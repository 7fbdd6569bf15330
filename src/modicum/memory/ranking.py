"""Similarities of candidates in the fixed order of additions, and the order of results: similarity, then id.

`csrc/similarity.c` does it where a compiler was there at installation; the numpy lines here give the same bits.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import numpy as np

from modicum.kernels import library
from modicum.memory.segments import NO_ID, Queries, Segment
from modicum.similarity import row_dots, squared_lengths

if TYPE_CHECKING:
    from modicum.memory.segments import Found
    from modicum.memory.types import Ints, Rows, Values

_CANDIDATE = 24  # bytes of one candidate in the kernel


def prepared(query: Rows, metric: str) -> Queries | None:
    """Contiguous float32 queries (Q, D) with what the search needs of them; None where one holds NaN or infinity."""
    compiled = _library()
    if compiled is None:
        squares = squared_lengths(query)
        with np.errstate(invalid="ignore"):
            inverse = 1.0 / np.sqrt(np.where(squares > 0, squares, np.inf))
            unit = (query * inverse[:, None]).astype(np.float32)
        if not np.isfinite(squares).all():
            return None
        return Queries(query, unit if metric == "cosine" else query, squares)
    count, columns = query.shape
    room = np.empty(2 * count + count * columns, np.float32)  # finding out where an array lies takes longer than filling it
    place, first = room.ctypes.data, query.ctypes.data
    if compiled.modicum_prepare(first, count, columns, place, place + 8 * count):
        return None
    squares, unit = room[: 2 * count].view(np.float64), room[2 * count :].reshape(count, columns)
    found = Queries(query, unit if metric == "cosine" else query, squares)
    found.__dict__["places"] = first, place
    return found


def ranked(segment: Segment, queries: Queries, rows: Ints, k: int, start: Ints | None = None) -> Found:
    """Similarities, ids and rows (Q, k) of the best of each query's candidates: -inf, `NO_ID` and -1 where they are fewer.

    rows (Q, m), contiguous int64, -1 for none; or one after the other, those of query q from start[q] to start[q + 1] - 1.
    """
    segment.check_rows(rows)
    compiled, total = _library(), len(queries.raw)
    width = rows.shape[1] if start is None else int((start[1:] - start[:-1]).max(initial=0))
    if compiled is None:
        start = np.arange(total + 1) * width if start is None else start
        return _ranked(segment, queries, rows.reshape(-1), k, start)
    (own, squares_of), (vectors, squares, ids) = queries.places, segment.places
    found = np.empty((3, total, k), np.int64)
    scratch = np.empty(_CANDIDATE * width, np.uint8)
    place, size = found.ctypes.data, 8 * total * k
    compiled.modicum_rank(
        own, squares_of, total, vectors, queries.raw.shape[1], None if start is None else start.ctypes.data, width,
        rows.ctypes.data, squares, ids, segment.metric != "cosine", k, scratch.ctypes.data, place, place + size,
        place + 2 * size,
    )  # fmt: skip
    return found[0].view(np.float64), found[1], found[2]


def _ranked(segment: Segment, queries: Queries, rows: Ints, k: int, start: Ints) -> Found:
    given = rows >= 0
    start = np.concatenate([[0], np.cumsum(given)])[start]
    rows = rows[given]
    values = similarities(segment, queries, start, rows)
    total, sizes = len(start) - 1, np.diff(start)
    width = max(k, int(sizes.max(initial=0)))
    similarity = np.full((total, width), -np.inf)
    ids, places = np.full((total, width), NO_ID), np.full((total, width), -1)
    taken = np.arange(width) < sizes[:, None]
    similarity[taken], ids[taken], places[taken] = values, segment.ids[rows], rows
    return best(similarity, ids, places, k)


def similarities(segment: Segment, queries: Queries, start: Ints, rows: Ints) -> Values:
    """Similarities in the fixed order of chosen rows: entry i is of query q, start[q] <= i < start[q + 1], and rows[i].

    Cosine in [-1, 1], 0 for zeros; under l2 2 q.x - (|q|^2 + |x|^2), at most 0.
    """
    dots = row_dots(queries.raw, segment.vectors, start, rows)
    own, squares = np.repeat(queries.squares, np.diff(start)), segment.squares[rows]
    if segment.metric == "cosine":
        norms = np.sqrt(own) * np.sqrt(squares)
        found: Values = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0).clip(-1.0, 1.0)
        return found
    found = np.minimum(2.0 * dots - (own + squares), 0.0)
    return found


def best(similarity: Values, ids: Ints, rows: Ints, k: int) -> Found:
    """The k best of (Q, m), m >= k, along the last axis: similarity descending, ties by id."""
    order = np.lexsort((ids, -similarity), axis=-1)[:, :k]
    return tuple(np.take_along_axis(a, order, -1) for a in (similarity, ids, rows))  # type: ignore[return-value]


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernels with the type of the one used here, or None where there are none."""
    found = library()
    if found is not None:
        place, number = ctypes.c_void_p, ctypes.c_int64
        found.modicum_prepare.argtypes = [place, number, number, place, place]
        found.modicum_prepare.restype = number
        found.modicum_rank.argtypes = [place, place, number, place, number, place, number, place, place, place, number,
                                       number, place, place, place, place]  # fmt: skip
        found.modicum_rank.restype = None
    return found

"""Exact search: the k most similar of n rows, the same to the bit whatever the batch, the position or the machine.

float32 scores of all rows come from a matrix product, whose rounding depends on the shape of the batch. With u = 2^-24 and
unit vectors such a score is off by at most e = g u / (1 - g u), g = D + 8, in whatever order D products were added (Higham,
Accuracy and Stability of Numerical Algorithms, 3.1; 8: rounding of the unit query, of the row's inverse length, of their
product). So the k-th best similarity is at least the k-th best score less e, and every row that has it scores at least the
k-th best score less 2 e. Those rows, k and a few more, are scored again in the fixed order of `modicum.similarity` and
ordered by similarity, then id. Under l2 the key is 2 q.x - |x|^2 and e is multiplied by 2 |q| m + m^2, m the longest row.

Rows shorter than 2^-40 or longer than 2^40, where float32 could underflow or overflow, always are candidates; to a query for
which that holds under l2 all rows are compared in the fixed order.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.kernels import library
from modicum.memory.ranking import ranked, similarities
from modicum.memory.segments import LONG, PART, Queries, Segment

if TYPE_CHECKING:
    from modicum.memory.segments import Found
    from modicum.memory.types import Ints, Rows

FEW = 4  # queries for which reading the rows takes longer than multiplying
QUERIES = 512  # at a time
SCORES = 1 << 21  # float32 scores at a time (8 MB)


def nearest(segment: Segment, queries: Queries, k: int) -> Found:
    """Similarities, ids and rows (Q, k) of the k most similar rows, ties by id; -inf, `NO_ID` and -1 where there are fewer.

    Q queries at a time are cut to `QUERIES`. Memory: 8 MB of scores, and k and some hundred candidates a query.
    """
    starts = range(0, len(queries.raw), QUERIES)
    found = [_nearest(segment, queries.some(slice(first, first + QUERIES)), k) for first in starts]
    if not found:
        return np.zeros((0, k)), np.zeros((0, k), np.int64), np.zeros((0, k), np.int64)
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]


def _nearest(segment: Segment, queries: Queries, k: int) -> Found:
    total = len(queries.raw)
    count, chosen = _candidates(segment, queries, k)
    for q in np.flatnonzero(np.array(count) < 0).tolist():
        chosen[q] = _alone(segment, queries, q, k)
    if len(segment.odd):
        chosen = [np.union1d(rows, segment.odd) for rows in chosen]
    start = np.zeros(total + 1, np.int64)
    np.cumsum([len(rows) for rows in chosen], out=start[1:])
    return ranked(segment, queries, np.concatenate(chosen), k, start)


def _alone(segment: Segment, queries: Queries, q: int, k: int) -> Ints:
    """The k best rows of one query from similarities in the fixed order of all rows: where too many are candidates."""
    kept = np.zeros(0, np.int64)
    values = np.zeros(0)
    one = queries.some(slice(q, q + 1))
    for first in range(0, len(segment.ids), PART):
        rows = first + np.flatnonzero(segment.alive[first : first + PART])
        segment.check_rows(rows)
        rows = np.concatenate([kept, rows])
        new = similarities(segment, one, np.array([0, len(rows) - len(kept)]), rows[len(kept) :])
        values = np.concatenate([values, new])
        order = np.lexsort((segment.ids[rows], -values))[:k]
        kept, values = rows[order], values[order]
    return kept


def slack(segment: Segment, queries: Queries) -> Rows:
    """2 e of the head of this file for every query, (Q,), rounded up; infinite where float32 is no measure."""
    g = (queries.raw.shape[1] + 8) * 2.0**-24
    bound = np.full(len(queries.raw), 2 * g / (1 - g) if g < 0.5 else np.inf)
    if segment.metric != "cosine":
        lengths = np.sqrt(queries.squares)
        bound = bound * (2 * lengths * segment.longest + segment.longest**2)
        bound[lengths > LONG] = np.inf
    return np.nextafter(bound.astype(np.float32), np.float32(np.inf))


def _candidates(segment: Segment, queries: Queries, k: int) -> tuple[list[int], list[Ints]]:
    """For each query every row that may be among its k best; -1 and no rows where there are too many to keep."""
    total, n = len(queries.raw), len(segment.ids)
    k = min(k, n)
    if k == 0:
        return [0] * total, [np.zeros(0, np.int64)] * total
    step = max(PART, SCORES // max(1, total) // PART * PART)
    state = _Selection(total, k, slack(segment, queries))
    scores = np.empty((total, min(step, n)), np.float32)
    for first in range(0, n, step):
        last = min(n, first + step)
        if segment.check is not None:
            segment.check(first, last)
        _scores(queries.multiplied, segment.vectors[first:last], scores)
        state.take(scores, segment.scale[first:last], segment.offset[first:last], first)
    return state.count.tolist(), [rows[: max(0, held)] for rows, held in zip(state.found, state.count, strict=True)]


def _scores(query: Rows, keys: Rows, out: Rows) -> None:
    """float32 dot products into the first columns of out (Q, >= n), in any order of additions."""
    compiled = _library()
    if compiled is None or len(query) > FEW:
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(query, keys.T, out=out[:, : len(keys)])
    else:
        compiled.modicum_scores(_at(query), _at(keys), len(query), *keys.shape, _at(out), out.shape[1])


class _Selection:
    """The candidates of Q queries while parts of the rows go by; `modicum_select`, or the same in numpy."""

    def __init__(self, queries: int, k: int, slack: Rows) -> None:
        self.k, self.slack = k, slack
        self.capacity = 4 * k + 1024
        self.heap = np.empty((queries, k), np.float32)
        self.held, self.count = np.zeros(queries, np.int64), np.where(np.isinf(slack), -1, 0)
        self.found = np.empty((queries, self.capacity), np.int64)
        self.keys = np.empty((queries, self.capacity), np.float32)

    def take(self, scores: Rows, scale: Rows, offset: Rows, first: int) -> None:
        """Go over scores (Q, >= n) of the rows from `first` on, whose scale and offset are (n,)."""
        compiled = _library()
        if compiled is None:
            self._take(scores[:, : len(scale)], scale, offset, first)
            return
        arrays = (scale, offset)
        compiled.modicum_select(
            _at(scores), len(scores), len(scale), scores.shape[1], *map(_at, arrays), first, _at(self.slack), self.k,
            _at(self.heap), _at(self.held), self.capacity, _at(self.count), _at(self.found), _at(self.keys),
        )  # fmt: skip

    def _take(self, scores: Rows, scale: Rows, offset: Rows, first: int) -> None:
        for q in np.flatnonzero(self.count >= 0):
            with np.errstate(over="ignore", invalid="ignore"):
                key = scores[q] * scale + offset
            count, held = int(self.count[q]), int(self.held[q])
            rows = np.flatnonzero(~np.isnan(key))
            top = np.concatenate([self.heap[q, :held], key[rows]])
            held = min(self.k, len(top))
            self.heap[q, :held] = top = np.partition(top, len(top) - held)[len(top) - held :]
            limit = top.min() - self.slack[q] if held == self.k else np.float32(-np.inf)
            keys = np.concatenate([self.keys[q, :count], key[rows]])
            found = np.concatenate([self.found[q, :count], rows + first])[keys >= limit]
            self.held[q], self.count[q] = held, len(found) if len(found) <= self.capacity else -1
            if self.count[q] >= 0:
                self.found[q, : len(found)], self.keys[q, : len(found)] = found, keys[keys >= limit]


def _at(array: npt.NDArray[np.generic]) -> int:
    """Where a contiguous array lies."""
    return array.ctypes.data


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernels with the types of those used here, or None where there are none."""
    found = library()
    if found is not None:
        place, number = ctypes.c_void_p, ctypes.c_int64
        found.modicum_scores.argtypes = [place, place, number, number, number, place, number]
        found.modicum_select.argtypes = [place, number, number, number, place, place, number, place, number, place, place,
                                         number, place, place, place]  # fmt: skip
        found.modicum_scores.restype = found.modicum_select.restype = None
    return found

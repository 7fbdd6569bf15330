"""Rows that can be searched, queries, and similarities in the fixed order of additions with the order of results.

A segment is n rows beside each other: the mapped file of a memory, or what was added since. Removing a row of it makes
another segment on the same vectors, so that a search under way is not disturbed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.similarity import row_dots, squared_lengths

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows, Values

    Flags = npt.NDArray[np.bool_]
    Found = tuple[Values, Ints, Ints]

SHORT, LONG = 2.0**-40, 2.0**40
NO_ID = np.iinfo(np.int64).max
"""The id of a place that no row took; behind all others among equals."""
PART = 4096  # rows; the checksums of the vector file are made over as many


class Queries(NamedTuple):
    """Q queries: as given and as multiplied (unit length under cosine), float32 (Q, D); lengths float64 (Q,)."""

    raw: Rows
    multiplied: Rows
    lengths: Values

    def some(self, first: int, last: int) -> Queries:
        """Queries first <= q < last."""
        return Queries(self.raw[first:last], self.multiplied[first:last], self.lengths[first:last])


@dataclass(frozen=True)
class Segment:
    """n rows to be searched: vectors (n, D) float32, ids (n,), squared lengths (n,), alive (n,) False where removed.

    key = score * scale + offset; the offset is NaN where a row is not to be found by its score: removed, or in `odd`.
    check(first, last): called before rows are read; raises where the file they come from is damaged.
    """

    metric: str
    vectors: Rows
    ids: Ints
    squares: Values
    alive: Flags
    scale: Rows
    offset: Rows
    odd: Ints
    longest: float
    check: Callable[[int, int], None] | None = None

    def check_rows(self, rows: Ints) -> None:
        """`check` for the parts of the file in which chosen rows lie."""
        if self.check is not None:
            for part in np.unique(rows // PART).tolist():
                self.check(part * PART, min((part + 1) * PART, len(self.ids)))

    @functools.cached_property
    def live(self) -> int:
        """How many rows are not removed."""
        return int(self.alive.sum())

    def without(self, rows: Ints) -> Segment:
        """The segment with rows removed."""
        alive, offset = self.alive.copy(), self.offset.copy()
        alive[rows], offset[rows] = False, np.nan
        return replace(self, alive=alive, offset=offset, odd=self.odd[alive[self.odd]])

    def since(self, first: int) -> Segment:
        """The rows from `first` on, numbered from 0."""
        return Segment(
            self.metric,
            self.vectors[first:],
            self.ids[first:],
            self.squares[first:],
            self.alive[first:],
            self.scale[first:],
            self.offset[first:],
            self.odd[self.odd >= first] - first,
            self.longest,
            self.check and functools.partial(_shifted, self.check, first),
        )


def _shifted(check: Callable[[int, int], None], by: int, first: int, last: int) -> None:
    check(first + by, last + by)


def make_segment(
    metric: str,
    vectors: Rows,
    ids: Ints,
    squares: Values,
    alive: Flags,
    check: Callable[[int, int], None] | None = None,
) -> Segment:
    """A segment of contiguous rows whose squared lengths are known (`modicum.similarity.squared_lengths`)."""
    lengths = np.sqrt(squares)
    odd = (lengths < SHORT) | (lengths > LONG)
    if metric == "cosine":
        scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=~odd).astype(np.float32)
        offset = np.zeros(len(ids), np.float32)
    else:
        odd &= lengths > 0  # a row of zeros is at the origin, and its score is exact
        scale = np.full(len(ids), 2.0, np.float32)
        offset = -np.where(odd, 0.0, squares).astype(np.float32)
    offset[odd | ~alive] = np.nan
    longest = float(lengths[~odd].max(initial=0.0))
    rows = np.flatnonzero(odd & alive)
    return Segment(metric, vectors, ids, squares, alive, scale, offset, rows, longest, check)


def prepared(query: Rows, metric: str) -> Queries:
    """Contiguous float32 queries (Q, D) with what the search needs of them."""
    lengths = np.sqrt(squared_lengths(query))
    if metric != "cosine":
        return Queries(query, query, lengths)
    with np.errstate(over="ignore", divide="ignore"):
        inverse = np.where(lengths > 0, 1.0 / lengths, 0.0)
    return Queries(query, (query * inverse[:, None]).astype(np.float32), lengths)


def similarities(segment: Segment, queries: Queries, start: Ints, rows: Ints) -> Values:
    """Similarities in the fixed order of chosen rows: entry i is of query q, start[q] <= i < start[q + 1], and rows[i].

    Cosine in [-1, 1], 0 for zeros; under l2 2 q.x - (|q|^2 + |x|^2), at most 0.
    """
    dots = row_dots(queries.raw, segment.vectors, start, rows)
    squares = segment.squares[rows]
    if segment.metric == "cosine":
        norms = np.repeat(queries.lengths, np.diff(start)) * np.sqrt(squares)
        return np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0).clip(-1.0, 1.0)
    own = np.repeat(squared_lengths(queries.raw), np.diff(start))
    found: Values = np.minimum(2.0 * dots - (own + squares), 0.0)
    return found


def best(similarity: Values, ids: Ints, rows: Ints, k: int) -> Found:
    """The k best of (Q, m), m >= k, along the last axis: similarity descending, ties by id."""
    order = np.lexsort((ids, -similarity), axis=-1)[:, :k]
    return tuple(np.take_along_axis(a, order, -1) for a in (similarity, ids, rows))  # type: ignore[return-value]


def ranked(segment: Segment, start: Ints, rows: Ints, values: Values, k: int) -> Found:
    """Candidates of all queries one after the other as the k best of each, (Q, k); places that stay free as in `nearest`."""
    total, sizes = len(start) - 1, np.diff(start)
    width = max(k, int(sizes.max(initial=0)))
    similarity = np.full((total, width), -np.inf)
    ids, places = np.full((total, width), NO_ID), np.full((total, width), -1)
    taken = np.arange(width) < sizes[:, None]
    similarity[taken], ids[taken], places[taken] = values, segment.ids[rows], rows
    return best(similarity, ids, places, k)

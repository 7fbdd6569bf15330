"""Rows that can be searched, and queries.

A segment is n rows beside each other: the mapped file of a memory, or what was added since. Removing a row of it makes
another segment on the same vectors, so that a search under way is not disturbed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows, Values

    Flags = npt.NDArray[np.bool_]
    Found = tuple[Values, Ints, Ints]

SHORT, LONG = 2.0**-40, 2.0**40
NO_ID = np.iinfo(np.int64).max
"""The id of a place that no row took; behind all others among equals."""
PART = 4096  # rows; the checksums of the vector file are made over as many


class Check(Protocol):
    """Raises where rows first <= r < last come from a damaged file."""

    @property
    def complete(self) -> bool:
        """Whether all rows were checked."""

    def __call__(self, first: int, last: int) -> None:
        """Check rows."""

    def chosen(self, rows: Ints) -> None:
        """Check the parts with chosen rows; -1 for none."""

    def behind(self, rows: int) -> Check:
        """The check for rows numbered from `rows` on."""


@dataclass(frozen=True)
class Queries:
    """Q queries: as given and as multiplied (unit length under cosine), float32 (Q, D); squared lengths float64 (Q,)."""

    raw: Rows
    multiplied: Rows
    squares: Values

    def some(self, chosen: slice | Ints) -> Queries:
        """Some of them."""
        return Queries(self.raw[chosen], self.multiplied[chosen], self.squares[chosen])

    @functools.cached_property
    def places(self) -> tuple[int, int]:
        """Where the raw queries and their squared lengths lie in memory, for the kernels."""
        return self.raw.ctypes.data, self.squares.ctypes.data


@dataclass(frozen=True)
class Segment:
    """n rows to be searched: vectors (n, D) float32, ids (n,), squared lengths (n,), alive (n,) False where removed.

    key = score * scale + offset; the offset is NaN where a row is not to be found by its score: removed, or in `odd`.
    check: called before rows are read.
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
    check: Check | None = None

    def check_rows(self, rows: Ints) -> None:
        """`check` for the parts of the file in which chosen rows lie; -1 for none."""
        if self.check is not None and not self.check.complete:
            self.check.chosen(rows)

    @functools.cached_property
    def places(self) -> tuple[int, int, int]:
        """Where vectors, squared lengths and ids lie in memory, for the kernels."""
        return self.vectors.ctypes.data, self.squares.ctypes.data, self.ids.ctypes.data

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
            self.check and self.check.behind(first),
        )


def make_segment(
    metric: str,
    vectors: Rows,
    ids: Ints,
    squares: Values,
    alive: Flags,
    check: Check | None = None,
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


def rows_of(segment: Segment, ids: Ints) -> Ints:
    """Rows, not removed, whose id is one of ids (n,)."""
    if len(ids) <= 16:
        found = np.concatenate([np.flatnonzero(segment.ids == one) for one in ids.tolist()] or [np.zeros(0, np.int64)])
    else:
        found = np.flatnonzero(np.isin(segment.ids, ids))
    return np.asarray(found[segment.alive[found]])


def live_rows(segment: Segment) -> Iterator[tuple[Ints, Rows]]:
    """(ids, vectors) of the rows that are not removed, in their order, `PART` at a time."""
    for first in range(0, len(segment.ids), PART):
        rows = first + np.flatnonzero(segment.alive[first : first + PART])
        segment.check_rows(rows)
        if len(rows):
            yield segment.ids[rows], segment.vectors[rows]

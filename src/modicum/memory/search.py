"""One look-up in a view: candidates of the index, exact search of the rows behind it, and the excluded ids left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.memory import inputs
from modicum.memory.exact import nearest
from modicum.memory.ranking import best, prepared, ranked
from modicum.memory.segments import NO_ID, Queries, rows_of
from modicum.memory.types import MemoryInfo, Neighbours
from modicum.memory.view import View

if TYPE_CHECKING:
    from modicum.memory.segments import Flags, Found
    from modicum.memory.types import Ints


def queries_of(query: npt.ArrayLike, info: MemoryInfo) -> Queries:
    """Queries (Q, D), read as float32. Refused: another D, NaN or infinity."""
    if (
        isinstance(query, np.ndarray)
        and query.dtype == np.float32
        and query.flags.c_contiguous
        and query.ndim == 2
        and query.shape[1] == info.dim
        and (found := prepared(query, info.metric)) is not None
    ):
        return found
    found = prepared(inputs.as_rows(query, info.dim, info.metric, "query", keys=False), info.metric)
    assert found is not None  # `as_rows` refuses what is not finite
    return found


def check_k(view: View, k: int, exclude: Ints) -> None:
    """Refuse what `inputs.check_k` refuses; exclude (Q, m): ids, some of which the memory may not have."""
    short = view.live and isinstance(k, int | np.integer) and k + exclude.shape[1] > view.live
    inputs.check_k(k, view.live, max((_held(view, row) for row in exclude), default=0) if short else 0)


def _held(view: View, ids: Ints) -> int:
    """How many of ids (m,) the memory has."""
    wanted = np.unique(ids[ids >= 0])
    return len(rows_of(view.base, wanted)) + len(rows_of(view.tail, wanted))


def search(view: View, queries: Queries, k: int, exclude: Ints) -> Neighbours:
    """The k most similar items of each query without its excluded ids (Q, m); there are k."""
    taken = min(k + exclude.shape[1], view.live)
    parts = [_of_index(view, queries, taken)] if view.index else []
    if not parts or len(view.base.ids) + len(view.tail.ids) > view.indexed:
        parts += _exact(view, view.indexed, queries, taken)
    similarity, ids, rows = parts[0]
    if len(parts) > 1 or taken > k:
        similarity, ids, rows = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
        gone = _excluded(ids, exclude)
        similarity[gone], ids[gone], rows[gone] = -np.inf, NO_ID, -1
        similarity, ids, rows = best(similarity, ids, rows, k)
    if view.index and min(rows[:, -1].tolist(), default=0) < 0:  # the index found too few: search those exactly
        these = np.flatnonzero(rows[:, -1] < 0)
        found = search(replace(view, index=None), queries.some(these), k, exclude[these])
        similarity[these], rows[these], ids[these] = found
    return Neighbours(similarity, rows, ids)


def _excluded(ids: Ints, exclude: Ints) -> Flags:
    """Which of ids (Q, n) are among a query's excluded ones (Q, m); by columns or by queries, whichever are fewer."""
    gone = np.zeros(ids.shape, bool)
    if exclude.shape[1] <= len(exclude):
        for column in exclude.T:
            gone |= ids == column[:, None]
    else:
        for own, found, out in zip(gone, ids, exclude, strict=True):
            own[:] = np.isin(found, out)
    return gone


def _exact(view: View, first: int, queries: Queries, k: int) -> list[Found]:
    """Exact search of the rows of base from `first` on and of the tail, whose rows are numbered on behind those of base."""
    found: list[Found] = []
    for segment, offset in ((view.base.since(first), first), (view.tail, len(view.base.ids))):
        if len(segment.ids) or not found:
            similarity, ids, rows = nearest(segment, queries, k)
            found.append((similarity, ids, np.where(rows < 0, rows, rows + offset)))
    return found


def _of_index(view: View, queries: Queries, k: int) -> Found:
    """Candidates of the index, scored again in the fixed order."""
    assert view.index is not None
    return ranked(view.base, queries, view.index.search(queries, k, view.base), k)

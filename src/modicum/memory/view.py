"""What a process searches: the mapped vector file, and rows that came after it. Follows the database's log of changes.

A view is never changed: a change, of this process or another, makes another view. Rows added since the file was written
are kept in memory (the tail) and put into the file once they are `FLUSH`; where no file can be written all rows stay there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from modicum.errors import DataError, WriteError
from modicum.memory.beacon import CACHE, Beacon
from modicum.memory.segments import PART, Segment, live_rows, make_segment, rows_of
from modicum.memory.store import Store
from modicum.memory.store_log import Logged
from modicum.memory.vectors import CacheDamaged, State, VectorCache, VectorFile
from modicum.similarity import squared_lengths

if TYPE_CHECKING:
    from modicum.memory.faiss_index import FaissIndex
    from modicum.memory.types import Ints, Rows

FLUSH = 4096  # rows in memory, or changes since the file was written, from which on the file is brought up to date
NEVER = State(0, None)


@dataclass(frozen=True)
class View:
    """A memory as of one change: base, the rows of the file, and tail, those after; an index over the first rows of base."""

    state: State
    file: VectorFile | None
    base: Segment
    tail: Segment
    index: FaissIndex | None = None

    @property
    def live(self) -> int:
        """How many items there are."""
        return self.base.live + self.tail.live

    @property
    def indexed(self) -> int:
        """How many rows of base the index covers."""
        return self.index.rows if self.index else 0


class Follower:
    """Keeps a view up to date with a store. cache: None for none; readonly: the cache is read and not written."""

    def __init__(self, store: Store, cache: VectorCache | None, readonly: bool = False) -> None:
        self.store, self.cache, self.readonly = store, cache, readonly
        self.metric, self.dim = store.info.metric, store.info.dim
        self.lock = threading.RLock()
        self.held = False
        """While true the file is left as it is: an index over it is being built."""
        self._view: View | None = None
        self._beacon = Beacon(store.folder / CACHE)
        self._distrusted = False
        self._rows = np.zeros((0, self.dim), np.float32)
        self._ids, self._squares = np.zeros(0, np.int64), np.zeros(0)

    def current(self) -> View:
        """The view that has all changes committed before the call."""
        view = self._view
        if view is not None and (view.state.change == self._beacon.seen() or view.state.change == self.store.last_change()):
            return view
        with self.lock, self.store.reading():
            change = self.store.last_change()
            view = self._view or self.load()
            while view.state.change != change:
                view = self._advanced(view, change) or self.load()
            self._view = view
            return view

    @property
    def latest(self) -> View | None:
        """The view of the last call of `current`, if there was one."""
        return self._view

    def discard(self) -> None:
        """Forget the view, and write the file anew: it is damaged."""
        with self.lock:
            self._view, self._distrusted = None, True

    def install(self, index: FaissIndex | None, file: VectorFile | None = None) -> None:
        """Use an index from now on, over a newer generation of the file where one is given."""
        with self.lock:
            view = self.current() if file is None else self.view_of(file)
            fits = index is None or (view.file is not None and view.file.generation == index.generation)
            self._view = replace(view, index=index if fits else None)

    def settle(self) -> VectorFile | None:
        """Put all rows into the file; the file, or None where it cannot be written."""
        with self.lock, self.store.reading():
            view = self.current()
            if len(view.tail.ids) or view.file is None:
                view = self._view = self.write(view, view.state) or view
            return None if len(view.tail.ids) else view.file

    def rewrite(self) -> VectorFile | None:
        """A new generation of the file from the database alone, not yet in use; None where it cannot be written."""
        if self.cache is None or self.readonly:
            return None
        with self.cache.locked(wait=True) as mine, self.store.reading():
            change = self.store.last_change()
            parts, state = self.store.added_vectors(0, PART), State(change, self.store.stamp(change))
            return self.cache.create(parts, state) if mine else None

    def close(self) -> None:
        """Forget the view: whoever asks for it then is told that the memory is closed."""
        with self.lock:
            self._view = None
            self._beacon.close()

    def differences(self) -> list[str]:
        """What is searched and differs from the database, one sentence each; [] where nothing does. Reads all of both."""
        found = []
        with self.lock, self.store.reading():
            view, items = self.current(), len(self.store)
            if view.live != items:
                found.append(f"the cache has {view.live} items, the database {items}")
            try:
                for ids, rows in chain(live_rows(view.base), live_rows(view.tail)):
                    if not np.array_equal(self.store.vectors(ids), rows):
                        found.append(f"the cache differs from the database in items {ids.min()} to {ids.max()}")
            except (DataError, CacheDamaged) as error:
                found.append(f"the cache is damaged: {error}")
        return found

    def view_of(self, file: VectorFile | None) -> View:
        """The view that a file gives, without a tail."""
        nothing = np.zeros((0, self.dim), np.float32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool)
        tail = make_segment(self.metric, *nothing)
        if file is None:
            return View(NEVER, None, tail, tail)
        base = make_segment(self.metric, file.vectors, file.ids, file.squares, file.alive, file.check)
        return View(file.state, file, base, tail)

    def load(self) -> View:
        """The view of the file as it is on disk, or an empty one where that cannot be used."""
        if not self.readonly:
            self._beacon.create()
            self.store.announce()
        file = None if self.cache is None or self._distrusted else self.cache.load()
        return self.view_of(file if self.usable(file) else None)

    def usable(self, file: VectorFile | None) -> bool:
        """Whether a file belongs to the database and its log reaches back to it."""
        if file is None or file.state.change > self.store.last_change():
            return False
        return self.store.stamp(file.state.change) == file.state.stamp and self.store.logged(file.state.change) is not None

    def _advanced(self, view: View, change: int) -> View | None:
        """The view with all later changes, or a newer one of another process; None where the log has forgotten them."""
        empty = view.file is None and not len(view.tail.ids)
        commits: list[Logged] | None = [] if empty else self.store.logged(view.state.change)
        if commits is None:
            return None
        gone = [commit.ids for commit in commits if commit.op == "remove"]
        if gone:
            view = without(view, np.concatenate(gone))
        new = len(self.store) if empty else sum(len(commit.ids) for commit in commits if commit.op == "add")
        behind = change - (view.file.state.change if view.file else 0)
        state = State(change, self.store.stamp(change))
        if len(view.tail.ids) + new >= FLUSH or (view.file is not None and behind >= 16 * FLUSH):
            written = self.write(view, state)
            if written is not None:
                return written
        parts = self.store.added_vectors(view.state.change, PART) if new else ()
        return replace(view, state=state, tail=self._extended(view.tail, parts))

    def write(self, view: View, state: State) -> View | None:
        """The view with tail and later rows in the file, or one that another process wrote; None where nobody can."""
        if self.cache is None or self.readonly or self.held:
            return self._newer(view) if self.readonly else None
        with self.cache.locked(wait=view.file is None) as mine:
            if not mine:
                return None
            disk = None if self._distrusted else self.cache.load()
            same = disk and view.file and (disk.generation, len(disk)) == (view.file.generation, len(view.file))
            if not same and self.usable(disk):
                return self.view_of(disk)
            try:
                if same and view.file is not None:
                    parts = chain(live_rows(view.tail), self.store.added_vectors(view.state.change, PART))
                    file = self.cache.append(view.file, parts, state, view.base.alive)
                else:
                    file = self.cache.create(self.store.added_vectors(0, PART), state)
            except WriteError:
                return None
            self._distrusted = False
            self._rows, self._ids, self._squares = self._rows[:0].copy(), self._ids[:0].copy(), self._squares[:0].copy()
            fits = view.index is not None and view.index.generation == file.generation
            return replace(self.view_of(file), index=view.index if fits else None)

    def _newer(self, view: View) -> View | None:
        """What another process has put into the file meanwhile, None where that is nothing."""
        disk = None if self.cache is None or self._distrusted else self.cache.load()
        if not self.usable(disk) or disk is None or disk.state.change <= (view.file.state.change if view.file else 0):
            return None
        fresh = self.view_of(disk)
        fits = view.index is not None and view.index.generation == disk.generation
        return replace(fresh, index=view.index if fits else None)

    def _extended(self, tail: Segment, parts: Iterable[tuple[Ints, Rows]]) -> Segment:
        """The tail with rows behind its own. Older views keep seeing the first rows of the same arrays."""
        count = len(tail.ids)
        for ids, rows in parts:
            last = count + len(ids)
            if count == 0 or last > len(self._ids):
                more = max(last, 2 * count, FLUSH) - count
                self._rows = np.concatenate([self._rows[:count], np.zeros((more, self.dim), np.float32)])
                self._ids = np.concatenate([self._ids[:count], np.zeros(more, np.int64)])
                self._squares = np.concatenate([self._squares[:count], np.zeros(more)])
            self._rows[count:last], self._ids[count:last] = rows, ids
            self._squares[count:last] = squared_lengths(rows)
            count = last
        alive = np.ones(count, bool)
        alive[: len(tail.alive)] = tail.alive
        return make_segment(self.metric, self._rows[:count], self._ids[:count], self._squares[:count], alive)


def without(view: View, ids: Ints) -> View:
    """The view after items were removed; ids that it does not have are passed over."""
    base, tail = (
        segment.without(rows) if len(rows := rows_of(segment, ids)) else segment for segment in (view.base, view.tail)
    )
    return replace(view, base=base, tail=tail)

"""A memory in a folder: the database is the truth, searched exactly or by an approximate index over a mapped vector file.

Under exact search results are a function of the items alone, to the bit: after `remove(x)` they equal those of a memory that
never held x. Under an approximate index the candidates are those the index finds; similarities and order are as exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, DataError
from modicum.memory import inputs
from modicum.memory.beacon import CACHE
from modicum.memory.rebuild import Builder, IndexKind
from modicum.memory.search import check_k, queries_of, search
from modicum.memory.store import Store
from modicum.memory.store_schema import size_of
from modicum.memory.types import AbstractMemory, Batch, Item, MemoryInfo, Neighbours, Stats, item_id, item_ids
from modicum.memory.vectors import CacheDamaged, VectorCache
from modicum.memory.view import Follower

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows


class Memory(AbstractMemory):
    """A memory in a folder, open in this process; several threads may use it, and several processes have it open.

    Made by `modicum.memory.opening`. index: which search; `auto` is exact up to `rebuild.EXACT_ROWS` items and HNSW beyond.
    """

    def __init__(self, store: Store, index: IndexKind = "auto", readonly: bool = False) -> None:
        if index not in get_args(IndexKind):
            raise ConfigError(f"index: expected one of {', '.join(get_args(IndexKind))}, found {index!r}")
        self.store, self.index, self.readonly = store, index, readonly
        self.info = store.info
        self.follower = Follower(store, VectorCache(store.folder / CACHE, self.info.dim), readonly)
        self.builder = Builder(self.follower, index)
        self._next: dict[str, tuple[int, int]] = {}

    @classmethod
    def create(cls, folder: Path | str, info: MemoryInfo, index: IndexKind = "auto") -> Memory:
        """An empty memory in a folder; `WriteError` where there is one."""
        return cls(Store.create(folder, info), index)

    @classmethod
    def open(cls, folder: Path | str, index: IndexKind = "auto", readonly: bool = False) -> Memory:
        """The memory in a folder; `FileFormatError` where there is none or it is damaged."""
        return cls(Store.open(folder, readonly), index, readonly)

    def __enter__(self) -> Memory:
        return self

    def add(
        self,
        embeddings: npt.ArrayLike,
        labels: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
        names: Sequence[str] | None = None,
        source: str = "",
        ids: npt.ArrayLike | None = None,
        digests: Sequence[str] | None = None,
    ) -> Ints:
        """As in `AbstractMemory`; one commit, durable when it returns."""
        vectors = inputs.as_rows(embeddings, self.info.dim, self.info.metric, "embeddings", keys=True)
        n = len(vectors)
        inputs.check_text(source, "source")
        every = inputs.as_texts(labels, n, "labels"), inputs.as_texts(texts, n, "texts")
        told = [digest or "" for digest in inputs.as_texts(digests, n, "digests")]
        start = None if names is not None else self._first_name(source)
        own = inputs.as_names([str(start + i) for i in range(n)] if start is not None else names or [], n)
        given = self._ids_for(source, own) if ids is None else inputs.as_ids(ids)
        if len(given) != n:
            raise DataError(f"ids: expected {n}, one for each embedding, found {len(given)}")
        before = 0 if start is None else self.store.last_change()
        batch = Batch(given, vectors, source, own, *every, told)
        try:
            self.store.add(batch)
        except DataError as error:
            here = np.flatnonzero(self.ids_of(source, own) >= 0)
            if len(here):
                raise DataError(
                    f"names: source {source!r} has an item {own[int(here[0])]!r} already ({len(here)} such names); "
                    "remove it first, or relabel it. Nothing was added"
                ) from error
            if ids is not None or np.array_equal(free := self._ids_for(source, own, taken=True), given):
                raise
            given = free
            self.store.add(batch._replace(ids=given))
        if start is not None:
            self._next[source] = before + n, start + n
        return given

    def add_batch(self, batch: Batch) -> None:
        """Add a batch with its times, as another memory gave it."""
        inputs.as_rows(batch.vectors, self.info.dim, self.info.metric, "embeddings", keys=True)
        self.store.add(batch)

    def _first_name(self, source: str) -> int:
        """The number that default names of a source go on from: above all names that are numbers, and their count."""
        known = self._next.get(source)
        if known is not None and known[0] == self.store.last_change():
            return known[1]
        held = self.store.counts()[0].get(source, 0)
        numbers = (int(item.name) + 1 for item in self.store.items(source) if item.name.isascii() and item.name.isdigit())
        return max([held, *numbers]) if held else 0

    def _ids_for(self, source: str, names: Sequence[str], taken: bool = False) -> Ints:
        """Ids by `item_id`, the next attempt where another item has that id. taken: look into the store for those."""
        many = item_ids(source, names)
        if not taken and len(set(many)) == len(many):
            return np.array(many, np.int64)
        ids: dict[int, str] = {}
        for name in names:
            attempt = 0
            while (one := item_id(source, name, attempt)) in ids or (taken and self._held_by_another(one, source, name)):
                attempt += 1
            ids[one] = name
        return np.fromiter(ids, np.int64, len(ids))

    def _held_by_another(self, id_: int, source: str, name: str) -> bool:
        try:
            (item,) = self.store.payload([id_])
        except DataError:
            return False
        return (item.source, item.name) != (source, name)

    def remove(self, ids: npt.ArrayLike) -> int:
        """As in `AbstractMemory`; one commit."""
        return self.store.remove(inputs.as_ids(ids))

    def relabel(self, ids: npt.ArrayLike, label: str | None = None, *, text: str | None = None) -> int:
        """As in `AbstractMemory`; one commit."""
        inputs.check_text(label, "label")
        inputs.check_text(text, "text")
        return self.store.relabel(inputs.as_ids(ids), label, text)

    def remove_source(self, source: str) -> int:
        """As in `AbstractMemory`; one commit."""
        return self.store.remove_source(source)

    def lookup(self, query: npt.ArrayLike, k: int, exclude: npt.ArrayLike | None = None) -> Neighbours:
        """As in `AbstractMemory`: of the items as they are when the search begins, other processes' changes included."""
        queries = queries_of(query, self.info)
        out = inputs.as_exclude(exclude, len(queries.raw))
        for _ in range(3):
            view = self.builder.attend(self.follower.current())
            check_k(view, k, out)
            try:
                return search(view, queries, int(k), out)
            except CacheDamaged:
                self.follower.discard()
        view = replace(self.follower.current(), index=None)
        check_k(view, k, out)
        return search(view, queries, int(k), out)

    def payload(self, ids: npt.ArrayLike) -> list[Item]:
        """As in `AbstractMemory`."""
        return self.store.payload(inputs.as_ids(ids))

    def vectors(self, ids: npt.ArrayLike) -> Rows:
        """As in `AbstractMemory`."""
        return self.store.vectors(inputs.as_ids(ids))

    def items(self, source: str | None = None, label: str | None = None) -> Iterator[Item]:
        """As in `AbstractMemory`; as they were when the first was asked for."""
        return self.store.items(source, label)

    def ids_of(self, source: str, names: Sequence[str]) -> Ints:
        """As in `AbstractMemory`."""
        return np.array([-1 if id_ is None else id_ for id_ in self.store.ids_of(source, names)], np.int64)

    def snapshot(self, target: Path | str) -> None:
        """As in `AbstractMemory`; the copy has no cache, which is made when it is searched."""
        self.store.snapshot(target)

    def last_change(self) -> int:
        """As in `AbstractMemory`."""
        return self.store.last_change()

    def stats(self) -> Stats:
        """As in `AbstractMemory`; bytes_on_disk: database and cache."""
        sources, labels = self.store.counts()
        cached = (self.store.folder / CACHE).glob("*")
        size = self.store.bytes_on_disk() + sum(map(size_of, cached))
        items = sum(sources.values())
        kind, pending = self.builder.told(items)
        return Stats(self.info, items, sources, labels, kind, pending, size)

    def rebuild(self) -> None:
        """Make vector file and index anew from the database; a search needs neither, it is only slower without."""
        self.builder.rebuild()

    def settle(self) -> None:
        """Bring the vector file up to date, and wait until the index that is due, if one is, is in use."""
        if len(self):
            self.builder.attend(self.follower.current())
        self.builder.settle()

    def verify(self) -> list[str]:
        """What is wrong, one sentence each, [] where nothing is: the database, and whether what is searched equals it."""
        return self.store.check() or self.follower.differences()

    def __len__(self) -> int:
        return len(self.store)

    def close(self) -> None:
        """As in `AbstractMemory`."""
        self.builder.close()
        self.follower.close()
        self.store.close()

"""A memory on Milvus: the same API on a server or cluster, or on its embedded file, which serves tests and moving.

Candidates come from Milvus' HNSW index (M = 32); their similarities are computed again by the fixed-order kernel from the
stored vectors, so values and order are those of every other store. Which promises hold here: docs/memory.md.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError, ModicumError
from modicum.memory import inputs
from modicum.memory.milvus_checks import nearest, problems
from modicum.memory.milvus_client import Address, address_of
from modicum.memory.milvus_rows import FIELDS, LONGEST, MilvusRows, drop_rows, make_rows, open_rows
from modicum.memory.types import AbstractMemory, Batch, Item, MemoryInfo, Neighbours, Stats, item_id

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows

SLACK = 8  # candidates beyond those asked for, and half as many again: approximate order becomes exact order
_PLAIN = ("id", "source", "name", "label", "text", "time", "digest")


class MilvusMemory(AbstractMemory):
    """A collection of a Milvus server or file. Make one by `create` or `open`."""

    def __init__(self, rows: MilvusRows, info: MemoryInfo) -> None:
        self.info = info
        self.rows = rows

    @classmethod
    def create(cls, store: str, info: MemoryInfo) -> MilvusMemory:
        """A new memory at `milvus+URI[#COLLECTION]`; `ConfigError` where something is there or nobody answers."""
        with cls.unfinished(store, info) as made:
            made.rows.finish(info)
        return cls.open(store)

    @classmethod
    @contextlib.contextmanager
    def unfinished(cls, store: str, info: MemoryInfo) -> Iterator[MilvusMemory]:
        """A new memory, there for others once `rows.finish` was called inside; dropped on an error, closed at the end."""
        made = cls(make_rows(address_of(store), info), info)
        try:
            yield made
        except BaseException:
            with contextlib.suppress(ModicumError):
                drop_rows(made.rows)
            raise
        finally:
            made.close()

    @classmethod
    def open(cls, store: str) -> MilvusMemory:
        """The memory at `milvus+URI[#COLLECTION]`; `FileFormatError` where there is none or another version made it."""
        return cls(*open_rows(address_of(store)))

    def __enter__(self) -> MilvusMemory:
        return self

    @property
    def address(self) -> Address:
        """Where it lies."""
        return self.rows.address

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
        """As in `AbstractMemory`; returns when Milvus has acknowledged every row, 1,000 at most a request."""
        vectors = inputs.as_rows(embeddings, self.info.dim, self.info.metric, "embeddings", keys=True)
        n = len(vectors)
        inputs.check_text(source, "source")
        own = inputs.as_names(self._next_names(source, n) if names is None else names, n)
        given = self._free_ids(source, own) if ids is None else inputs.as_ids(ids)
        if len(given) != n:
            raise DataError(f"ids: expected {n}, one for each embedding, found {len(given)}")
        told = [digest or "" for digest in inputs.as_texts(digests, n, "digests")]
        every = (inputs.as_texts(labels, n, "labels"), inputs.as_texts(texts, n, "texts"))
        self.add_batch(Batch(given, vectors, source, own, *every, told))
        return given

    def _next_names(self, source: str, n: int) -> list[str]:
        held = [row["name"] for row in self.rows.every(_of(source), ["name"])]
        start = max([len(held), *(int(name) + 1 for name in held if name.isascii() and name.isdigit())])
        return [str(start + i) for i in range(n)]

    def _free_ids(self, source: str, names: Sequence[str]) -> Ints:
        """Ids by `item_id`, the next attempt where another item has that id."""
        ids = [item_id(source, name) for name in names]
        taken = {row["id"]: (row["source"], row["name"]) for row in self.rows.by("id", ids, ["id", "source", "name"])}
        for place, name in enumerate(names):
            attempt = 0
            while taken.get(ids[place], (source, name)) != (source, name):
                attempt += 1
                ids[place] = item_id(source, name, attempt)
            taken[ids[place]] = (source, name)
        return np.array(ids, np.int64)

    def add_batch(self, batch: Batch) -> None:
        """Add a batch whose values are checked; refused: ids or names that are there. Nothing stays of one that failed."""
        inputs.check_unique(batch.ids)
        for what, values in (
            ("names", batch.names),
            ("labels", batch.labels),
            ("texts", batch.texts),
            ("source", [batch.source]),
        ):
            for value in values:
                inputs.check_text(value, what, LONGEST)
        here = np.flatnonzero(self.ids_of(batch.source, batch.names) >= 0)
        if len(here):
            name = batch.names[int(here[0])]
            raise DataError(f"names: source {batch.source!r} has an item {name!r} already; remove it first, or relabel it")
        for row in self.rows.by("id", batch.ids.tolist(), ["id"]):
            raise DataError(f"ids: the memory has an item {row['id']} already; expected new ids")
        self.rows.insert(batch)

    def remove(self, ids: npt.ArrayLike) -> int:
        """As in `AbstractMemory`."""
        wanted = inputs.as_ids(ids)
        inputs.check_unique(wanted)
        self._known(wanted, ["id"])
        self.rows.delete(wanted)
        return len(wanted)

    def remove_source(self, source: str) -> int:
        """As in `AbstractMemory`."""
        ids = self._ids(_of(source))
        if not len(ids):
            raise DataError(f"source: the memory has no source {source!r}")
        self.rows.delete(ids)
        return len(ids)

    def relabel(self, ids: npt.ArrayLike, label: str | None = None, *, text: str | None = None) -> int:
        """As in `AbstractMemory`."""
        wanted = np.unique(inputs.as_ids(ids))
        inputs.check_text(label, "label", LONGEST)
        inputs.check_text(text, "text", LONGEST)
        new = {key: value for key, value in (("label", label), ("text", text)) if value is not None}
        self._known(wanted, ["id"])
        for start in range(0, len(wanted), self.rows.step):
            rows = self._known(wanted[start : start + self.rows.step], FIELDS)
            self.rows.upsert([{**row, **new} for row in rows])
        return len(wanted)

    def lookup(self, query: npt.ArrayLike, k: int, exclude: npt.ArrayLike | None = None) -> Neighbours:
        """As in `AbstractMemory`; as near as Milvus' HNSW finds them, similarities and order exact."""
        asked = inputs.as_rows(query, self.info.dim, self.info.metric, "query", keys=False)
        out = inputs.as_exclude(exclude, len(asked))
        here = [row["id"] for row in self.rows.by("id", np.unique(out[out >= 0]).tolist(), ["id"])]
        gone = [set(row.tolist()).intersection(here) for row in out]
        size, most = len(self), max(map(len, gone), default=0)
        inputs.check_k(k, size, most)
        limit = min(size, k + most + SLACK + k // 2)
        while True:
            near = [[i for i in found if i not in away]
                    for found, away in zip(self.rows.search(asked, limit), gone, strict=True)]  # fmt: skip
            if all(len(found) >= k for found in near):
                break
            if limit >= size:
                raise DataError(f"k: Milvus found fewer than {k} neighbours; ask for fewer, or move the memory to a folder")
            limit = min(size, 4 * limit)
        every = np.unique(np.array([i for found in near for i in found], np.int64))
        return nearest(asked, near, every, self.vectors(every), k, self.info.metric)

    def _known(self, ids: Ints, fields: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of ids, in their order; `DataError` names an unknown id."""
        rows = {row["id"]: row for row in self.rows.by("id", np.unique(ids).tolist(), ["id", *fields])}
        missing = [value for value in ids.tolist() if value not in rows]
        if missing:
            raise DataError(f"ids: the memory has no item {missing[0]} ({len(set(missing))} unknown of {len(ids)})")
        return [rows[value] for value in ids.tolist()]

    def _ids(self, filter: str) -> Ints:
        return np.array(sorted(row["id"] for row in self.rows.every(filter, ["id"])), np.int64)

    def payload(self, ids: npt.ArrayLike) -> list[Item]:
        """As in `AbstractMemory`."""
        return [Item(*(row[field] for field in _PLAIN)) for row in self._known(inputs.as_ids(ids), _PLAIN)]

    def vectors(self, ids: npt.ArrayLike) -> Rows:
        """As in `AbstractMemory`."""
        rows = self._known(inputs.as_ids(ids), ["vector"])
        return np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), self.info.dim)

    def items(self, source: str | None = None, label: str | None = None) -> Iterator[Item]:
        """As in `AbstractMemory`; items that others remove meanwhile are left out."""
        ids = self._ids("" if source is None else _of(source))
        for start in range(0, len(ids), self.rows.step):
            rows = self.rows.by("id", ids[start : start + self.rows.step].tolist(), _PLAIN)
            for row in sorted(rows, key=lambda row: int(row["id"])):
                if label is None or row["label"] == label:
                    yield Item(*(row[field] for field in _PLAIN))

    def ids_of(self, source: str, names: Sequence[str]) -> Ints:
        """As in `AbstractMemory`."""
        keys = [item_id(source, name) for name in names]
        rows = self.rows.by("name_key", sorted(set(keys)), ["id", "source", "name"])
        found = {row["name"]: row["id"] for row in rows if row["source"] == source}
        return np.array([found.get(name, -1) for name in names], np.int64)

    def snapshot(self, target: Path | str) -> None:
        """A copy as a memory in a folder, whole or not at all; of what is there when each item is read."""
        from modicum.memory.moving import copy_memory

        copy_memory(self, str(target))

    def stats(self) -> Stats:
        """As in `AbstractMemory`; bytes_on_disk: of an embedded file, 0 on a server."""
        sources, labels = Counter[str](), Counter[str | None]()
        for row in self.rows.every("", ["source", "label"]):
            sources[row["source"]] += 1
            labels[row["label"]] += 1
        size = (
            sum(path.stat().st_size for path in Path(self.address.uri).rglob("*") if path.is_file())
            if self.address.local
            else 0
        )
        return Stats(self.info, sources.total(), dict(sources), dict(labels), "milvus hnsw", 0, size)

    def check(self) -> list[str]:
        """What is wrong with the rows, one sentence each; [] where nothing is. Reads all of them."""
        return problems(self.rows, self.info.dim)

    def __len__(self) -> int:
        return self.rows.count()

    def close(self) -> None:
        """As in `AbstractMemory`."""
        self.rows.close()


def _of(source: str) -> str:
    """The filter for a source: its number in quotes' stead, for what quoting does to odd names differs between versions."""
    return f"source_key == {item_id(source, '')}"

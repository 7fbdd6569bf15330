"""A memory as a list: the interface with no store and no index, searched by a plain loop over the fixed-order kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.memory.types import AbstractMemory, Item, MemoryInfo, Neighbours, Stats, item_id
from modicum.similarity import cosine_similarities


class ListMemory(AbstractMemory):
    """Items in a dict. counting: whether `last_change` says something, which saves asking for payloads again."""

    def __init__(self, dim: int, counting: bool = True) -> None:
        self.info = MemoryInfo(dim)
        self.kept: dict[int, tuple[Item, np.ndarray]] = {}
        self.asked = self.changed = self.looked_up = 0
        self.counting = counting

    def last_change(self) -> int | None:
        return self.changed if self.counting else None

    def add(self, embeddings, labels=None, *, texts=None, names=None, source="", ids=None, digests=None):
        rows = np.asarray(embeddings, np.float32)
        n = len(rows)
        names = names or [str(len(self.kept) + i) for i in range(n)]
        ids = np.array([item_id(source, name) for name in names]) if ids is None else np.asarray(ids)
        for i in range(n):
            label, text = labels[i] if labels else None, texts[i] if texts else None
            self.kept[int(ids[i])] = (Item(int(ids[i]), source, names[i], label, text, time.time()), rows[i])
        self.changed += 1
        return ids

    def _known(self, ids) -> list[int]:
        ids = np.asarray(ids).ravel().tolist()
        if unknown := [id for id in ids if id not in self.kept]:
            raise DataError(f"ids: unknown {unknown}")
        return ids

    def remove(self, ids) -> int:
        ids = self._known(ids)
        for id in ids:
            del self.kept[id]
        self.changed += 1
        return len(ids)

    def relabel(self, ids, label=None, *, text=None) -> int:
        ids = self._known(ids)
        for id in ids:
            item, row = self.kept[id]
            self.kept[id] = (item._replace(label=label or item.label, text=text or item.text), row)
        self.changed += 1
        return len(ids)

    def remove_source(self, source: str) -> int:
        return self.remove([id for id, (item, _) in self.kept.items() if item.source == source])

    def lookup(self, query, k, exclude=None) -> Neighbours:
        self.looked_up += 1
        query = np.asarray(query, np.float32)
        exclude = np.full((len(query), 1), -1) if exclude is None else np.asarray(exclude).reshape(len(query), -1)
        found = []
        for row, out in zip(query, exclude.tolist(), strict=True):
            ids = sorted(id for id in self.kept if id not in out)
            if not 1 <= k <= len(ids):
                raise DataError(f"k: expected 1..{len(ids)}, found {k}")
            similarities = cosine_similarities(row[None], np.stack([self.kept[id][1] for id in ids]))[0]
            order = np.lexsort((ids, -similarities))[:k]
            found.append((similarities[order], order, np.array(ids)[order]))
        return Neighbours(*(np.stack(part) for part in zip(*found, strict=True)))

    def payload(self, ids) -> list[Item]:
        self.asked += 1
        return [self.kept[id][0] for id in self._known(ids)]

    def vectors(self, ids):
        return np.stack([self.kept[id][1] for id in self._known(ids)])

    def items(self, source=None, label=None) -> Iterator[Item]:
        yield from (self.kept[id][0] for id in sorted(self.kept))

    def ids_of(self, source, names):
        ids = [item_id(source, name) for name in names]
        return np.array([id if id in self.kept else -1 for id in ids])

    def snapshot(self, target: Path | str) -> None:
        raise NotImplementedError

    def stats(self) -> Stats:
        return Stats(self.info, len(self.kept), {}, {}, "list", 0, 0)

    def __len__(self) -> int:
        return len(self.kept)

    def close(self) -> None:
        pass


@pytest.fixture
def list_memory() -> type[ListMemory]:
    return ListMemory

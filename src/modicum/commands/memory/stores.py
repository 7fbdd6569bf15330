"""The store of a memory as the commands open it: the database of a folder itself, which needs neither numpy nor an index,
or a collection on Milvus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from modicum.errors import DataError
from modicum.memory.store import Store

if TYPE_CHECKING:
    from modicum.memory.milvus import MilvusMemory

Opened: TypeAlias = "Store | MilvusMemory"
MILVUS = "milvus+"


def is_milvus(store: str) -> bool:
    """Whether a store's name is an address of Milvus."""
    return store.startswith(MILVUS)


def open_store(store: str, *, readonly: bool = False) -> Opened:
    """The store of a memory; `FileFormatError` where there is none."""
    if is_milvus(store):
        from modicum.memory.milvus import MilvusMemory

        return MilvusMemory.open(store)
    return Store.open(store, readonly=readonly)


def ids_of(opened: Opened, source: str, names: Sequence[str]) -> list[int | None]:
    """Ids of named items of a source, None where there is none."""
    return [None if found is None or found < 0 else int(found) for found in opened.ids_of(source, names)]


def counts(opened: Opened) -> tuple[dict[str, int], dict[str | None, int]]:
    """Numbers of items by source and by label."""
    if isinstance(opened, Store):
        return opened.counts()
    found = opened.stats()
    return found.sources, found.labels


def chosen(opened: Opened, ids: Sequence[int], source: str | None, names: Sequence[str]) -> list[int]:
    """The ids that `ID ...`, or `--source NAME` with or without `--names`, mean; `DataError` names what is not there."""
    if source is None:
        return list(dict.fromkeys(ids))
    if names:
        distinct = list(dict.fromkeys(names))
        found = ids_of(opened, source, distinct)
        missing = [name for name, id_ in zip(distinct, found, strict=True) if id_ is None]
        if missing:
            raise DataError(f"names: source {source!r} has no item {missing[0]!r} ({len(missing)} such names)")
        return [id_ for id_ in found if id_ is not None]
    found_ids = [item.id for item in opened.items(source=source)]
    if not found_ids:
        known = ", ".join(map(repr, list(counts(opened)[0])[:5]))
        raise DataError(f"source: the memory has no source {source!r}; it has: {known or 'none, it is empty'}")
    return found_ids

"""Which memory a store's name means: a folder, or `milvus+URI` on a distributed engine. Loads neither numpy nor torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.memory.rebuild import IndexKind
    from modicum.memory.types import AbstractMemory, MemoryInfo

MILVUS = "milvus+"


def create_memory(store: str, info: MemoryInfo) -> AbstractMemory:
    """An empty memory in a folder or at `milvus+URI`; `WriteError` or `ConfigError` where something is there already."""
    if str(store).startswith(MILVUS):
        from modicum.memory.milvus import MilvusMemory

        return MilvusMemory.create(str(store), info)
    from modicum.memory.memory import Memory

    return Memory.create(store, info)


def open_memory(
    store: str, *, fingerprint: str | None = None, readonly: bool = False, index: IndexKind = "auto"
) -> AbstractMemory:
    """The memory of a folder or `milvus+URI`; `FileFormatError` where there is none.

    fingerprint: of the encoder whose embeddings are to be looked up; `ConfigError` where the memory holds another's (None:
    not checked). readonly: nothing is written, the cache neither. index: see `Memory`; Milvus has its own and takes `auto`.
    """
    memory: AbstractMemory
    if str(store).startswith(MILVUS):
        if index != "auto":
            raise ConfigError(f"index: {index!r} is for memories in a folder; Milvus has its own index, so leave it out")
        from modicum.memory.milvus import MilvusMemory

        memory = MilvusMemory.open(str(store))
    else:
        from modicum.memory.memory import Memory

        memory = Memory.open(store, index, readonly)
    held = memory.info.fingerprint
    if fingerprint is not None and held != fingerprint:
        memory.close()
        raise ConfigError(
            f"{store}: the memory holds embeddings of another encoder ({memory.info.encoder or 'unnamed'}, fingerprint "
            f"{held[:12] or 'none'}; expected {fingerprint[:12] or 'none'}); use that encoder, or make the memory anew"
        )
    return memory

"""`modicum memory create`: an empty memory for the embeddings of one encoder."""

from __future__ import annotations

import time
from pathlib import Path

from modicum.commands.memory.encoders import drop_kept, embedder, is_kept, keep, kept_name
from modicum.commands.memory.stores import is_milvus
from modicum.configs import MemoryCreate
from modicum.errors import ConfigError
from modicum.memory.store import Store
from modicum.memory.store_schema import DATABASE
from modicum.memory.types import MemoryInfo


def _check_target(store: str) -> None:
    folder = Path(store)
    if (folder / DATABASE).exists():
        raise ConfigError(f"store: {store} is a memory already; add to it, or choose another name")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"store: {store} is a file; expected the name of a folder for the memory")
    others = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    if any(path.name != "encoder" or not is_kept(path) for path in others):
        raise ConfigError(f"store: {store} holds other files and no memory; give a new or empty folder")


def run(config: MemoryCreate) -> int:
    """Load the encoder, make the store, keep the encoder in it; always 0."""
    if not is_milvus(config.store):
        _check_target(config.store)
    found = embedder(config.encoder, online=config.online)
    name = kept_name(config.store, config.encoder)
    info = MemoryInfo(found.dim, config.metric, name, found.fingerprint, time.time())
    if is_milvus(config.store):
        from modicum.memory.milvus import MilvusMemory

        MilvusMemory.create(config.store, info).close()
    else:
        try:
            keep(found, config.store)  # before the database, which decides whether there is a memory
            Store.create(config.store, info).close()
        except BaseException:
            drop_kept(config.store)
            raise
    print(f"memory: {config.store}, empty, for embeddings of {found.dim:,} numbers by {config.encoder} ({config.metric})")
    return 0

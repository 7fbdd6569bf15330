"""`modicum memory move`: a memory copied into another store."""

from __future__ import annotations

from dataclasses import replace

from modicum.commands.memory.encoders import beside_run, embedder_of, keep, kept_name
from modicum.commands.memory.stores import is_milvus, open_store
from modicum.commands.output import counted
from modicum.commands.progress import progress
from modicum.configs import MemoryMove
from modicum.memory.moving import copy_memory
from modicum.memory.store import Store


def run(config: MemoryMove) -> int:
    """Copy, whole or not at all; always 0."""
    with open_store(config.store, readonly=True) as opened:
        if isinstance(opened, Store) and not is_milvus(config.target):
            beside = beside_run(config.store, opened.info.encoder)
            found = None if beside is None else embedder_of(config.store, opened.info)
            opened.snapshot(config.target)
            done = len(opened)
        else:
            info = replace(opened.info, encoder=kept_name(config.target, opened.info.encoder))
            found = embedder_of(config.store, info) if info.encoder and is_milvus(config.store) else None
            with progress("copying") as tick:
                done = copy_memory(opened, config.target, info=info, progress=tick)
        if found is not None:
            keep(found, config.target)
    told = f"{config.store} is as it was, delete it when it is no longer needed"
    print(f"copied {counted(done, 'item')} to {config.target}; {told}")
    return 0

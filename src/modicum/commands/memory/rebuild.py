"""`modicum memory rebuild`: vector file and index of a memory, made anew from what it stores."""

from __future__ import annotations

from modicum.commands.memory.stores import is_milvus, open_store
from modicum.commands.output import counted
from modicum.commands.progress import progress
from modicum.configs import MemoryRebuild


def run(config: MemoryRebuild) -> int:
    """Make them anew beside the old ones, then in their place; always 0."""
    with open_store(config.store, readonly=True) as opened:
        items = len(opened)
    if is_milvus(config.store):
        print(f"{config.store}: Milvus keeps its index itself; there is nothing to rebuild")
        return 0
    from modicum.memory.opening import open_memory

    with progress("building"), open_memory(config.store, index=config.index) as memory:
        memory.rebuild()
        told = memory.stats().index
    print(f"rebuilt: {counted(items, 'item')}, index {told}")
    return 0

"""`modicum memory remove`: take items or a source out of a memory."""

from __future__ import annotations

from modicum.commands.memory.stores import chosen, open_store
from modicum.commands.output import counted
from modicum.configs import MemoryRemove


def run(config: MemoryRemove) -> int:
    """Remove in one commit and say how many are left; always 0."""
    with open_store(config.store) as opened:
        if config.source is not None and not config.names:
            removed = opened.remove_source(config.source)
        else:
            removed = opened.remove(chosen(opened, config.ids, config.source, config.names))
        print(f"removed {counted(removed, 'item')}; {len(opened):,} left, which answer as if these had never been there")
    return 0

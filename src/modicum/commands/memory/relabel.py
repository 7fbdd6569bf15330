"""`modicum memory relabel`: another label or text for items of a memory."""

from __future__ import annotations

from modicum.commands.memory.stores import chosen, open_store
from modicum.commands.output import counted
from modicum.configs import MemoryRelabel


def run(config: MemoryRelabel) -> int:
    """Relabel in one commit; always 0."""
    with open_store(config.store) as opened:
        ids = chosen(opened, config.ids, config.source, config.names)
        changed = opened.relabel(ids, config.label, text=config.text)
    told = [f"label {config.label!r}"] if config.label is not None else []
    told += [f"text {config.text!r}"] if config.text is not None else []
    print(f"relabelled {counted(changed, 'item')}: {', '.join(told)}")
    return 0

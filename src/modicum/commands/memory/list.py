"""`modicum memory list`: the items of a memory."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from modicum.commands.memory.stores import Opened, counts, open_store
from modicum.commands.output import counted, show_table
from modicum.configs import MemoryList
from modicum.memory.types import Item

_TEXT = 60  # characters of a text in the table


def record(item: Item) -> dict[str, Any]:
    """An item as result files write it."""
    return {key: getattr(item, key) for key in ("id", "label", "source", "name", "text", "time")}


def _row(item: Item) -> tuple[object, ...]:
    added = time.strftime("%Y-%m-%d %H:%M", time.localtime(item.time))
    text = item.text if item.text is None or len(item.text) <= _TEXT else item.text[:_TEXT] + "..."
    return item.id, item.label, item.source, item.name, text, added


def _total(config: MemoryList, opened: Opened) -> int:
    """How many items are asked for; only a source and a label together have to be counted."""
    sources, labels = counts(opened)
    if config.source is None:
        return sum(sources.values()) if config.label is None else labels.get(config.label, 0)
    if config.label is None:
        return sources.get(config.source, 0)
    return sum(1 for _ in opened.items(source=config.source, label=config.label))


def run(config: MemoryList) -> int:
    """Show the first items, write all where asked; always 0."""
    with open_store(config.store, readonly=True) as opened:
        items = opened.items(source=config.source, label=config.label)
        first = list(islice(items, config.rows))
        rest = [record(item) for item in items] if config.json else []
        left = len(rest) if config.json else _total(config, opened) - len(first)
        known = [list(count) for count in counts(opened)] if not first else []
    if first:
        show_table("", ("id", "label", "source", "name", "text", "added"), map(_row, first))
    if left:
        hint = "" if config.json else "; --json FILE writes all"
        print(f"... and {left:,} more{hint}" if first else counted(left, "item"))
    if not first and not left:
        print("no items" + _why(config, *known))
    if config.json:
        from modicum.files import write_json

        write_json(config.json, {"items": [record(item) for item in first] + rest})
        print(f"result: {config.json}")
    return 0


def _why(config: MemoryList, sources: list[Any], labels: list[Any]) -> str:
    """Why a selection is empty, with the nearest name there is."""
    from modicum.registry import suggest

    if not sources:
        return ": the memory is empty"
    for what, wanted, there in (("source", config.source, sources), ("label", config.label, labels)):
        if wanted is not None and wanted not in there:
            return f": there is no {what} {wanted!r}{suggest(wanted, [name for name in there if name])}"
    return " of that label in that source"

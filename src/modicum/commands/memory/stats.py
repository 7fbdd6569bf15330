"""`modicum memory stats`: what a memory holds."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modicum.commands.memory.stores import Opened, counts, open_store
from modicum.commands.output import readable, show_table, write_result
from modicum.configs import MemoryStats
from modicum.memory.store import Store
from modicum.memory.store_schema import size_of

_MOST = 20  # rows of a table


def _size(opened: Opened) -> int:
    """Bytes of everything that the memory keeps on this machine: database, vector file, index, encoder."""
    if isinstance(opened, Store):
        return sum(size_of(path) for path in Path(opened.folder).rglob("*"))
    return opened.stats().bytes_on_disk


def record(config: MemoryStats, opened: Opened) -> dict[str, Any]:
    """Facts and counts; labels as [name or null, count], largest first."""
    sources, labels = counts(opened)
    by_size = sorted(labels.items(), key=lambda item: (-item[1], item[0] or ""))
    return {
        "store": config.store, **asdict(opened.info), "items": sum(sources.values()), "sources": sources,
        "labels": [list(pair) for pair in by_size], "bytes": _size(opened),
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    """Print a record for people."""
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"])) if row["created"] else "unknown"
    encoder = (
        f"{row['encoder']} (fingerprint {row['fingerprint'][:12]})" if row["encoder"] else "none: embeddings of your own"
    )
    facts = [
        ("items", f"{row['items']:,}"), ("sources", f"{len(row['sources']):,}"), ("labels", f"{len(row['labels']):,}"),
        ("encoder", encoder), ("embeddings", f"{row['dim']:,} numbers, {row['metric']}"), ("made", made),
        ("on disk", readable(row["bytes"])),
    ]  # fmt: skip
    show_table("", ("", ""), facts)
    for column, counted in (("source", list(row["sources"].items())), ("label", row["labels"])):
        lines = [("(no label)" if name is None else name, f"{count:,}") for name, count in counted[:_MOST]]
        if len(counted) > _MOST:
            lines.append((f"... and {len(counted) - _MOST:,} more", f"{sum(count for _, count in counted[_MOST:]):,}"))
        if lines:
            show_table("", (column, "items"), lines)


def run(config: MemoryStats) -> int:
    """Show and write; always 0."""
    with open_store(config.store, readonly=True) as opened:
        row = record(config, opened)
    show(row)
    write_result(config.json, {"rows": [row]})
    return 0

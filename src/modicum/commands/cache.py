"""`modicum cache ls|clear`: the decoded pictures, unpacked zips and downloads kept under `MODICUM_CACHE`."""

from __future__ import annotations

import time

from modicum import configs
from modicum.commands.output import readable, show_table
from modicum.data.cache import clear, entries
from modicum.files import cache_dir


def run(config: configs.Cache) -> int:
    """List what the cache holds, or delete it; always 0."""
    if config.action == "clear":
        print(f"freed {readable(clear())} in {cache_dir()}")
        return 0
    kept = entries()
    stamps = [time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.written)) for entry in kept]
    rows = [(entry.name, readable(entry.size), stamp) for entry, stamp in zip(kept, stamps, strict=True)]
    if rows:
        show_table("", ("what", "size", "written"), rows)
    print(f"{readable(sum(entry.size for entry in kept))} in {cache_dir()}")
    return 0

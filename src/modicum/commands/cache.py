"""`modicum cache ls|clear`: the decoded pictures, unpacked zips and downloads kept under `MODICUM_CACHE`."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from modicum import configs
from modicum.data.cache import clear, entries
from modicum.files import cache_dir


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def run(config: configs.Cache) -> int:
    """List what the cache holds, or delete it; always 0."""
    console = Console()
    if config.action == "clear":
        console.print(f"freed {_size(clear())} in {cache_dir()}", markup=False, highlight=False, soft_wrap=True)
        return 0
    table = Table("what", "size", "written", box=None, header_style="bold")
    kept = entries()
    for entry in kept:
        table.add_row(entry.name, _size(entry.size), time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.written)))
    console.print(table)
    console.print(
        f"{_size(sum(entry.size for entry in kept))} in {cache_dir()}", markup=False, highlight=False, soft_wrap=True
    )
    return 0

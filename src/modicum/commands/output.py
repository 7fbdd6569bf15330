"""What a command prints on stdout: tables, lines and result files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose cells all are numbers are set flush right, None is shown as `-`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(cells) and all(row[index][:1] in "0123456789-.+" for row in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 200)
    with console.capture() as shown:
        console.print(table)
    print("\n".join(line.rstrip() for line in shown.get().strip("\n").splitlines() if terminal or line.strip()))


def percent(fraction: float | None, digits: int = 2) -> str:
    """`98.70 %` for 0.987, `-` for None."""
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"


def readable(count: int) -> str:
    """Bytes for people: `1.5 MiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def counted(count: int, what: str) -> str:
    """`1 item`, `1,000 items`."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def write_result(path: str | None, record: Mapping[str, Any]) -> None:
    """Write the JSON record of a command and say so; nothing where no file was asked for."""
    if path is None:
        return
    from modicum.files import write_json

    write_json(path, record)
    print(f"result: {path}")

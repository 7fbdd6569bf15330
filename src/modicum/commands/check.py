"""`modicum check DATA`: what is in a data set and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from modicum import configs
from modicum.commands.output import show_table, write_result
from modicum.commands.progress import progress
from modicum.data.checks import Inspection, inspect

_COLOURS = {"unsafe": "bold red", "warning": "yellow", "note": "dim"}
_MOST_CLASSES = 20


def record(data: str, inspection: Inspection) -> dict[str, Any]:
    """The inspection as the one row of a versioned record."""
    row = {
        "data": data,
        "name": inspection.name,
        "pictures": inspection.pictures,
        "classes": dict(inspection.classes),
        "sizes": dict(inspection.sizes),
        "looks": dict(inspection.looks),
        "splits": {split: len(classes) for split, classes in inspection.splits.items()},
        "split_rule": inspection.split_rule,
        "groups": inspection.groups,
        "safe": not inspection.unsafe,
        "findings": [asdict(finding) for finding in inspection.findings],
    }
    return {"rows": [row]}


def _show_counts(column: str, counts: Mapping[str, int], most: int = 100) -> None:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [(name, f"{count:,}") for name, count in ordered[:most]]
    if left := ordered[most:]:
        rows.append((f"... and {len(left):,} more of {left[-1][1]:,} to {left[0][1]:,}", f"{sum(n for _, n in left):,}"))
    show_table("", (column, "pictures"), rows)


def show(inspection: Inspection) -> None:
    """Print an inspection for people: what is in it, then what is wrong, the worst first."""
    groups = "" if inspection.groups is None else f", {inspection.groups:,} groups"
    print(f"{inspection.name}: {inspection.pictures:,} pictures of {len(inspection.classes):,} classes{groups}")
    if inspection.classes:
        _show_counts("class", inspection.classes, _MOST_CLASSES)
        _show_counts("size", inspection.sizes)
        _show_counts("format and mode", inspection.looks)
    console = Console(soft_wrap=True, highlight=False)
    if inspection.split_rule:
        console.print(Text(inspection.split_rule))
    for finding in inspection.findings:
        console.print(Text.assemble((finding.severity, _COLOURS[finding.severity]), ": ", finding.message))
    if inspection.unsafe:
        console.print(Text("Training on this would be unsafe.", "bold red"))
    else:
        console.print(Text("Nothing found that makes training unsafe.", "green"))


def run(config: configs.Check) -> int:
    """Examine, print, write the record where asked; 1 where training would be unsafe, else 0."""
    with progress("reading pictures") as tick:
        inspection = inspect(
            config.data, root=config.root, group=config.group, splits=config.splits, deep=config.deep, progress=tick
        )
    show(inspection)
    write_result(config.json, record(config.data, inspection))
    return 1 if inspection.unsafe else 0

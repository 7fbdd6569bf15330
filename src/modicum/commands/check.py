"""`modicum check DATA`: what is in a data set and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from modicum import configs
from modicum.data.checks import Inspection, inspect
from modicum.files import write_json

_COLOURS = {"unsafe": "bold red", "warning": "yellow", "note": "dim"}
_MOST_CLASSES = 30


def record(data: str, inspection: Inspection) -> dict[str, object]:
    """The inspection as one row of a versioned record."""
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


def _histogram(title: str, counts: dict[str, int]) -> Table:
    table = Table(title, "pictures", box=None, header_style="bold")
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def show(console: Console, inspection: Inspection) -> None:
    """Print an inspection for people."""
    groups = "" if inspection.groups is None else f", {inspection.groups:,} groups"
    console.print(f"{inspection.name}: {inspection.pictures:,} pictures of {len(inspection.classes):,} classes{groups}",
                  style="bold", markup=False)  # fmt: skip
    if inspection.classes:
        largest = dict(sorted(inspection.classes.items(), key=lambda item: -item[1]))
        shown = dict(list(largest.items())[:_MOST_CLASSES])
        console.print(_histogram("class", shown))
        if len(largest) > len(shown):
            values = sorted(largest.values())
            console.print(f"... and {len(largest) - len(shown):,} more; {values[0]} to {values[-1]} pictures a class")
        console.print(_histogram("size", dict(inspection.sizes)))
        console.print(_histogram("format and mode", dict(inspection.looks)))
    if inspection.split_rule:
        console.print(inspection.split_rule, markup=False)
    for finding in inspection.findings:
        console.print(f"{finding.severity}: ", style=_COLOURS[finding.severity], end="")
        console.print(finding.message, markup=False, highlight=False)
    if inspection.unsafe:
        console.print("Training on this would be unsafe.", style="bold red")
    else:
        console.print("Nothing here makes training unsafe.", style="green")


def run(config: configs.Check) -> int:
    """Examine, print, write the record where asked; 1 where training would be unsafe, else 0."""
    columns = (TextColumn("reading pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        inspection = inspect(
            config.data,
            root=config.root,
            group=config.group,
            splits=config.splits,
            deep=config.deep,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    show(Console(), inspection)
    if config.json is not None:
        write_json(config.json, record(config.data, inspection))
    return 1 if inspection.unsafe else 0

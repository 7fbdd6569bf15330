"""Predictions of a run on a table for the rows of another file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from modicum.training.tables.models import Near
from modicum.training.tables.runs import load_table_run, read_inputs

Values = tuple[float, ...]


class TableAnswers(NamedTuple):
    """rows: (prediction (O,), that before adaptation or None, what it rests on most) of every row; targets: their names."""

    targets: tuple[str, ...]
    rows: list[tuple[Values, Values | None, list[Near]]]


def predict_table(run: Path | str, path: Path | str, neighbours: int = 3) -> TableAnswers:
    """Predictions in the targets' own units for the rows of a CSV; neighbours: entries of the dictionary for each.

    Errors as `load_table_run` and `read_inputs`.
    """
    found = load_table_run(run)
    x = read_inputs(path, found)
    outputs = found.model.outputs.undo(found.model.outputs_of(x))
    before = outputs[0].tolist() if len(outputs) > 1 else [None] * len(x)
    near = found.model.nearest(x, neighbours) if neighbours else [[] for _ in range(len(x))]
    rows = [
        (tuple(after), None if first is None else tuple(first), entries)
        for after, first, entries in zip(outputs[-1].tolist(), before, near, strict=True)
    ]
    return TableAnswers(found.targets, rows)

"""Rows of a table: paper | ours +- interval | seeds | scale | status, from result files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from modicum.configs import Scale
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.recipes.recipe import Row

Status = Literal["reproduced", "reduced scale", "undecided", "not run"]
FEW_SEEDS = 3  # from here on the interval is over seeds, below over draws of tasks


@dataclass(frozen=True)
class TableRow:
    """A line of the table; accuracies are fractions. reason: why a row was not run, or what the status means."""

    recipe: str
    row: str
    paper: float | None
    paper_ci95: float | None
    ours: float | None
    ci95: float | None
    interval_over: str
    seeds: tuple[int, ...]
    scale: Scale
    status: Status
    reason: str

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """row, paper, ours +- interval, seeds, scale, status as the table prints them; `-` where there is none."""
        seeds = ", ".join(map(str, self.seeds)) or "-"
        paper, ours = _percent(self.paper, self.paper_ci95), _percent(self.ours, self.ci95)
        return self.row, paper, ours, seeds, self.scale, self.status


COLUMNS = ("row", "paper", "ours ± 95 % interval", "seeds", "scale", "status")


def _percent(value: float | None, radius: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" + ("" if radius is None else f" ± {100 * radius:.2f}")


def status_of(scale: Scale, paper: float | None, paper_ci95: float | None, ours: MeanInterval) -> tuple[Status, str]:
    """Status and what it means. `reproduced`: full scale, and |ours - paper| at most the sum of both radii."""
    if scale != "full":
        return "reduced scale", f"trained at scale {scale!r}: not comparable with a published number"
    if paper is None:
        return "undecided", "there is no published number"
    allowed = ours.ci95 + (paper_ci95 or 0.0)
    gap = ours.mean - paper
    if abs(gap) <= allowed:
        return "reproduced", "full scale, and the published number lies within both intervals"
    return "undecided", f"full scale, but {100 * gap:+.2f} points from the published number, {100 * allowed:.2f} allowed"


def combine(results: Sequence[Mapping[str, Any]]) -> MeanInterval:
    """Accuracy over seeds with its interval: over seeds where there are at least three, else over draws of tasks."""
    if len(results) >= FEW_SEEDS:
        accuracies = [float(result["accuracy"]) for result in results]
        return mean_interval(accuracies, f"{len(results)} training runs, each tested on its own draws of tasks")
    over = str(results[0]["interval_over"])
    if len(results) > 1:
        over += f", for each of {len(results)} training runs; other runs may differ by more"
    return mean_interval(np.concatenate([result["per_task"] for result in results]), over)


def table_row(recipe: str, row: Row, scale: Scale, results: Mapping[int, Mapping[str, Any]], reason: str = "") -> TableRow:
    """The line of one row from its finished results, seed -> record; `not run` with the reason where there is none."""
    seeds = tuple(sorted(results))
    if not seeds:
        why = reason or "no finished result"
        return TableRow(recipe, row.name, row.paper, row.paper_ci95, None, None, "-", (), scale, "not run", why)
    ours = combine([results[seed] for seed in seeds])
    status, meaning = status_of(scale, row.paper, row.paper_ci95, ours)
    why = f"{meaning}; {reason}" if reason else meaning
    return TableRow(
        recipe, row.name, row.paper, row.paper_ci95, ours.mean, ours.ci95, ours.over, seeds, scale, status, why
    )  # fmt: skip


def as_text(rows: Sequence[TableRow]) -> str:
    """The table as aligned text, with what the intervals are over and why rows were not run below it."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    overs = dict.fromkeys(row.interval_over for row in rows if row.ours is not None)
    reasons = dict.fromkeys(f"{row.status}: {row.reason}" for row in rows)
    return "\n".join([*text, "", *(f"interval over: {over}" for over in overs), *reasons])

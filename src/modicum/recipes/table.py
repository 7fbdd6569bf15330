"""Rows of a table: paper | ours +- interval | seeds | scale | status, from result files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from modicum.configs import Scale
from modicum.evaluation.intervals import mean_interval
from modicum.recipes.orders import FEW_SEEDS, FoundClaim, FoundOrder, value_of
from modicum.recipes.recipe import FRACTIONS, LOOKUPS, Kind, Row

Status = Literal["reproduced", "reduced scale", "undecided", "not run"]
Records = Mapping[int, Mapping[str, Any]]
"""Seed -> record of a finished row."""
TIMES = ("epoch_seconds", "train_seconds", *LOOKUPS[1:], "predict_ms", "layer_ms")


class Ours(NamedTuple):
    """Our number with the radius of its 95 % interval (None where there is none) and what that is over."""

    mean: float
    ci95: float | None
    over: str


@dataclass(frozen=True)
class TableRow:
    """A line of the table; accuracies are fractions, times seconds. reason: why a row was not run, or what the status means.

    setting: backbone and data of our model at this scale.
    """

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
    kind: Kind = "accuracy"
    setting: str = "-"

    def cells(self) -> tuple[str, ...]:
        """row, paper, ours +- interval, our backbone and data, seeds, scale, status as the table prints them."""
        seeds = ", ".join(map(str, self.seeds)) or "-"
        paper, ours = shown(self.kind, self.paper, self.paper_ci95), shown(self.kind, self.ours, self.ci95)
        return self.row, paper, ours, self.setting, seeds, self.scale, self.status


@dataclass(frozen=True)
class Table:
    """Rows, and what they say about the orders and claims of the paper. absent: published rows that are left out."""

    rows: tuple[TableRow, ...]
    orders: tuple[FoundOrder, ...] = ()
    claims: tuple[FoundClaim, ...] = ()
    absent: str = ""


COLUMNS = ("row", "paper", "ours ± 95 % interval", "ours with", "seeds", "scale", "status")


def shown(kind: Kind, value: float | None, radius: float | None) -> str:
    """A value with its radius in the unit of its kind, `-` for None."""
    if value is None:
        return "-"
    if kind in FRACTIONS:
        sign = "+" if kind == "gap" else ""
        return f"{100 * value:{sign}.2f} %" + ("" if radius is None else f" ± {100 * radius:.2f}")
    if kind == "changed":
        return f"{value:g}"
    if kind in ("bits", "file_bytes"):
        return f"{value:,.0f}" if kind == "file_bytes" else f"{value:g}"
    if kind in ("query_ms", "predict_ms", "layer_ms"):
        return f"{value:.3f}" + ("" if radius is None else f" ± {radius:.3f}") + " ms"
    if kind in TIMES:
        size, unit = (3_600, "h") if value >= 3_600 else (60, "min") if value >= 60 else (1, "s")
        return f"{value / size:.1f}" + ("" if radius is None else f" ± {radius / size:.1f}") + f" {unit}"
    if kind == "carry":
        return f"{value:.2f}" + ("" if radius is None else f" ± {radius:.2f}")
    if kind in ("rmse", "unit"):  # in any unit
        return f"{value:.4g}" + ("" if radius is None else f" ± {radius:.2g}")
    return f"{value:.3f}" + ("" if radius is None else f" ± {radius:.3f}")


def status_of(
    scale: Scale, paper: float | None, paper_ci95: float | None, ours: Ours, kind: Kind = "accuracy"
) -> tuple[Status, str]:
    """Status and what it means. `reproduced`: full scale, and |ours - paper| at most the sum of both radii."""
    if scale != "full":
        return "reduced scale", f"trained at scale {scale!r}: not comparable with a published number"
    if paper is None:
        return "undecided", "there is no published number"
    if kind in TIMES:
        return "undecided", "a time of another machine than the paper's"
    allowed = (ours.ci95 or 0.0) + (paper_ci95 or 0.0)
    gap = ours.mean - paper
    if abs(gap) <= allowed:
        return "reproduced", "full scale, and the two intervals meet"
    if kind in FRACTIONS:
        return "undecided", f"full scale, but {100 * gap:+.2f} points from the published number, {100 * allowed:.2f} allowed"
    return "undecided", f"full scale, but {gap:+.3f} from the published number, {allowed:.3f} allowed"


def combine(results: Sequence[Mapping[str, Any]]) -> Ours:
    """Our number over seeds with its interval: over seeds where there are at least three, else over draws of tasks.

    A number that is not a mean over draws (CKA, seconds) has no interval below three seeds.
    """
    values = [value_of(result) for result in results]
    if len(results) >= FEW_SEEDS:
        tested = ", each tested on its own draws of tasks" if "per_task" in results[0] else ""
        what = results[0].get("repeated")
        tested = f", each on one of {len(results)} {what}" if what else tested
        found = mean_interval(values, f"{len(results)} training runs{tested}")
        return Ours(found.mean, found.ci95, found.over)
    over = str(results[0]["interval_over"])
    if len(results) > 1:
        over += f", for each of {len(results)} training runs; other runs may differ by more"
    if "per_task" in results[0]:
        found = mean_interval(np.concatenate([result["per_task"] for result in results]), over)
        return Ours(found.mean, found.ci95, found.over)
    radii = [result["ci95"] for result in results]
    radius = None if None in radii else float(np.sqrt(np.square(radii).sum())) / len(radii)
    return Ours(float(np.mean(values)), radius, over)


def table_row(recipe: str, row: Row, scale: Scale, results: Records, reason: str = "", setting: str = "-") -> TableRow:
    """The line of one row from its finished results; `not run` with the reason where there is none."""
    seeds = tuple(sorted(results))
    paper = row.paper, row.paper_ci95
    if not seeds:
        why = reason or "no finished result"
        return TableRow(recipe, row.name, *paper, None, None, "-", (), scale, "not run", why, row.kind)
    ours = combine([results[seed] for seed in seeds])
    status, meaning = status_of(scale, *paper, ours, row.kind)
    why = f"{meaning}; {reason}" if reason else meaning
    mean, radius, over = ours
    return TableRow(recipe, row.name, *paper, mean, radius, over, seeds, scale, status, why, row.kind, setting)


def as_text(table: Table) -> str:
    """The table as aligned text; below it what intervals are over, why rows were not run, and what became of orders."""
    rows = table.rows
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    overs = dict.fromkeys(row.interval_over for row in rows if row.ours is not None)
    reasons = dict.fromkeys(f"{row.status}: {row.reason}" for row in rows)
    text += ["", *(f"interval over: {over}" for over in overs), *reasons]
    if table.absent:
        text.append(f"left out: {table.absent}")
    if table.orders:
        text += ["", f"orders the paper claims, and what our numbers at scale {rows[0].scale!r} say:"]
        text += [order.as_text() for order in table.orders]
    return "\n".join([*text, *(f"\n{claim.as_text()}" for claim in table.claims)])

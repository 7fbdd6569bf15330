"""Sub-category discovery, ready for a page: from the files of `training.neighborhoods.subcategories`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from modicum.reporting.figures import colour
from modicum.reporting.long_tail_edits import signed
from modicum.reporting.long_tail_rows import Cell, Row, cell, fraction
from modicum.reporting.neighborhoods_figures import vote_curves
from modicum.reporting.neighborhoods_rows import interval_told
from modicum.reporting.story import last_part, percent

KIND = "subcategories"
VECTORS = {
    "attention": "attention",
    "attention-root": "attention, by Hellinger's distance",
    "features": "features",
}


class VoteRow(NamedTuple):
    """Votes of pictures found by one vector. usual: the row that sentences name."""

    vector: str
    name: str
    colour: str
    votes: int
    fine: Cell
    coarse: Cell
    usual: bool


@dataclass(frozen=True)
class Subcategories:
    """One result. told: the usual rows in words. differences: (what minus what, votes, points, interval, decided)."""

    title: str
    fine: str
    classes: int
    fine_classes: int
    pictures: int
    voters: int
    over: str
    rows: list[VoteRow]
    figure: str | None
    told: str
    differences: list[tuple[str, int, str, str, bool]]
    record: Row


def read_subcategories(record: Row) -> Subcategories:
    """What a result file says; errors of a damaged one as they come, for the caller to name it."""
    usual, names = int(record["usual"]), list(VECTORS)
    order = sorted(record["rows"], key=lambda row: (names.index(row["vector"]), row["neighbours"]))
    rows = [
        VoteRow(
            row["vector"], VECTORS[row["vector"]], colour(names.index(row["vector"])), int(row["neighbours"]),
            cell(row["fine"], "accuracy"), cell(row["coarse"], "accuracy"), int(row["neighbours"]) == usual,
        )
        for row in order
    ]  # fmt: skip
    lines = [(names.index(vector), VECTORS[vector], _points([row for row in rows if row.vector == vector])) for vector in
             dict.fromkeys(row.vector for row in rows)]  # fmt: skip
    return Subcategories(
        title=f"{last_part(str(record['data']))} {record['split']}", fine=last_part(str(record["fine"])),
        classes=int(record["classes"]), fine_classes=int(record["fine_classes"]), pictures=int(record["pictures"]),
        voters=int(record["voters"]), over=str(order[0]["interval_over"]), rows=rows, figure=vote_curves(lines),
        told=_told(record, rows), record=record,
        differences=[_difference(found) for found in record["differences"] if found["labels"] == "fine"],
    )  # fmt: skip


def _points(rows: list[VoteRow]) -> list[tuple[int, float, float, float]]:
    found: list[tuple[int, float, float, float]] = []
    for row in rows:
        value, low, high = row.fine
        if value is not None:
            found.append((row.votes, value, value if low is None else low, value if high is None else high))
    return found


def _difference(found: Row) -> tuple[str, int, str, str, bool]:
    difference, radius = float(found["difference"]), fraction(found.get("ci95"))
    what = f"{VECTORS[found['later']]} minus {VECTORS[found['first']]}"
    told = interval_told(difference, radius)
    return what, int(found["neighbours"]), signed(difference), told, bool(found["excludes_zero"])


def _told(record: Row, rows: list[VoteRow]) -> str:
    """The usual rows of features and attention in a sentence."""
    shown = {row.vector: row for row in rows if row.usual}
    if "features" not in shown:
        return "-"
    votes = shown["features"].votes
    told = (
        f"{votes} training pictures vote with labels that training never saw. Found by features they are right for "
        f"{percent(shown['features'].fine.value)} of pictures"
    )
    if "attention" not in shown:
        return f"{told}."
    told += f", by attention for {percent(shown['attention'].fine.value)}"
    found: list[Any] = [gap for gap in record["differences"] if gap["labels"] == "fine" and gap["later"] == "attention"]
    for gap in found:
        if gap["neighbours"] == votes:
            interval = interval_told(float(gap["difference"]), fraction(gap.get("ci95")))
            undecided = "" if gap["excludes_zero"] else "; undecided"
            told += f": {signed(float(gap['difference']))} points" + (f" ({interval}{undecided})" if interval else "")
    return f"{told}."

"""Measured rows of Meta-Neighborhoods and its baselines as plain values: accuracy, what adaptation changed, the dictionary.

Rows are those of `training.neighborhoods.results`, the dictionary's numbers those of `training.neighborhoods.panels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from modicum.evaluation.long_tail import by_training_pictures
from modicum.reporting.figures import colour
from modicum.reporting.long_tail_edits import signed
from modicum.reporting.long_tail_figures import class_changes
from modicum.reporting.long_tail_rows import BucketHead, Cell, ClassRow, Row, bucket_heads, cell, cells, fraction, per_class
from modicum.reporting.neighborhoods_figures import accuracy_dots
from modicum.reporting.records import Array
from modicum.reporting.story import last_part

MAIN = {"none": "adapted", "vanilla": "vanilla", "parameters": "vanilla", "knn": "knn"}
"""--baseline -> the row of what a run predicts with."""


@dataclass(frozen=True)
class Branch:
    """One row. cells: all pictures, then many, medium and few where these differ. per_class (C,), NaN without pictures."""

    key: str
    name: str
    colour: str
    index: int
    main: bool
    accuracy: Cell
    balanced: Cell
    buckets: list[Cell]
    per_class: Array


class Change(NamedTuple):
    """What adaptation changed: pictures of which it corrected and spoiled some; interval: in points, "" for none."""

    first: str
    later: str
    pictures: int
    corrected: int
    spoiled: int
    difference: float
    interval: str
    decided: bool


class OfClass(NamedTuple):
    """Of one class: entries, those in use, their share of the attention."""

    name: str
    entries: int
    used: int
    usage: float


@dataclass(frozen=True)
class Dictionary:
    """Numbers about S entries; agreement: (which entries, share of nearest pictures of their class); guess: by chance.

    shares: (m, share of the attention of the m most used). sharpness: mean and 5, 50, 95 % quantiles of the class's
    probability. votes: share of pictures that the attention's mean of values names rightly.
    """

    entries: int
    effective: float
    carrying: int
    shares: list[tuple[str, float]]
    sharpness: float
    quantiles: list[float]
    near: int
    agreement: list[tuple[str, float]]
    agreed: float
    guess: float | None
    votes: float | None
    classes: list[OfClass]


@dataclass(frozen=True)
class Measured:
    """What one result file says. counts (C,): training pictures. heads: many, medium, few, empty where all are of one."""

    title: str
    over: str
    branches: list[Branch]
    heads: list[BucketHead]
    dots: str | None
    changes: list[Change]
    by_class: str | None
    classes: list[ClassRow]
    dictionary: Dictionary | None
    counts: Array
    record: Row

    @property
    def main(self) -> Branch | None:
        """The row of what the run predicts with."""
        return next((branch for branch in self.branches if branch.main), None)


def uneven(counts: Array) -> bool:
    """Whether classes differ so much in training pictures (C,) that balanced accuracy is worth a sentence of its own."""
    return bool(counts.max() > 1.5 * counts.min())


def row_name(key: str, record: Row) -> str:
    """A row in words."""
    if key.startswith("step-"):
        return f"after inner step {key.removeprefix('step-')}"
    if key == "vanilla" and record.get("baseline") == "parameters":
        return "with another layer, as many parameters"
    votes = record.get("neighbours")
    names = {"before": "before adaptation", "adapted": "adapted to each picture", "vanilla": "vanilla network"}
    return names.get(key, f"k-NN on features, {votes} votes" if key == "knn" and votes else key)


def read_measured(record: Row, classes: Sequence[str]) -> Measured:
    """What a result file says; classes: their names; errors of a damaged one as they come, for the caller to name it."""
    rows, main = record["rows"], MAIN.get(str(record.get("baseline", "none")), "adapted")
    counts = np.array(rows[0]["training_pictures"], np.int64)
    branches = []
    for index, row in enumerate(rows):
        values = per_class(row)
        if len(values) != len(counts) or len(classes) != len(counts):
            raise ValueError(f"a row of {len(values)} classes, {len(counts)} counts and {len(classes)} names")
        branches.append(
            Branch(
                key=row["branch"], name=row_name(row["branch"], record), colour=colour(index), index=index,
                main=row["branch"] == main, accuracy=cell(row, "accuracy"), balanced=cell(row, "balanced_accuracy"),
                buckets=cells(row)[:-1], per_class=values,
            )
        )  # fmt: skip
    heads = bucket_heads(rows[0])[:-1]
    spread = sum(bool(head.classes) for head in heads) > 1
    order = by_training_pictures(counts) if uneven(counts) else np.arange(len(counts))
    tested = record.get("test_pictures")
    return Measured(
        title=f"{last_part(str(record['data']))} {record['split']}",
        over=str(rows[0].get("interval_over") or "-"),
        branches=branches if spread else [replace(branch, buckets=[]) for branch in branches],
        heads=heads if spread else [],
        dots=accuracy_dots(["all pictures", "balanced"], dots_of([(b.index, b.name, b) for b in branches])),
        changes=[_change(found, record) for found in record.get("differences") or []],
        by_class=_changed_classes(branches, counts, order),
        classes=[_class_row(place, classes, counts, tested, branches) for place in order.tolist()],
        dictionary=_dictionary(record.get("dictionary"), classes, tested),
        counts=counts,
        record=record,
    )


def dots_of(rows: Sequence[tuple[int, str, Branch]]) -> list[tuple[int, str, list[tuple[float, float, float]]]]:
    """Rows of `accuracy_dots`, of branches that were measured: (colour index, name, all pictures and balanced)."""
    found = []
    for index, name, branch in rows:
        both = [(c.value, c.low, c.high) for c in (branch.accuracy, branch.balanced)]
        known = [(v, v if low is None else low, v if high is None else high) for v, low, high in both if v is not None]
        if len(known) == len(both):
            found.append((index, name, known))
    return found


def _class_row(place: int, classes: Sequence[str], counts: Array, tested: Any, branches: Sequence[Branch]) -> ClassRow:
    values = [fraction(float(branch.per_class[place])) for branch in branches]
    return ClassRow(classes[place], int(counts[place]), None if tested is None else int(tested[place]), values)


def _changed_classes(branches: Sequence[Branch], counts: Array, order: Array) -> str | None:
    """Change of each class's accuracy by adaptation; nothing where none changed."""
    found = {branch.key: branch.per_class for branch in branches}
    if "before" not in found or "adapted" not in found or not np.nansum(np.abs(found["adapted"] - found["before"])):
        return None
    return class_changes(
        counts[order], found["before"][order], found["adapted"][order], 1, "adapted minus before adaptation"
    )


def interval_told(difference: float, radius: float | None) -> str:
    """`-1.2 to +3.4`, in points, or "" where no interval is known."""
    return "" if radius is None else f"{signed(difference - radius)} to {signed(difference + radius)}"


def _change(found: Row, record: Row) -> Change:
    difference = float(found["difference"])
    return Change(
        row_name(found["first"], record), row_name(found["later"], record), int(found["pictures"]), int(found["gained"]),
        int(found["lost"]), difference, interval_told(difference, fraction(found.get("ci95"))), bool(found["excludes_zero"]),
    )  # fmt: skip


def _dictionary(found: Row | None, classes: Sequence[str], tested: Sequence[int] | None) -> Dictionary | None:
    if not found:
        return None
    agreement, each = found["agreement"], np.array(found["of_class"], np.float64)
    guess = None if not tested else float(each @ np.array(tested, np.float64) / each.sum() / sum(tested))
    columns = zip(classes, found["of_class"], found["of_class_in_use"], found["usage_of_class"], strict=True)
    return Dictionary(
        entries=int(found["entries"]), effective=float(found["effective"]), carrying=int(found["carrying_90"]),
        shares=[(str(m), float(share)) for m, share in found["shares"].items()],
        sharpness=float(found["sharpness"]["mean"]), quantiles=[float(q) for q in found["sharpness"]["quantiles"]],
        near=int(agreement["near"]),
        agreement=[("all entries", float(agreement["all"])), ("entries in use", float(agreement["in_use"])),
                   ("entries weighted by their attention", float(agreement["by_usage"]))],
        agreed=float(agreement["in_use"]), guess=guess, votes=fraction(found.get("votes")),
        classes=[OfClass(name, int(n), int(used), float(usage)) for name, n, used, usage in columns],
    )  # fmt: skip


def setup(record: Row) -> tuple[Any, ...]:
    """What may differ between evaluations of one run on the same pictures."""
    return (record["data"], record["split"], record.get("inner_steps"), record.get("neighbours"))


def distinct(found: Sequence[Measured]) -> list[Measured]:
    """Measurements with titles that tell those on the same pictures apart; of equal setups the last."""
    last = {setup(one.record): one for one in found}
    kept = []
    for (data, split, steps, votes), one in last.items():
        others = [key for key in last if key[:2] == (data, split) and key[2:] != (steps, votes)]
        words = [f"{steps} inner steps"] if any(key[2] != steps for key in others) else []
        words += [f"{votes} votes"] if any(key[3] != votes for key in others) else []
        kept.append(replace(one, title=", ".join([one.title, *words])))
    return kept

"""Measured rows of a classifier under a long tail, as plain values and their figures: by branch, bucket and class.

Rows are those of `evaluation.long_tail.LongTailResult.row` with a `branch`. What a file lacks is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from modicum.evaluation.long_tail import BUCKETS, FEW, MANY, WINDOW, bucket_of, by_training_pictures, moving_average
from modicum.reporting.figures import colour
from modicum.reporting.long_tail_figures import Dots, bucket_dots, class_curves
from modicum.reporting.records import Array
from modicum.reporting.story import last_part

Row = Mapping[str, Any]
BRANCHES = {"both": "both branches", "base": "base branch", "retrieval": "retrieval branch"}
VOTES = {
    "1-nn": "nearest item (1-NN)",
    "knn": "vote of the neighbours (k-NN)",
    "knn-interpolation": "votes mixed with the base branch",
}
ALONE = {"base": "base branch alone", "retrieval": "retrieval branch alone"}
RULES = {"many": f"> {MANY} pictures", "medium": f"{FEW} to {MANY}", "few": f"< {FEW}"}
ALL = "all"


class Cell(NamedTuple):
    """An accuracy with its 95 % interval; None for what was not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


class BucketHead(NamedTuple):
    """One column: its title, which classes are in it, how many, and their test pictures."""

    title: str
    rule: str
    classes: int | None
    pictures: int | None


class ClassRow(NamedTuple):
    """A class with its training pictures, its test pictures where the file says, and the accuracy by branch."""

    name: str
    train: int
    test: int | None
    values: list[float | None]


@dataclass(frozen=True)
class Branch:
    """One row. cells: of many, medium, few, all pictures. per_class (C,), NaN where a class has no test picture.

    main: whether this is what the run was trained to predict with.
    """

    key: str
    name: str
    colour: str
    main: bool
    cells: list[Cell]
    balanced: Cell
    per_class: Array


@dataclass(frozen=True)
class Measured:
    """What one result file says. counts (C,): training pictures."""

    title: str
    over: str
    branches: list[Branch]
    buckets: list[BucketHead]
    counts: Array
    dots: str | None
    curve: str | None
    window: int
    classes: list[ClassRow]
    record: Row

    @property
    def main(self) -> Branch | None:
        """The row of what the run predicts with."""
        return next((branch for branch in self.branches if branch.main), None)


def fraction(value: Any) -> float | None:
    """A number, or None where there is none."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def cell(row: Row, name: str) -> Cell:
    """The accuracy of that name with the interval the row gives, or with value +- radius inside [0, 1]."""
    value = fraction(row[name])
    stem = {"accuracy": "", "balanced_accuracy": "balanced_"}.get(name, f"{name}_")
    interval, radius = row.get(f"{stem}interval"), fraction(row.get(f"{stem}ci95"))
    if value is None:
        return Cell(None)
    if interval is not None:
        return Cell(value, float(interval[0]), float(interval[1]))
    return Cell(value) if radius is None else Cell(value, max(value - radius, 0.0), min(value + radius, 1.0))


def per_class(row: Row) -> Array:
    """Accuracy of each class (C,), NaN for none."""
    return np.array([np.nan if value is None else float(value) for value in row["per_class"]])


def branch_name(key: str, trained: str) -> str:
    """A branch, or a way of voting, in words; trained: the branches the run was trained with."""
    return ALONE[key] if trained == key and key in ALONE else BRANCHES.get(key) or VOTES.get(key, key)


def branch_order(rows: Iterable[Row]) -> list[Row]:
    """Rows with both branches first, then the base branch, the retrieval branch, and others as they come."""
    known = list(BRANCHES)
    return sorted(rows, key=lambda row: known.index(row["branch"]) if row["branch"] in known else len(known))


def branch_colours(rows: Sequence[Row]) -> list[int]:
    """Colour indices of rows: a branch has the same one on every page, others take those that are left."""
    known, others = list(BRANCHES), len(BRANCHES)
    found = []
    for row in rows:
        found.append(known.index(row["branch"]) if row["branch"] in known else others)
        others += row["branch"] not in known
    return found


def bucket_heads(row: Row) -> list[BucketHead]:
    """The columns, by one row; those of all pictures last."""
    pictures, every = row.get("bucket_pictures"), row["classes"]
    heads = [
        BucketHead(name, RULES[name], int(every[place]), None if pictures is None else int(pictures[place]))
        for place, name in enumerate(BUCKETS)
    ]
    return [*heads, BucketHead(ALL, "share of pictures", int(sum(every)), row.get("pictures"))]


def cells(row: Row) -> list[Cell]:
    """The row's accuracies in the order of `bucket_heads`."""
    return [*(cell(row, name) for name in BUCKETS), cell(row, "accuracy")]


def read_measured(record: Row, trained: str, classes: Sequence[str]) -> Measured:
    """What a result file says; classes: their names; errors of a damaged one as they come, for the caller to name it."""
    rows = branch_order(record["rows"])
    indices = branch_colours(rows)
    branches = [
        Branch(
            key=row["branch"], name=branch_name(row["branch"], trained), colour=colour(index), main=row["branch"] == trained,
            cells=cells(row), balanced=cell(row, "balanced_accuracy"), per_class=per_class(row),
        )
        for index, row in zip(indices, rows, strict=True)
    ]  # fmt: skip
    counts = np.array(rows[0]["training_pictures"], np.int64)
    if any(len(branch.per_class) != len(counts) for branch in branches) or len(classes) != len(counts):
        raise ValueError(f"rows of {len(branches[0].per_class)} classes, {len(counts)} counts and {len(classes)} names")
    window = class_window(len(counts))
    named = [(index, branch.name, dots(branch)) for index, branch in zip(indices, branches, strict=True)]
    pairs = zip(indices, branches, strict=True)
    lines = [(index, branch.name, branch.per_class) for index, branch in pairs if branch.key in BRANCHES]
    return Measured(
        title=f"{last_part(str(record['data']))} {record['split']}",
        over=str(rows[0].get("interval_over") or "-"),
        branches=branches,
        buckets=bucket_heads(rows[0]),
        counts=counts,
        dots=bucket_dots([*BUCKETS, "all pictures", "balanced"], named),
        curve=class_figure(counts, lines, window),
        window=window,
        classes=_classes(counts, classes, branches, record.get("test_pictures")),
        record=record,
    )


def setup(record: Row) -> tuple[tuple[str, str], ...]:
    """(what, in words) of all that may differ between evaluations of one run on the same pictures."""
    memory = record.get("memory") or {}
    tau = record.get("tau_norm")
    return (
        ("neighbours", f"{record.get('neighbours', '-')} neighbours"),
        ("tau", "" if tau is None else f"tau-normalised by {tau:g}"),
        ("memory", f"memory of {memory['items']:,} items, {str(memory.get('digest'))[:6]}" if "items" in memory else ""),
    )


def distinct(found: Sequence[Measured]) -> list[Measured]:
    """Measurements without those whose rows another file of the same setup has too; titles tell the rest apart."""
    keys = [(one.record["data"], one.record["split"], setup(one.record)) for one in found]
    best: dict[tuple[Any, ...], Measured] = {}
    for key, one in zip(keys, found, strict=True):
        if key not in best or len(one.branches) > len(best[key].branches):
            best[key] = one
    kept = []
    for (data, split, made), one in best.items():
        others = [other for where, name, other in best if (where, name) == (data, split)]
        words = [told for place, (_, told) in enumerate(made) if told and any(o[place][1] != told for o in others)]
        kept.append(replace(one, title=", ".join([one.title, *words])))
    return kept


def dots(branch: Branch) -> Dots:
    """Value and interval of each bucket, of all pictures, and balanced."""
    return [*branch.cells, branch.balanced]


def class_window(n: int) -> int:
    """Classes in a moving average: `WINDOW`, or a fifth of fewer than 100 classes, at least 3."""
    return int(np.clip(n // 5, 3, WINDOW))


def class_figure(counts: Array, rows: Sequence[tuple[int, str, Array]], window: int) -> str | None:
    """Figure 2 of rows (colour index, name, accuracy of each class (C,)) of classes with counts (C,) training pictures."""
    order = by_training_pictures(counts)
    lines = [
        (index, name, accuracy[order], moving_average(accuracy[order], window))
        for index, name, accuracy in rows
        if np.isfinite(accuracy).any()
    ]
    borders = (np.flatnonzero(np.diff(bucket_of(counts[order]))) + 1).tolist()
    return class_curves(counts[order], lines, borders, window)


def _classes(
    counts: Array, names: Sequence[str], branches: Sequence[Branch], tested: Sequence[int] | None
) -> list[ClassRow]:
    return [
        ClassRow(
            names[place], int(counts[place]), None if tested is None else int(tested[place]),
            [fraction(branch.per_class[place]) for branch in branches],
        )
        for place in by_training_pictures(counts).tolist()
    ]  # fmt: skip

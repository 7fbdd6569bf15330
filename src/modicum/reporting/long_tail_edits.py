"""What a change of the memory did to a classifier whose weights stayed: from the files of `training.memory_edits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modicum.evaluation.long_tail import BUCKETS, by_training_pictures
from modicum.reporting.figures import colour
from modicum.reporting.long_tail_figures import class_changes
from modicum.reporting.long_tail_rows import (
    BucketHead,
    Row,
    branch_colours,
    branch_name,
    branch_order,
    bucket_heads,
    cells,
    fraction,
    per_class,
)
from modicum.reporting.records import Array
from modicum.reporting.story import counted, last_part

KIND = "memory-edit"
LISTED = 12
"""Classes that a page lists: those that changed most."""


class Changed(NamedTuple):
    """A class that changed: its training pictures, and its accuracy before and after."""

    name: str
    train: int
    before: float
    after: float


class EditRow(NamedTuple):
    """A branch. cells: (before, after) of many, medium, few, all pictures, and balanced; None where there are no pictures.

    gained, lost: pictures that became right and wrong. interval: of the change of all pictures, in percentage points.
    """

    name: str
    colour: str
    cells: list[tuple[float, float] | None]
    gained: int
    lost: int
    interval: str


@dataclass(frozen=True)
class Edit:
    """One change of the memory. shown: the branch that the figure and the classes are about; all: which column has all."""

    title: str
    told: str
    pictures: int
    over: str
    buckets: list[BucketHead]
    rows: list[EditRow]
    figure: str | None
    shown: str
    changed: str
    classes: list[Changed]
    all: int = len(BUCKETS)


def read_edit(record: Row, trained: str, classes: Sequence[str]) -> Edit:
    """One edit; trained: the branches of the run, classes: names. Errors as they come, for the caller to name the file."""
    later = branch_order(record["rows"])
    earlier = {row["branch"]: row for row in record["before"]["rows"]}
    made, moved = record["edit"], {found["branch"]: found for found in record["changed"]}
    held, left = made["items"]
    counts = np.array(later[0]["training_pictures"], np.int64)
    places = {row["branch"]: place for place, row in enumerate(later)}
    main = later[places.get(trained, 0)]
    before, after = per_class(earlier[main["branch"]]), per_class(main)
    if not len(before) == len(after) == len(counts) == len(classes):
        raise ValueError(f"{len(before)}, {len(after)}, {len(counts)} and {len(classes)} classes")
    shown, order = branch_name(main["branch"], trained), by_training_pictures(counts)
    source = last_part(str(made["removed_source"])) or "(without a name)"
    listed, number = _changed(before, after, counts, classes)
    least = f" The {LISTED} that changed most:" if number > LISTED else ""
    return Edit(
        title=f"Without the source “{source}”: {last_part(str(record['data']))} {record['split']}",
        told=f"The memory held {held:,} items and holds {left:,} without this source; no weight was touched.",
        pictures=int(main["pictures"]),
        over=str(record.get("interval_over") or "-"),
        buckets=bucket_heads(later[0]),
        rows=[
            _row(branch_name(row["branch"], trained), index, earlier[row["branch"]], row, moved[row["branch"]])
            for index, row in zip(branch_colours(later), later, strict=True)
        ],
        figure=class_changes(counts[order], before[order], after[order], branch_colours([main])[0], shown),
        shown=shown[:1].upper() + shown[1:],
        changed=f"Of {counted(len(counts), 'class', 'classes')} the accuracy of {number} changed ({shown}).{least}",
        classes=listed,
    )


def signed(value: float) -> str:
    """A difference of fractions in percentage points with its sign, none where it rounds to 0."""
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "\u2212")


def _row(name: str, index: int, earlier: Row, later: Row, moved: Row) -> EditRow:
    before = [*(found.value for found in cells(earlier)), fraction(earlier["balanced_accuracy"])]
    after = [*(found.value for found in cells(later)), fraction(later["balanced_accuracy"])]
    pairs = [None if a is None or b is None else (a, b) for a, b in zip(before, after, strict=True)]
    difference, radius = float(moved["difference"]), fraction(moved.get("ci95"))
    sure = "" if radius is None else f"{signed(difference - radius)} to {signed(difference + radius)}"
    return EditRow(name, colour(index), pairs, int(moved["gained"]), int(moved["lost"]), sure)


def _changed(before: Array, after: Array, counts: Array, classes: Sequence[str]) -> tuple[list[Changed], int]:
    """The classes that changed most, and how many did at all."""
    difference = np.nan_to_num(after - before)
    order = np.argsort(-np.abs(difference), kind="stable")[: np.count_nonzero(difference)]
    return [
        Changed(classes[place], int(counts[place]), float(before[place]), float(after[place]))
        for place in order[:LISTED].tolist()
    ], len(order)  # fmt: skip

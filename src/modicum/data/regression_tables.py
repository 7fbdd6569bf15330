"""Tables for regression: CSV files whose rows are items, columns numbers, and one or several columns to predict.

How a file is read: `columns`.

Which rows test and which validate is said, in this order, by a file of folds (a column for each fold, not 0 where a row is a
test row of it), by a column `split` (train, val, test), or by shares under a seed. Where nothing says which rows validate,
they are a seeded share of all rows, taken from those that are left to train on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.data.columns import SPLIT, Columns, Floats, read_columns
from modicum.data.sources import SPLIT_FOLDERS
from modicum.errors import DataError
from modicum.registry import suggest
from modicum.runtime import philox

Ints = NDArray[np.int64]
LAST = "last"
PARTS = ("train", "val", "test")
FEWEST = 20
"""Rows that a table needs at least: fewer hold neither a validation nor a test part."""


class RegressionTable(NamedTuple):
    """x (n, D) inputs and y (n, O) targets as they stand in the file, float64; part (n,): 0 train, 1 val, 2 test.

    inputs, targets: names of the columns; rule: where the parts are from, in words.
    """

    name: str
    x: Floats
    y: Floats
    part: Ints
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    rule: str

    def rows(self, part: str) -> Ints:
        """Numbers of the rows of a part: train, val, test, or all."""
        return np.arange(len(self.x)) if part == "all" else np.flatnonzero(self.part == PARTS.index(part))

    def digest(self) -> str:
        """Hex digest of names, values and parts."""
        state = hashlib.sha256(json.dumps([self.inputs, self.targets]).encode())
        for values, kind in ((self.x, "<f8"), (self.y, "<f8"), (self.part, "<i8")):
            state.update(np.ascontiguousarray(values, dtype=kind).tobytes())
        return state.hexdigest()


class Held(NamedTuple):
    """Which rows are held out: fold `fold` of `fold_file`, else what the table says, else shares of all rows by the seed."""

    fold_file: str | None = None
    fold: int | None = None
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0


def target_names(target: str, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that --target means: a name, a number from 0, "last", or several of these with commas between.

    `DataError` for a column that is not there, with the nearest name, or that is named twice.
    """
    asked = [target] if target in names else [part.strip() for part in target.split(",")]
    found = []
    for each in asked:
        if each in names:
            found.append(each)
        elif each == LAST:
            found.append(names[-1])
        elif each.isdecimal() and int(each) < len(names):
            found.append(names[int(each)])
        else:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise DataError(f"target: there is no column {each!r}{suggest(each, names)}; there are: {shown}; or say last")
    if len(set(found)) < len(found):
        raise DataError(f"target: {target!r} names the same column twice")
    return tuple(found)


def read_regression_table(path: Path | str, target: str, held: Held = Held()) -> RegressionTable:  # noqa: B008
    """Read a table and say which rows train, validate and test.

    `DataError` where the file, its target or its folds cannot be used: fewer than 20 rows, a target with one value among the
    training rows, no inputs, no row to train on, folds of another number of rows.
    """
    columns = read_columns(path)
    values, name = columns.values, columns.path.name
    if len(values) < FEWEST:
        raise DataError(
            f"data: {name} has {len(values)} rows, expected at least {FEWEST}, some to validate and some to test"
        )
    targets = target_names(target, columns.names)
    inputs = tuple(each for each in columns.names if each not in targets)
    if not inputs:
        raise DataError(f"data: {name} has no columns besides the target {', '.join(targets)}")
    places = [columns.names.index(each) for each in targets]
    x, y = np.delete(values, places, 1), values[:, places]
    part, rule = parts(columns, held)
    for column, each in zip(y[part == 0].T, targets, strict=True):
        if len(np.unique(column)) == 1:
            raise DataError(f"target: column {each!r} of {name} is {column[0]:g} in all training rows: nothing to predict")
    return RegressionTable(name.removesuffix(".gz").removesuffix(".csv"), x, y, part, inputs, targets, rule)


def parts(columns: Columns, held: Held) -> tuple[Ints, str]:
    """part (n,) of every row, 0 train, 1 val, 2 test, and where that is from, in words; `DataError` as above."""
    count = len(columns.values)
    if held.fold_file is not None and held.fold is not None:
        part, told = (
            _fold(columns, held.fold_file, held.fold),
            f"test rows are fold {held.fold} of {Path(held.fold_file).name}",
        )
    elif columns.split is not None:
        part, told = _column(columns), f"the column {SPLIT!r} says which rows test"
    else:
        drawn = philox(held.seed, "table/test", 0).permutation(count)[: round(held.test * count)]
        part, told = np.where(np.isin(np.arange(count), drawn), 2, 0), f"{held.test:.0%} of the rows test, by the seed"
    if not (part == 1).any():
        free = np.flatnonzero(part == 0)
        chosen = philox(held.seed, "table/validation", 0).permutation(free)[: round(held.validation * count)]
        part[chosen] = 1
        told += f"; {held.validation:.0%} of all rows validate, by the seed, from those that do not test"
    if not (part == 0).any():
        raise DataError(f"data: {columns.path.name}: no rows are left to train on ({told})")
    return part.astype(np.int64), told


def _fold(columns: Columns, file: str, fold: int) -> Ints:
    """2 for the test rows of a fold, 0 for the others."""
    masks = read_columns(file, "fold_file")
    if len(masks.values) != len(columns.values):
        raise DataError(
            f"fold_file: {masks.path.name} has {len(masks.values)} rows, {columns.path.name} has {len(columns.values)}; "
            "expected one for each"
        )
    if fold >= masks.values.shape[1]:
        raise DataError(f"fold: {fold} asked for, but {masks.path.name} has {masks.values.shape[1]} folds, counted from 0")
    return np.where(masks.values[:, fold] != 0, 2, 0)


def _column(columns: Columns) -> Ints:
    """The parts that the column `split` says."""
    assert columns.split is not None
    named = [SPLIT_FOLDERS.get(cell.lower(), cell) for cell in columns.split]
    for row, name in enumerate(named):
        if name not in PARTS:
            line = row + columns.first
            raise DataError(
                f"data: {columns.path.name}, line {line}: column {SPLIT!r} holds {name!r}, expected train, val or test"
            )
    return np.array([PARTS.index(name) for name in named])

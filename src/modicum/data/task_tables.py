"""Tables of regression tasks: CSV or NPZ with a column of task names, a target, and inputs.

| column | is |
|---|---|
| `task` | which task a row belongs to: any text or number |
| the target, by name | what is to be predicted: a number |
| `split`, optional | train, val or test; the same in all rows of a task |
| all others | inputs: numbers |

In an NPZ file every array is a column of n rows; inputs and target may hold several numbers a row, (n, D). Values are
taken as they are: nothing is scaled. Without the column `split`, tasks are split 64/16/20 per cent by the seed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.data.sources import SPLIT_FOLDERS
from modicum.data.splits import Splits, by_rule
from modicum.data.tables import read_table
from modicum.errors import DataError
from modicum.registry import suggest

TASK, SPLIT = "task", "split"
Columns = Mapping[str, NDArray[np.generic]]


class TaskTable(NamedTuple):
    """task (n,): the task of each row, 0..T-1, in order of `names`; x (n, D) and y (n, O) float64.

    inputs: names of the input columns. splits: split -> names of its tasks, and where these are from in words.
    """

    name: str
    task: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    names: tuple[str, ...]
    inputs: tuple[str, ...]
    splits: Splits
    split_rule: str

    def digest(self) -> str:
        """Hex digest of values, tasks and splits."""
        state = hashlib.sha256(json.dumps([self.names, self.inputs, dict(self.splits)]).encode())
        for part, kind in ((self.task, "<i8"), (self.x, "<f8"), (self.y, "<f8")):
            state.update(np.ascontiguousarray(part, dtype=kind).tobytes())
        return state.hexdigest()

    def part(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
        """task (m,) from 0, x, y and names of the tasks of one split; `DataError` where it has none."""
        wanted = self.splits.get(split, ())
        if not wanted:
            raise DataError(f"split: {self.name} has no tasks for {split!r}; it has: {', '.join(self.splits)}")
        place = {self.names.index(name): new for new, name in enumerate(wanted)}
        keep = np.isin(self.task, list(place))
        return np.array([place[t] for t in self.task[keep].tolist()]), self.x[keep], self.y[keep], wanted


def read_tasks(path: Path | str, target: str, seed: int = 0) -> TaskTable:
    """Read a table of tasks; target: its column to predict; seed: of the split of tasks where the table has none.

    `DataError` names the column, row or task that is wrong: a missing column, a cell that is no finite number, a task in
    two splits.
    """
    path = Path(path)
    columns = _npz_columns(path) if path.suffix.lower() == ".npz" else _csv_columns(path)
    for name in (TASK, target):
        if name not in columns:
            raise DataError(
                f"{'target' if name == target else 'data'}: {path.name} has no column {name!r}{suggest(name, columns)}; "
                f"it has: {', '.join(columns)}"
            )
    inputs = tuple(name for name in columns if name not in (TASK, SPLIT, target))
    if not inputs:
        raise DataError(f"data: {path.name} has no input columns besides {TASK!r} and the target {target!r}")
    names, task = np.unique(columns[TASK].astype(str), return_inverse=True)
    known = tuple(str(name) for name in names)
    x = np.concatenate([_numbers(path, name, columns[name]) for name in inputs], 1)
    splits, rule = _splits(path, columns, task, known, seed)
    y = _numbers(path, target, columns[target])
    return TaskTable(path.stem, task.astype(np.int64), x, y, known, inputs, splits, rule)


def _csv_columns(path: Path) -> Columns:
    table = read_table(path)
    if table.problems:
        first = table.problems[0]
        raise DataError(f"data: {first.path}: {first.message}; every row of a table of tasks needs all its cells")
    if not table.rows:
        raise DataError(f"data: {path.name} has a header and no rows")
    return {name: np.array([cells[name] for _, cells in table.rows]) for name in table.columns}


def _npz_columns(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"data: {path} cannot be read as an NPZ file of plain arrays ({error})") from error
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    if len(set(rows.values())) != 1 or not all(rows.values()):
        listed = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise DataError(f"data: {path.name}: expected arrays of equally many rows, found {listed or 'none'}")
    return columns


def _numbers(path: Path, name: str, column: NDArray[np.generic]) -> NDArray[np.float64]:
    """A column as numbers (n, D); `DataError` with the first row that is none or not finite."""
    try:
        values = column.astype(np.float64)
    except ValueError:
        bad = next(i for i, cell in enumerate(column.tolist()) if not _is_number(cell))
        raise DataError(
            f"data: {path.name}: column {name!r} holds {str(column[bad])!r} in row {bad + 1}, expected numbers; leave out "
            "columns that are no inputs"
        ) from None
    values = values.reshape(len(values), -1)
    finite = np.isfinite(values).all(1)
    if not finite.all():
        bad = int(finite.argmin())
        raise DataError(f"data: {path.name}: column {name!r} is not finite in row {bad + 1}; leave that row out")
    return values


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _splits(path: Path, columns: Columns, task: NDArray[np.int64], names: tuple[str, ...], seed: int) -> tuple[Splits, str]:
    if SPLIT not in columns:
        return by_rule(names, seed, "tasks")
    found: dict[str, str] = {}
    for place, cell in zip(task.tolist(), columns[SPLIT].astype(str).tolist(), strict=True):
        split = SPLIT_FOLDERS.get(cell.lower(), cell)
        if split not in ("train", "val", "test"):
            raise DataError(f"data: {path.name}: column {SPLIT!r} holds {cell!r}, expected train, val or test")
        if found.setdefault(names[place], split) != split:
            raise DataError(f"data: {path.name} puts task {names[place]!r} into {found[names[place]]!r} and into {split!r}")
    splits = {split: tuple(n for n in names if found[n] == split) for split in ("train", "val", "test")}
    told = ", ".join(f"{len(part)} {split}" for split, part in splits.items())
    return {split: part for split, part in splits.items() if part}, f"tasks split by the column {SPLIT!r}: {told}"

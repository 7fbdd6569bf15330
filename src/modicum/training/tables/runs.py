"""A run on a table read back: its model at the best validation, or fitted again from the rows that the run knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modicum.configs import Train
from modicum.configs.neighborhoods import is_table
from modicum.configs.tables import WITHOUT_STEPS
from modicum.data.columns import Columns, Floats, read_columns
from modicum.data.regression_tables import RegressionTable
from modicum.data.standardising import Scaling
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.registry import suggest
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.runs import read_record
from modicum.training.tables.models import AbstractTableModel
from modicum.training.tables.networks import build_table_network
from modicum.training.tables.subject import open_table


class TableRun(NamedTuple):
    """model with its configuration and record, which has the `step` of the weights (None for one fitted at once)."""

    model: AbstractTableModel
    config: Train
    record: dict[str, Any]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input columns."""
        return tuple(self.record["table"]["inputs"])

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns that are predicted."""
        return tuple(self.record["table"]["targets"])


def is_table_run(run: Path | str) -> bool:
    """Whether a run was trained on the rows of a table; errors as `read_record`."""
    return is_table(read_record(run)[0])


def own_table(config: Train, record: dict[str, Any], run: Path | str) -> RegressionTable:
    """The table that a run was trained on; `ConfigError` where it has changed since."""
    table = open_table(config)
    if table.digest() != record["data"]["digest"]:
        raise ConfigError(
            f"data: {config.data} has changed since {run} was trained on it, so test rows may have been seen; restore it, "
            "or train anew"
        )
    return table


def load_table_run(run: Path | str) -> TableRun:
    """A run on a table, ready to answer; `FileFormatError` where it is damaged or has no checkpoint yet.

    k-NN and trees read the table that they were fitted on: `DataError`, `ConfigError` where it is not there or has changed.
    """
    run = Path(run)
    config, record = read_record(run)
    if not is_table(config):
        raise ConfigError(f"{run}: was trained on pictures or tasks, expected a run on the rows of a table")
    if config.baseline in WITHOUT_STEPS:
        from modicum.training.tables.baselines import fitted

        model = fitted(config, own_table(config, record, run), record["choice"])
        return TableRun(model, config, {**record, "step": None})
    path = run / BEST if (run / BEST).is_file() else run / LAST
    if not path.is_file():
        raise FileFormatError(f"{run}: has no checkpoint yet; train it first, or let it reach its first validation")
    tensors, found = read_checkpoint(path)
    nothing = [
        Scaling(np.zeros(len(names)), np.ones(len(names)))
        for names in (record["table"]["inputs"], record["table"]["targets"])
    ]
    network = build_table_network(config, nothing[0], nothing[1])
    restore_learner(network, tensors, path)
    return TableRun(network.eval(), config, {**record, "step": found["step"]})


def inputs_in(columns: Columns, run: TableRun) -> Floats:
    """The inputs (n, D) of a run in the columns of another file: by name, else by place where no column has a name.

    A file without names has the inputs alone, in the table's order, or all columns of the table. `DataError` names the first
    column that is missing.
    """
    inputs, names = run.inputs, columns.names
    if len(names) == len(inputs) and all(name.isdecimal() for name in names):
        return columns.values
    for name in inputs:
        if name not in names:
            raise DataError(f"data: {columns.path.name} has no column {name!r}{suggest(name, names)}, which the run reads; "
                            f"there are: {', '.join(names[:12])}")  # fmt: skip
    return columns.values[:, [names.index(name) for name in inputs]]


def read_inputs(path: Path | str, run: TableRun) -> Floats:
    """The inputs (n, D) of the rows of a file; `DataError` as `read_columns` and `inputs_in`."""
    return inputs_in(read_columns(path), run)

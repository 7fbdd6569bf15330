"""Evaluation of a run on a table: root mean squared error of its rows, before adaptation and after each inner step.

    RMSE = sqrt(mean over rows and targets of the squared error)

in the targets' own units, and with every target in standard deviations of its training rows. The 95 % interval is the normal
one of the mean squared error over rows (Student's t), its ends mapped by the square root; its longer arm is `ci95`.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modicum.configs import Evaluate, require
from modicum.data.columns import Floats, read_columns
from modicum.data.regression_tables import RegressionTable
from modicum.errors import ConfigError, DataError
from modicum.evaluation.intervals import mean_interval, student_quantile
from modicum.files import write_bytes, write_json
from modicum.training.tables.runs import TableRun, inputs_in, load_table_run, own_table
from modicum.training.tables.subject import open_table

TAKEN = ("run", "data", "root", "split", "device", "json", "pictures", "seed")
"""Options of `evaluate` that a run on a table takes; seed and pictures change nothing."""
SHOWN_ROWS = 2_000
"""Rows at most, evenly over all, whose predictions are kept for the report."""


class RootMean(NamedTuple):
    """sqrt of a mean of squares, with a 95 % interval of lower to upper."""

    value: float
    lower: float
    upper: float

    @property
    def radius(self) -> float:
        """The longer arm."""
        return max(self.value - self.lower, self.upper - self.value)


def root_mean(squares: Floats) -> RootMean:
    """The root of the mean of squared errors (n,) with its interval over rows; `DataError` for fewer than 2 rows."""
    found = mean_interval(squares, "rows")
    ends = (max(found.mean - found.ci95, 0.0), found.mean + found.ci95)
    return RootMean(math.sqrt(found.mean), *(math.sqrt(end) for end in ends))


def branches(run: TableRun) -> list[str]:
    """What the outputs of a run are called: before, step-1, ..., adapted; or the baseline's name alone."""
    if run.config.baseline != "none":
        return [run.config.baseline]
    return ["before", *(f"step-{step}" for step in range(1, run.config.inner_steps)), "adapted"]


def row_of(branch: str, errors: Floats, deviation: Floats, names: tuple[str, ...]) -> dict[str, Any]:
    """A row of a result from standardised errors (n, O) and the deviations (O,) of the targets."""
    own = np.square(errors * deviation)
    whole, standard = root_mean(own.mean(1)), root_mean(np.square(errors).mean(1))
    each = [(name, root_mean(own[:, place]), float(deviation[place])) for place, name in enumerate(names)]
    return {
        "branch": branch,
        "rmse": whole.value, "lower": whole.lower, "upper": whole.upper, "ci95": whole.radius,
        "stderr": whole.radius / student_quantile(len(errors) - 1),
        "standardised": standard.value, "standardised_ci95": standard.radius, "rows": len(errors),
        "targets": [
            {"name": name, "rmse": found.value, "ci95": found.radius, "standardised": found.value / unit}
            for name, found, unit in each
        ],
    }  # fmt: skip


def check_evaluation(config: Evaluate) -> None:
    """Raise `ConfigError` for options that a run on a table has no use for."""
    usual = Evaluate(run=config.run)
    given = [field.name for field in fields(config) if getattr(config, field.name) != getattr(usual, field.name)]
    foreign = [name for name in given if name not in TAKEN]
    require(not foreign, f"{', '.join(foreign)}: not for a run on the rows of a table, as {config.run} is; leave it out")


def _own_table(config: Evaluate, run: TableRun) -> RegressionTable | None:
    """The table that a run was trained on, also where `data` names it by another path or a copy; None for another one."""
    if config.data is None or config.data == run.config.data:
        return own_table(run.config, run.record, config.run)
    try:
        table = open_table(replace(run.config, data=config.data))
    except (ConfigError, DataError):  # nothing that this run could have been trained on
        return None
    return table if table.digest() == run.record["data"]["digest"] else None


def tested_rows(config: Evaluate, run: TableRun) -> tuple[Floats, Floats, str, str]:
    """x (n, D), y (n, O), name of the table, and which rows these are in words; `ConfigError`, `DataError`.

    Of another table than the run's, and than a copy of it, all rows are tested.
    """
    table = _own_table(config, run)
    if table is not None:
        rows = table.rows(config.split)
        if len(rows) < 2:
            raise DataError(
                f"split: {table.name} has {len(rows)} rows for {config.split!r} ({table.rule}), expected at least 2"
            )
        return table.x[rows], table.y[rows], table.name, f"{config.split} rows of {table.name}"
    assert config.data is not None
    columns = read_columns(config.data)
    missing = [name for name in run.targets if name not in columns.names]
    if missing:
        raise DataError(f"data: {columns.path.name} has no column {missing[0]!r}, the target of {config.run}; "
                        f"there are: {', '.join(columns.names[:12])}")  # fmt: skip
    y = columns.values[:, [columns.names.index(name) for name in run.targets]]
    name = columns.path.name.removesuffix(".gz").removesuffix(".csv")
    return inputs_in(columns, run), y, name, f"rows of {name}, all of them"


def evaluate_table(config: Evaluate) -> dict[str, Any]:
    """Rows of root mean squared error, one for each branch; also written to RUN/results/ with predictions for the report.

    `ConfigError`, `DataError` where options or the table do not fit, `FileFormatError`, `WriteError`.
    """
    check_evaluation(config)
    run = load_table_run(config.run)
    x, y, name, told = tested_rows(config, run)
    outputs, scaling = run.model.outputs_of(x), run.model.outputs
    errors = outputs - scaling.apply(y)  # (K, n, O)
    rows = [
        row_of(branch, found, scaling.deviation, run.targets) for branch, found in zip(branches(run), errors, strict=True)
    ]
    result = {
        "kind": "evaluate", "measure": "rmse", "run": Path(config.run).name, "data": name, "split": config.split,
        "method": run.config.method, "baseline": run.config.baseline, "backbone": run.config.backbone,
        "steps": run.record["step"], "interval_over": f"the {len(x):,} {told}, with this one training", "rows": rows,
        "mean_of_training": row_of("mean", -scaling.apply(y), scaling.deviation, run.targets),
    }  # fmt: skip
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), SHOWN_ROWS)).round().astype(np.int64))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, table_true=y[some], table_predicted=scaling.undo(outputs[[0, -1]][:, some]))
    write_bytes(Path(config.run) / "artifacts.npz", buffer.getvalue())
    file = re.sub(r"[^\w.-]+", "_", f"{name}-{config.split}-rmse") + ".json"
    write_json(Path(config.run) / "results" / file, result)
    if config.json:
        write_json(config.json, result)
    return {"schema": 1, **result}

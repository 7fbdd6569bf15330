"""Baselines of a table that take no steps: k nearest rows, and gradient-boosted trees, both of scikit-learn.

What was chosen on the validation rows stands in RUN/config.json; the model itself is not stored (nothing is pickled) but
fitted again from the same training rows, which the run knows by their digest, and gives the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.neighbors import NearestNeighbors

from modicum.configs import Train, require
from modicum.configs.usual import is_usual
from modicum.data.regression_tables import RegressionTable
from modicum.data.standardising import Floats, scaling_of
from modicum.evaluation.intervals import mean_interval
from modicum.files import make_folder
from modicum.training.logs import RunLog
from modicum.training.runs import environment, read_record, require_same, require_same_data, write_run
from modicum.training.tables.models import AbstractTableModel, Near
from modicum.training.tables.subject import table_record

TRIED = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)
"""Numbers of neighbours that are tried on the validation rows; without these the third."""
TREES, ROUNDS, USUAL_TREES = 1_000, 10, 100
"""Boosting rounds at most, rounds without a better validation loss before the end, and rounds without validation rows."""


class _Standardised(AbstractTableModel):
    """Training rows (n, D) and (n, O), standardised by themselves."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self.inputs, self.outputs = scaling_of(x), scaling_of(y)
        self.x, self.y = self.inputs.apply(x), self.outputs.apply(y)


@final
class NearestRows(_Standardised):
    """The mean target of the k nearest training rows; rows (n,): their numbers in the table."""

    def __init__(self, x: Floats, y: Floats, rows: np.ndarray, neighbours: int) -> None:
        super().__init__(x, y)
        self.rows, self.neighbours = rows, neighbours
        self.search = NearestNeighbors(n_neighbors=neighbours).fit(self.x)

    def found(self, x: Floats, most: int) -> np.ndarray:
        """Places (n, most) of the nearest training rows, the nearest first."""
        return np.asarray(self.search.kneighbors(self.inputs.apply(x), most, return_distance=False))

    def outputs_of(self, x: Floats) -> Floats:
        """Standardised outputs (1, n, O)."""
        return np.asarray(self.y[self.found(x, self.neighbours)].mean(1)[np.newaxis])

    def nearest(self, x: Floats, count: int) -> list[list[Near]]:
        """The nearest training rows, each of weight 1 / k."""
        values, weight = self.outputs.undo(self.y), 1 / self.neighbours
        return [
            [Near(int(self.rows[place]), weight, tuple(values[place].tolist())) for place in places]
            for places in self.found(x, min(count, self.neighbours))
        ]


@final
class Trees(_Standardised):
    """Gradient-boosted trees for each target, with these numbers of boosting rounds."""

    def __init__(self, x: Floats, y: Floats, rounds: Sequence[int], seed: int) -> None:
        super().__init__(x, y)
        self.models = [
            HistGradientBoostingRegressor(max_iter=count, early_stopping=False, random_state=seed).fit(self.x, column)
            for count, column in zip(rounds, self.y.T, strict=True)
        ]

    def outputs_of(self, x: Floats) -> Floats:
        """Standardised outputs (1, n, O)."""
        z = self.inputs.apply(x)
        return np.stack([model.predict(z) for model in self.models], -1)[np.newaxis]


def chosen(config: Train, table: RegressionTable) -> dict[str, Any]:
    """What the validation rows choose: {"neighbours": k} or {"rounds": [one for each target]}."""
    train, validation = table.rows("train"), table.rows("val")
    x, y = table.x[train], table.y[train]
    if config.baseline == "trees":
        return {"rounds": _rounds(x, y, table.x[validation], table.y[validation], config.seed)}
    if not is_usual(config.neighbours):
        k = int(config.neighbours)
        require(k <= len(train), f"neighbours: {k} asked for, but there are {len(train)} training rows")
        return {"neighbours": k}
    most = min(len(train), TRIED[-1])
    if not len(validation):
        return {"neighbours": min(TRIED[2], most)}
    model = NearestRows(x, y, train, most)
    near = model.y[model.found(table.x[validation], most)]  # (n, most, O)
    means = near.cumsum(1) / np.arange(1, most + 1)[:, np.newaxis]
    errors = np.square(means - model.outputs.apply(table.y[validation])[:, np.newaxis]).mean((0, 2))  # (most,)
    return {"neighbours": min((k for k in TRIED if k <= most), key=lambda k: float(errors[k - 1]))}


def _rounds(x: Floats, y: Floats, x_val: Floats, y_val: Floats, seed: int) -> list[int]:
    """Boosting rounds of every target: as many as brought the validation loss down, not more than `TREES`."""
    if not len(x_val):
        return [USUAL_TREES] * y.shape[1]
    inputs, outputs = scaling_of(x), scaling_of(y)
    found = []
    for column, held in zip(outputs.apply(y).T, outputs.apply(y_val).T, strict=True):
        model = HistGradientBoostingRegressor(
            max_iter=TREES, early_stopping=True, n_iter_no_change=ROUNDS, random_state=seed
        ).fit(inputs.apply(x), column, X_val=inputs.apply(x_val), y_val=held)
        scores = np.asarray(model.validation_score_)  # before the first round and after each, the higher the better
        found.append(max(1, int(scores.argmax())))
    return found


def fitted(config: Train, table: RegressionTable, choice: dict[str, Any]) -> AbstractTableModel:
    """The model of a choice, from the training rows of a table."""
    rows = table.rows("train")
    x, y = table.x[rows], table.y[rows]
    if config.baseline == "trees":
        return Trees(x, y, choice["rounds"], config.seed)
    return NearestRows(x, y, rows, choice["neighbours"])


def fit_baseline(config: Train, table: RegressionTable) -> float | None:
    """Choose, fit, and leave RUN/config.json and RUN/log.jsonl; mean squared error of the validation rows, standardised.

    None without validation rows. Where the run is there already, what its record says; `ConfigError` where it has other
    options or data.
    """
    run, start = Path(config.out), time.monotonic()
    if (run / "config.json").exists():
        before, record = read_record(run)
        require_same(before, config)
        require_same_data(record, table.digest(), run)
        return None if record["validation"] is None else float(record["validation"])
    choice = chosen(config, table)
    model, rows = fitted(config, table, choice), table.rows("val")
    errors = np.square(model.outputs_of(table.x[rows])[0] - model.outputs.apply(table.y[rows])).mean(1) if len(rows) else []
    interval = mean_interval(errors, "validation rows") if len(rows) > 1 else None
    make_folder(run)
    log = RunLog(run, 0, False)
    if interval is not None:
        log.write("validation", 0, {"mse": interval.mean, "ci95": interval.ci95})
    seconds = round(time.monotonic() - start, 3)
    log.close()
    note = "" if interval is not None else "no rows held out for validation: nothing was chosen by them"
    mean = None if interval is None else interval.mean
    own = {"choice": choice, "validation": mean, "seconds": seconds, "note": note}
    write_run(run, config, {**table_record(table), **own, "environment": environment(torch.device("cpu"))})
    return mean

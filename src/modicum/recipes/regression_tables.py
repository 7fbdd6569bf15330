"""Rows of recipes whose models are trained on one table: where the table lies, which fold a seed is, and what is measured.

A table is named relative to the root (`uci/wine.data.csv.gz`). Of one with a file of folds seed i is fold i, so a row over
the seeds 0 to 9 is over its ten folds; of one without, a seed draws test and validation rows. Network and batches are drawn
by the seed, too.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modicum.configs import Evaluate, Train
from modicum.configs.tables import WITHOUT_STEPS
from modicum.errors import DataError
from modicum.recipes.recipe import Row


def on_table(options: Train, seed: int, root: str | None) -> Train:
    """The options with their files under the root and the fold of a seed; `DataError` where a file is not there."""
    found = replace(options, data=_file(options.data, root))
    if options.fold_file is None:
        return found
    return replace(found, fold_file=_file(options.fold_file, root), fold=seed)


def _file(name: str, root: str | None) -> str:
    from modicum.data.benchmarks import data_root

    top = data_root(root)
    if top is None or not (top / name).is_file():
        looked = "no root was given" if top is None else f"there is no {top / name}"
        raise DataError(f"data: {name} was not found: {looked}; give the folder above it with --root or MODICUM_DATA")
    return str(top / name)


def shown_setting(options: Train) -> str:
    """Model and table in a line."""
    return f"{options.baseline if options.baseline in WITHOUT_STEPS else options.backbone}, {options.data}"


def measure_rmse(row: Row, run: Path) -> dict[str, Any]:
    """The parts of a record: RMSE of the test rows after adaptation in the target's units, and all that `evaluate` says.

    `root_mean_squares` are one for each branch; `value` is the last one's.
    """
    from modicum.recipes.measuring import portable
    from modicum.training.runs import read_record
    from modicum.training.tables.results import evaluate_table

    test = Evaluate(run=str(run), split=row.split)
    measured = evaluate_table(test)
    config, record = read_record(run)
    last = measured["rows"][-1]
    repeated = "folds" if config.fold is not None else "random splits"
    return {
        "evaluate": portable(asdict(test)), "value": last["rmse"], "ci95": last["ci95"], "stderr": last["stderr"],
        "interval_over": measured["interval_over"], "repeated": repeated, "steps": measured["steps"], "parts":
        record["data"]["parts"], "standardised": last["standardised"], "root_mean_squares": measured["rows"],
        "mean_of_training": measured["mean_of_training"], "choice": record.get("choice"),
        "parameters": record.get("parameters"),
    }  # fmt: skip

"""Rows of runs of rac: accuracy of a branch over all classes or those of a bucket, and what one branch has over another.

| bucket | is |
|---|---|
| all | the mean over classes, 1 - BE / C (eq. 1); on balanced test data the share of all pictures |
| many, medium, few | the mean over classes of more than 100, 20 to 100, fewer than 20 training pictures |

A gap is the retrieval branch's accuracy less the base branch's, of one model and the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modicum.configs import Evaluate
from modicum.errors import DataError
from modicum.recipes.recipe import LONG_TAIL, Row
from modicum.runtime import Progress

BUCKETS = ("all", "many", "medium", "few")
LEFT_OUT = ("training_pictures", "interval", "balanced_interval")


def figures_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Figure of a row -> value and 95 % interval, from an evaluation's rows; buckets without test pictures have none."""
    found: dict[str, dict[str, Any]] = {}
    by_branch = {row["branch"]: row for row in rows}
    for branch, row in by_branch.items():
        for bucket in BUCKETS:
            name = "balanced" if bucket == "all" else bucket
            value = row["balanced_accuracy" if bucket == "all" else bucket]
            if value is not None:
                over = f"{row['interval_over']} ({bucket})"
                found[f"long_tail {branch} {bucket}"] = _figure(value, row[f"{name}_ci95"], over)
    if {"base", "retrieval"} <= set(by_branch):
        over = "one training: no interval of a difference of branches"
        for bucket in BUCKETS:
            pair = [found.get(f"long_tail {branch} {bucket}") for branch in ("retrieval", "base")]
            if pair[0] is not None and pair[1] is not None:
                found[f"gap {bucket}"] = _figure(pair[0]["value"] - pair[1]["value"], None, over)
    return found


def _figure(value: float, ci95: float | None, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": ci95, "stderr": None, "interval_over": over}


def figure_of(row: Row, figures: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The figure a row shows; `DataError` where its measurement has none, as of a bucket without classes."""
    if row.figure not in figures:
        why = ", for no class with test pictures has so many training pictures" if row.kind in LONG_TAIL else ""
        raise DataError(f"{row.name}: no {row.figure} here{why}")
    return figures[row.figure]


def measure_branches(row: Row, run: Path, root: str | None, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of a run of rac: its figure, all figures, rows by branch, pre-training of B and E."""
    from modicum.recipes.measuring import portable
    from modicum.training.evaluate import evaluate
    from modicum.training.runs import read_record

    votes = read_record(run)[0].branches != "base"
    test = Evaluate(run=str(run), root=root, votes=votes, tau_norm=row.tau_norm)
    measured = evaluate(test, progress)
    figures = figures_of(measured["rows"])
    rows = [{key: value for key, value in each.items() if key not in LEFT_OUT} for each in measured["rows"]]
    kept = {name: measured.get(name) for name in ("tested", "classes", "counts", "steps", "neighbours")}
    told = {branch: without_folders(text, run) for branch, text in measured["pretraining"].items()}
    return {
        "evaluate": portable(asdict(test)), **kept, "pretraining": told, "rows": rows, "figures": figures,
        **figure_of(row, figures),
    }  # fmt: skip


def without_folders(text: str | None, run: Path) -> str | None:
    """What is told of a pre-training, runs beside this one by their names only."""
    return None if text is None else text.replace(f"{run.resolve().parent}/", "").replace(f"{run.parent}/", "")

"""Results on held-out pictures, shared by the methods that train on all classes: options, what is said of all, files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.configs import Evaluate, require
from modicum.evaluation.accuracy import confusion_counts
from modicum.evaluation.long_tail import LongTailResult, long_tail_result
from modicum.files import write_json
from modicum.training.artifacts import write_artifacts
from modicum.training.supervised_tests import Tested, TrainedRun

Ints = NDArray[np.int64]
OF_TASKS = ("splits", "ways", "shots", "queries", "points", "tasks", "head", "ensemble", "batch_norm", "tasks_file",
            "drop_small")  # fmt: skip
"""Options of `evaluate` about few-shot tasks."""


def given_options(config: Evaluate) -> list[str]:
    """Names of the options that differ from their defaults."""
    usual = Evaluate(run=config.run)
    return [field.name for field in fields(config) if getattr(config, field.name) != getattr(usual, field.name)]


def check_pictures_evaluation(config: Evaluate, method: str, refused: tuple[str, ...] = OF_TASKS) -> None:
    """Raise `ConfigError` for options that only few-shot tasks have, and for an unknown split."""
    tasks = [name for name in given_options(config) if name in refused]
    require(not tasks, f"{', '.join(tasks)}: about few-shot tasks, and {config.run} is a run of {method}; leave it out")
    known = ("train", "val", "test")
    require(config.split in known, f"split: expected one of {', '.join(known)}, found {config.split!r}")


def by_class(loaded: TrainedRun, tested: Tested, predicted: Mapping[str, Ints]) -> dict[str, LongTailResult]:
    """Accuracies of classes (n,) that each row names, with intervals, by training pictures of the run's classes."""
    counts = np.array(loaded.record["data"]["counts"])
    return {name: long_tail_result(tested.labels, guess, counts, tested.groups) for name, guess in predicted.items()}


def described(config: Evaluate, loaded: TrainedRun, tested: Tested, found: Mapping[str, LongTailResult]) -> dict[str, Any]:
    """What every such result says: run, data, rows, classes and their numbers of pictures."""
    trained, record = loaded.config, loaded.record
    rows = [{"branch": name, **result.row()} for name, result in found.items()]
    return {
        "kind": "evaluate", "measure": "branches", "run": Path(config.run).name, "data": tested.pictures.name,
        "split": config.split, "seed": trained.seed, "method": trained.method, "backbone": trained.backbone,
        "steps": record["step"], "interval_over": rows[0]["interval_over"], "tested": tested.over, "rows": rows,
        "classes": list(record["data"]["classes"]), "counts": record["data"]["counts"],
        "test_pictures": np.bincount(tested.labels, minlength=len(record["data"]["classes"])).tolist(),
    }  # fmt: skip


def prediction_arrays(loaded: TrainedRun, tested: Tested, predicted: Mapping[str, Ints], last: str) -> dict[str, Any]:
    """Arrays of a result: labels, ids and what each row predicts; confusion counts of the row `last`."""
    classes = loaded.record["data"]["classes"]
    return {
        "classes": np.array(classes),
        "confusion": confusion_counts(tested.labels, predicted[last], len(classes)),
        "true": tested.labels,
        "pictures": np.array([tested.pictures.ids[row] for row in tested.rows]),
        **{f"predicted_{name}": guess for name, guess in predicted.items()},
    }


def write_result(config: Evaluate, file: Path, result: dict[str, Any], parts: dict[str, Any]) -> None:
    """Write a result to RUN/results/ and where it was asked for, and RUN/artifacts.npz."""
    write_artifacts(Path(config.run), file, parts)
    write_json(file, result)
    if config.json:
        write_json(config.json, result)

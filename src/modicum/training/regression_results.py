"""Evaluation of a run on regression tasks: mean squared error over many tasks, after every inner step, and some curves."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.configs import Evaluate, Train, require
from modicum.configs.regression import is_regression
from modicum.episodes.regression import AbstractTaskDistribution
from modicum.errors import ConfigError, FileFormatError
from modicum.evaluation.intervals import mean_interval
from modicum.files import write_bytes, write_json
from modicum.runtime import device
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.processes import local_device, processes
from modicum.training.regression import (
    RegressionTasks,
    build_regressor,
    on_device,
    open_tasks,
    predictions,
    query_points,
    score_regression,
)
from modicum.training.runs import read_record

CURVES = 4
"""Test tasks whose curves the report shows: the first ones, whatever they look like."""


def is_regression_run(run: Path | str) -> bool:
    """Whether a run was trained on regression tasks; errors as `read_record`."""
    return is_regression(read_record(run)[0])


def load_regressor(run: Path | str) -> tuple[GradientLearner, Train, dict[str, Any]]:
    """The learner of a run at its best checkpoint (the last where none was validated), its configuration and record."""
    run = Path(run)
    config, record = read_record(run)
    if not is_regression(config):
        raise ConfigError(f"{run}: was trained on pictures, expected a run on regression tasks")
    path = run / BEST if (run / BEST).is_file() else run / LAST
    if not path.is_file():
        raise FileFormatError(f"{run}: has no checkpoint yet; train it first, or let it reach its first validation")
    network = record["network"]
    learner = build_regressor(config, network["inputs"], network["outputs"])
    tensors, found = read_checkpoint(path)
    restore_learner(learner, tensors, path)
    return learner.eval(), config, {**record, "step": found["step"]}


def check_evaluation(config: Evaluate) -> None:
    """Raise `ConfigError` for options that only pictures have."""
    given = [name for name in ("head", "batch_norm", "splits", "tasks_file") if getattr(config, name) is not None]
    given += ["ensemble"] if config.ensemble != "none" else []
    require(not given, f"{', '.join(given)}: for runs on pictures only, and {config.run} is one on regression tasks")
    require(config.split in ("train", "val", "test"), f"split: expected train, val or test, found {config.split!r}")


def evaluate_regression(config: Evaluate, tasks: RegressionTasks | None = None) -> dict[str, Any]:
    """Rows of mean squared error, one per number of shots; also written to RUN/results/ with curves for the report.

    tasks: those of one's own that the run was trained on. Every process of a torchrun calls it and scores its share; the
    first one writes. `ConfigError`, `DataError` where tasks or options do not fit, `FileFormatError`, `WriteError`.
    """
    check_evaluation(config)
    run, where = Path(config.run), local_device(device(config.device))
    learner, trained, record = load_regressor(run)
    own = config.data is None or config.data == trained.data
    found = tasks or open_tasks(trained if own else replace(trained, data=str(config.data)), config.seed)
    if own and found.digest != record["data"]["digest"]:
        raise ConfigError(f"data: {found.name} has changed since {run} was trained on it, so test tasks may have been seen; "
                          "restore it, or train anew")  # fmt: skip
    part, rows = found.part(config.split), []
    over = f"draws of {config.tasks} tasks of {found.name} ({config.split})"
    if part.size is not None:
        over += f", of which there are {part.size}: not over other ones"
    learner = learner.to(where)
    learner.test_steps = config.inner_steps or learner.test_steps
    with processes(device(config.device)) as here:
        for shots in config.shots or [trained.shots]:
            queries = query_points(part, shots, config.points)
            errors = score_regression(learner, part, config.tasks, shots, queries, where, here)
            rows.append(row(shots, queries, errors, over))
        result = {
            "kind": "evaluate", "measure": "mse", "run": run.name, "data": found.name, "split": config.split,
            "seed": config.seed, "method": trained.method, "backbone": trained.backbone, "steps": record["step"],
            "interval_over": over, "rows": rows,
        }  # fmt: skip
        if here.rank == 0:
            write_curves(run, curves(learner, part, int(rows[-1]["shots"]), queries, where))
            write_json(run / "results" / _file_name(config, result), result)
            if config.json:
                write_json(config.json, result)
    return {"schema": 1, **result}


def row(shots: int, queries: int, errors: NDArray[np.float64], over: str) -> dict[str, Any]:
    """One row of a result from errors (T, S + 1) before the first inner step and after each; its `mse` is the last's."""
    steps = [mean_interval(column, over) for column in errors.T]
    last = steps[-1]
    return {
        "shots": shots,
        "queries": queries,
        "mse": last.mean,
        "ci95": last.ci95,
        "stderr": last.stderr,
        "tasks": last.count,
        "inner_steps": len(steps) - 1,
        "per_step": [{"step": step, "mse": each.mean, "ci95": each.ci95} for step, each in enumerate(steps)],
        "per_task": [float(f"{value:.6g}") for value in errors[:, -1]],
    }


def curves(
    learner: GradientLearner, tasks: AbstractTaskDistribution, shots: int, queries: int, where: torch.device
) -> dict[str, NDArray[Any]]:
    """The first tasks as arrays, queries in order of x; {} where x has several numbers. Of several outputs the first.

    curve_support_x, _y (T, k); curve_x, _y (T, Q); curve_predictions (T, S + 1, Q) before the first inner step and after
    each.
    """
    if tasks.inputs != 1:
        return {}
    count = min(CURVES, tasks.size or CURVES)
    episode = tasks.episode(list(range(count)), shots, queries)
    outputs = predictions(learner, on_device(episode, where)).cpu()[..., 0]
    order = episode.query.x[..., 0].argsort(-1)
    return {
        "curve_support_x": episode.support.x[..., 0].numpy(),
        "curve_support_y": episode.support.y[..., 0].numpy(),
        "curve_x": episode.query.x[..., 0].gather(1, order).numpy(),
        "curve_y": episode.query.y[..., 0].gather(1, order).numpy(),
        "curve_predictions": outputs.gather(2, order.unsqueeze(1).expand_as(outputs)).numpy(),
    }


def write_curves(run: Path, parts: Mapping[str, NDArray[Any]]) -> None:
    """Write RUN/artifacts.npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **parts)  # type: ignore[arg-type]
    write_bytes(run / "artifacts.npz", buffer.getvalue())


def _file_name(config: Evaluate, result: dict[str, Any]) -> str:
    shown = "-".join(str(found["shots"]) for found in result["rows"])
    steps = f"-{config.inner_steps}steps" if config.inner_steps else ""
    name = f"{result['data']}-{config.split}-{shown}shot-mse{steps}" + (f"-seed{config.seed}" if config.seed else "")
    return re.sub(r"[^\w.-]+", "_", name) + ".json"

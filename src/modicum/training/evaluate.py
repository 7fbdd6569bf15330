"""Evaluation of a run: accuracy over many tasks with both radii, and what the report needs to show.

Task t of (data, split, seed, ways, shots) is always the same, so two methods meet the same tasks; they can also be frozen
to a file and replayed.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.backbones.encoder import ImageSpec
from modicum.configs import Compare, Evaluate, Train, require
from modicum.data.pictures import PictureSet, open_pictures
from modicum.episodes.frozen import freeze, replay
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError
from modicum.evaluation.intervals import mean_interval
from modicum.files import write_bytes, write_json
from modicum.runtime import Progress, Ranks, device
from modicum.training.processes import first_alone, local_device, processes
from modicum.training.regression_results import evaluate_regression, is_regression_run
from modicum.training.runs import load_members, own_splits, test_head
from modicum.training.scoring import Learner, Scores, picture_features, score_tasks
from modicum.training.splitting import trained_splits

LDA_PICTURES = 100
"""Pictures of each of three classes in the LDA figure (dissertation, fig. 5.2)."""


def interval_over(tasks: int, pictures: PictureSet, split: str) -> str:
    """What an interval is over, in words."""
    return f"draws of {tasks} tasks from the {len(pictures.classes)} classes of {pictures.name} ({split})"


def _draw_tasks(config: Evaluate, pictures: PictureSet, shots: int) -> Tasks:
    path = Path(config.tasks_file) if config.tasks_file else None
    if path is not None and len(config.shots) > 1:
        path = path.with_name(f"{path.stem}-{shots}shot{path.suffix}")
    if path is not None and path.is_file():
        return _replayed(path, config, pictures, shots)
    sampler = EpisodeSampler(
        pictures.labels, config.ways, shots, config.queries, seed=config.seed, stream=config.split,
        names=pictures.classes, drop_small=config.drop_small,
    )  # fmt: skip
    tasks = sampler.tasks(range(config.tasks))
    if path is not None:
        freeze(path, tasks, pictures.ids, f"{pictures.name} {config.split} {config.ways}-way {shots}-shot")
    return tasks


def _replayed(path: Path, config: Evaluate, pictures: PictureSet, shots: int) -> Tasks:
    """Frozen tasks, `ConfigError` where they are of another size than was asked for."""
    tasks = replay(path, pictures.ids)
    ways = tasks.classes.shape[1]
    found = (len(tasks.number), ways, tasks.support.shape[1] // ways, tasks.query.shape[1] // ways)
    asked = (config.tasks, config.ways, shots, config.queries)
    require(
        found == asked,
        "tasks_file: {} holds {} tasks, {}-way {}-shot with {} queries; ".format(path, *found)
        + "asked for were {} tasks, {}-way {}-shot with {} queries".format(*asked),
    )
    return tasks


def tasks_digest(tasks: Tasks) -> str:
    """Hex digest of which pictures the tasks hold: equal for rows that met the same tasks."""
    state = hashlib.sha256()
    for part in (tasks.support, tasks.query, tasks.classes):
        state.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    return state.hexdigest()[:32]


def asked_pictures(config: Evaluate | Compare, trained: Train, record: dict[str, Any], pictures: PictureSet) -> PictureSet:
    """The asked-for split: of the run's own pictures as it was trained, so that no training class is tested by accident."""
    recorded = own_splits(record, pictures)
    if recorded is not None and config.splits is None:
        pictures = replace(pictures, splits=recorded)
    part = pictures.split(config.split)
    if pictures.name == record["data"]["name"] and config.split in ("val", "test"):
        trained_on = {name for split in trained_splits(trained) for name in record["data"]["splits"].get(split, ())}
        seen = set(part.classes) & trained_on
        hint = "leave out --splits to use the run's own"
        if recorded is None:
            hint = f"{pictures.name} has no longer all classes of the run: restore them, or give --splits without these"
        require(
            not seen, f"splits: {len(seen)} of the classes to test ({', '.join(sorted(seen)[:5])}) were trained on; {hint}"
        )
    return part


def _row(config: Evaluate, learner: Learner, shots: int, tasks: Tasks, scores: Scores, over: str) -> dict[str, Any]:
    interval = mean_interval(scores.per_task, over)
    solver = {} if scores.residual is None else {"solver_residual": scores.residual}
    return {
        "ways": config.ways,
        "shots": shots,
        "accuracy": interval.mean,
        "ci95": interval.ci95,
        "stderr": interval.stderr,
        "tasks": interval.count,
        "tasks_digest": tasks_digest(tasks),
        "batch_norm": learner.batch_norm,
        "transductive": learner.traits.transductive,
        **solver,
        "per_task": scores.per_task.round(6).tolist(),
    }


def confusion(tasks: Tasks, scores: Scores, n_classes: int) -> NDArray[np.int64]:
    """Counts (C, C) of true class (row) against predicted class over all queries of all tasks."""
    true = np.take_along_axis(tasks.classes, tasks.query_y, 1)[tasks.query_mask]
    guess = np.take_along_axis(tasks.classes, scores.predicted, 1)[tasks.query_mask]
    return np.bincount(true * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)


def _sample_task(tasks: Tasks, scores: Scores, pictures: PictureSet, shown: int = 100) -> dict[str, NDArray[Any]]:
    """The first task with a wrong prediction (the first where there is none), as pictures."""
    wrong = np.flatnonzero(scores.per_task < 1)
    t = int(wrong[0]) if len(wrong) else 0
    support, query = tasks.support[t][tasks.support_mask[t]], tasks.query[t][tasks.query_mask[t]]
    miss = scores.predicted[t][tasks.query_mask[t]] != tasks.query_y[t][tasks.query_mask[t]]
    order = np.argsort(~miss, kind="stable")[:shown]
    return {
        "support_pixels": np.asarray(pictures.pixels[support[:shown]]),
        "support_labels": tasks.support_y[t][tasks.support_mask[t]][:shown],
        "query_pixels": np.asarray(pictures.pixels[query[order]]),
        "query_labels": tasks.query_y[t][tasks.query_mask[t]][order],
        "query_predictions": scores.predicted[t][tasks.query_mask[t]][order],
        "task_classes": np.array([pictures.classes[c] for c in tasks.classes[t]]),
    }


def _lda(learner: Learner, pictures: PictureSet, where: torch.device) -> dict[str, NDArray[Any]]:
    sizes = np.bincount(pictures.labels, minlength=len(pictures.classes))
    chosen = np.flatnonzero(sizes)[:3]
    index = np.concatenate([np.flatnonzero(pictures.labels == c)[:LDA_PICTURES] for c in chosen])
    features = picture_features(learner, pictures.pixels, index, where).float().cpu().numpy()
    return {
        "lda_features": features,
        "lda_labels": np.searchsorted(chosen, pictures.labels[index]),
        "lda_classes": np.array([pictures.classes[c] for c in chosen]),
    }


def _write_artifacts(run: Path, parts: dict[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **parts)  # type: ignore[arg-type]
    write_bytes(run / "artifacts.npz", buffer.getvalue())


def evaluate(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """Rows of accuracy (regression: of squared error), one per number of shots; also written to RUN/results/.

    Every process of a torchrun calls it and scores its share of the same tasks; the first one writes. Raises
    `ConfigError` or `DataError` where the data set has too few classes or pictures for the tasks asked for.
    """
    if is_regression_run(config.run):
        return evaluate_regression(config)
    config = config if config.shots else replace(config, shots=[1, 5])
    with processes(device(config.device)) as here:
        return _evaluated(config, progress if here.rank == 0 else None, here)


def _evaluated(config: Evaluate, progress: Progress | None, here: Ranks) -> dict[str, Any]:
    run, where = Path(config.run), local_device(device(config.device))
    members, trained, record = load_members(run, config.head, config.batch_norm, config.ensemble)
    with first_alone(here):
        pictures = _open(config, trained, record, members[0].encoder.spec, progress)
    if len(pictures.classes) < config.ways:
        raise ConfigError(
            f"ways: {config.ways} asked for, but split {config.split!r} of {pictures.name} has "
            f"{len(pictures.classes)} classes; the largest ways that works is {len(pictures.classes)}"
        )
    members = [member.to(where).to(memory_format=torch.channels_last) for member in members]
    over, rows = interval_over(config.tasks, pictures, config.split), []
    for shots in config.shots:
        with first_alone(here):
            tasks = _draw_tasks(config, pictures, shots)
        scores = score_tasks(members, pictures.pixels, tasks, where, progress, here)
        rows.append(_row(config, members[0], shots, tasks, scores, over))
    result = {
        "kind": "evaluate", "run": run.name, "data": pictures.name, "split": config.split, "seed": config.seed,
        "head": config.head or test_head(trained), "backbone": trained.backbone, "steps": record["step"],
        "ensemble": None if config.ensemble == "none" else {"rule": config.ensemble, "steps": record["steps"]},
        "queries": config.queries, "interval_over": over, "rows": rows, "classes": list(pictures.classes),
    }  # fmt: skip
    if here.rank == 0:
        parts = {"confusion": confusion(tasks, scores, len(pictures.classes)), "classes": np.array(pictures.classes)}
        if config.pictures:
            parts |= _sample_task(tasks, scores, pictures)
        _write_artifacts(run, parts | _lda(members[0], pictures, where))
        write_json(run / "results" / result_name(config, result, members[0].batch_norm), result)
        if config.json:
            write_json(config.json, result)
    return {"schema": 1, **result}


def _open(
    config: Evaluate, trained: Train, record: dict[str, Any], spec: ImageSpec, progress: Progress | None
) -> PictureSet:
    """The pictures of the split to test, as the run's encoder reads them."""
    same = config.data is None or config.data == trained.data
    pictures = open_pictures(
        config.data or trained.data, root=config.root or (trained.root if same else None), size=spec.size,
        channels=spec.channels, splits=config.splits or (trained.splits if same else None), seed=trained.seed,
        progress=progress,
    )  # fmt: skip
    return asked_pictures(config, trained, record, pictures)


def result_name(config: Evaluate, result: dict[str, Any], batch_norm: str) -> str:
    """Name of a result's file: what was measured, so that other measurements do not overwrite it."""
    shown = "-".join(map(str, config.shots))
    name = f"{result['data']}-{config.split}-{config.ways}way-{shown}shot-{result['head']}-{batch_norm}"
    name += f"-{config.ensemble}" if config.ensemble != "none" else ""
    name += f"-seed{config.seed}" if config.seed else ""
    return re.sub(r"[^\w.-]+", "_", name) + ".json"

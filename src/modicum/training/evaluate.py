"""Evaluation of a run: accuracy over many tasks with both radii, and what the report needs to show.

Task t of (data, split, seed, ways, shots) is always the same, so two methods meet the same tasks; they can also be frozen
to a file and replayed.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.adaptation.learner import HeadLearner
from modicum.configs import Evaluate
from modicum.data.pictures import PictureSet, open_pictures
from modicum.episodes.frozen import freeze, replay
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError
from modicum.evaluation.intervals import mean_interval
from modicum.files import write_bytes, write_json
from modicum.runtime import Progress, device
from modicum.training.runs import load_learner
from modicum.training.scoring import Scores, picture_features, score_tasks

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
        return replay(path, pictures.ids)
    sampler = EpisodeSampler(
        pictures.labels, config.ways, shots, config.queries, seed=config.seed, stream=config.split,
        names=pictures.classes, drop_small=config.drop_small,
    )  # fmt: skip
    tasks = sampler.tasks(range(config.tasks))
    if path is not None:
        freeze(path, tasks, pictures.ids, f"{pictures.name} {config.split} {config.ways}-way {shots}-shot")
    return tasks


def _row(config: Evaluate, learner: HeadLearner, shots: int, scores: Scores, over: str) -> dict[str, Any]:
    interval = mean_interval(scores.per_task, over)
    return {
        "ways": config.ways,
        "shots": shots,
        "accuracy": interval.mean,
        "ci95": interval.ci95,
        "stderr": interval.stderr,
        "tasks": interval.count,
        "batch_norm": learner.batch_norm,
        "transductive": learner.traits.transductive,
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


def _lda(learner: HeadLearner, pictures: PictureSet, where: torch.device) -> dict[str, NDArray[Any]]:
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
    """Rows of accuracy, one per number of shots; also written to RUN/results/ with what the report shows.

    Raises `ConfigError` or `DataError` where the data set has too few classes or pictures for the tasks asked for.
    """
    run = Path(config.run)
    learner, trained, record = load_learner(run, config.head, config.batch_norm)
    spec, where = learner.encoder.spec, device(config.device)
    same = config.data is None or config.data == trained.data
    pictures = open_pictures(
        config.data or trained.data, root=config.root or (trained.root if same else None), size=spec.size,
        channels=spec.channels, splits=config.splits or (trained.splits if same else None), seed=trained.seed,
        progress=progress,
    ).split(config.split)  # fmt: skip
    if len(pictures.classes) < config.ways:
        raise ConfigError(
            f"ways: {config.ways} asked for, but split {config.split!r} of {pictures.name} has "
            f"{len(pictures.classes)} classes; the largest ways that works is {len(pictures.classes)}"
        )
    learner = learner.to(where).to(memory_format=torch.channels_last)
    rows = []
    for shots in config.shots:
        tasks = _draw_tasks(config, pictures, shots)
        scores = score_tasks(learner, pictures.pixels, tasks, where, progress)
        rows.append(_row(config, learner, shots, scores, interval_over(config.tasks, pictures, config.split)))
    result = {
        "kind": "evaluate", "run": run.name, "data": pictures.name, "split": config.split, "seed": config.seed,
        "head": config.head or trained.method, "backbone": trained.backbone, "steps": record["step"],
        "queries": config.queries, "interval_over": interval_over(config.tasks, pictures, config.split),
        "rows": rows, "classes": list(pictures.classes),
    }  # fmt: skip
    parts = {"confusion": confusion(tasks, scores, len(pictures.classes)), "classes": np.array(pictures.classes)}
    if config.pictures:
        parts |= _sample_task(tasks, scores, pictures)
    _write_artifacts(run, parts | _lda(learner, pictures, where))
    name = re.sub(r"[^\w.-]+", "_", f"{pictures.name}-{config.split}-{config.ways}way")
    write_json(run / "results" / f"{name}.json", result)
    if config.json:
        write_json(config.json, result)
    return {"schema": 1, **result}

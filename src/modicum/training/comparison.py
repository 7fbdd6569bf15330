"""Models side by side on the SAME tasks and pictures: paired differences, class separation, CKA, theorem 1, an LDA map.

Accuracy differences are later model minus first, task by task, so what makes a task hard cancels; their interval is over
draws of tasks. It says which of THESE trained models is better on these classes, not which method is: that takes several
trainings of each. Features are those under stored batch-norm statistics, of the same pictures for every model.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.configs import Compare, require
from modicum.data.pictures import PictureSet
from modicum.episodes.sampler import EpisodeSampler
from modicum.errors import DataError
from modicum.evaluation.cka import debiased_cka, linear_cka
from modicum.evaluation.class_separation import class_separation
from modicum.evaluation.intervals import MeanInterval, excludes_zero, mean_interval, paired_interval
from modicum.evaluation.lda import lda_plane
from modicum.evaluation.one_shot_bound import one_shot_accuracy
from modicum.files import write_bytes, write_json
from modicum.runtime import Progress, device, philox
from modicum.training.artifacts import LDA_PICTURES
from modicum.training.compared import Compared, compared_models, same_pictures
from modicum.training.evaluate import interval_over, tasks_digest
from modicum.training.runs import environment
from modicum.training.scoring import Scores, picture_features, score_tasks

PAIRS = 2_000
"""Random class pairs of the class-separation figures; draws of theorem 1."""
RESULT, ARTIFACTS = "compare.json", "artifacts.npz"


def even_pictures(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Rising indices of at most max(`most`, two a class) pictures, evenly over classes, drawn by the seed."""
    rng = philox(seed, "compare/pictures", 0)
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, shuffled within
    sizes = np.bincount(labels)
    turn = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # 0, 1, ... within each class
    first = np.argsort(turn, kind="stable")[: max(most, 2 * int((sizes > 0).sum()))]
    return np.sort(order[first])


def map_pictures(labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (m,) of up to LDA_PICTURES pictures of each of three random classes, and the classes (at most 3)."""
    usable = np.flatnonzero(np.bincount(labels) >= 2)
    rng = philox(seed, "compare/map", 0)
    classes = np.sort(rng.permutation(usable)[:3])
    index = [rng.permutation(np.flatnonzero(labels == c))[:LDA_PICTURES] for c in classes]
    return (np.concatenate(index) if index else np.zeros(0, np.int64)), classes


class _Measured(NamedTuple):
    """What one model gives: scores per number of shots, features (n, D) on the CPU, points (m, 2) of the map."""

    scores: list[Scores]
    features: torch.Tensor
    points: NDArray[np.float64]


def _interval(found: MeanInterval) -> dict[str, Any]:
    return {"value": found.mean, "ci95": found.ci95, "stderr": found.stderr, "over": found.over}


def _figures(features: torch.Tensor, labels: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """Class separation and theorem 1 of one model, as they stand in the result file."""
    separation = class_separation(features, labels, pairs=PAIRS, seed=seed)
    shot = one_shot_accuracy(features, labels, draws=PAIRS, seed=seed)
    return {
        "separation": {
            "clustering_pairs": _interval(separation.clustering),
            "clustering_whole": separation.clustering_whole,
            "variation": _interval(separation.variation),
            "variation_squared": _interval(separation.variation_squared),
        },
        "one_shot": {
            "ratio": shot.ratio,
            "least_ratio": shot.least_ratio,
            "bound": shot.bound,
            "share_bounded": shot.share_bounded,
            "accuracy": _interval(shot.accuracy),
        },
    }


def verdict(difference: MeanInterval) -> str:
    """ "later", "first" or "undecided": which model the interval of later minus first puts ahead."""
    if not excludes_zero(difference):
        return "undecided"
    return "later" if difference.mean > 0 else "first"


def _difference(models: Sequence[Compared], scores: Sequence[Scores], later: int, over: str) -> dict[str, Any]:
    gap = paired_interval(scores[later].per_task, scores[0].per_task, over)
    return {
        "first": models[0].name,
        "later": models[later].name,
        "difference": gap.mean,
        "ci95": gap.ci95,
        "stderr": gap.stderr,
        "tasks": gap.count,
        "verdict": verdict(gap),
    }


def _row(model: Compared, config: Compare, scores: Scores, over: str) -> dict[str, Any]:
    interval = mean_interval(scores.per_task, over)
    return {
        "model": model.name,
        "accuracy": interval.mean,
        "ci95": interval.ci95,
        "stderr": interval.stderr,
        "tasks": interval.count,
        "batch_norm": model.learner.batch_norm,
        "transductive": model.learner.traits.transductive,
        "per_task": scores.per_task.round(6).tolist(),
    }


def _likeness(features: Sequence[torch.Tensor]) -> dict[str, Any]:
    """CKA of every pair of models, as symmetric matrices with 1 on the diagonal."""
    matrices = {"linear": np.eye(len(features)), "debiased": np.eye(len(features))}
    for i in range(len(features)):
        for j in range(i):
            for name, cka in (("linear", linear_cka), ("debiased", debiased_cka)):
                matrices[name][i, j] = matrices[name][j, i] = cka(features[i], features[j])
    return {name: matrix.tolist() for name, matrix in matrices.items()}


def _points(features: torch.Tensor, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Points (m, 2) of the map; none where there are fewer than two classes to separate."""
    if len(np.unique(labels)) < 2:
        return np.zeros((0, 2))
    return lda_plane(features.numpy(), labels)


class _Plan(NamedTuple):
    """What every model is measured on: tasks per number of shots, pictures of the figures, pictures of the map."""

    tasks: list[Any]
    shown: NDArray[np.int64]
    mapped: NDArray[np.int64]
    map_classes: NDArray[np.int64]


def _plan(config: Compare, pictures: PictureSet) -> _Plan:
    tasks = []
    for shots in config.shots:
        sampler = EpisodeSampler(
            pictures.labels, config.ways, shots, config.queries, seed=config.seed, stream=config.split,
            names=pictures.classes, drop_small=config.drop_small,
        )  # fmt: skip
        tasks.append(sampler.tasks(range(config.tasks)))
    return _Plan(tasks, even_pictures(pictures.labels, config.pictures, config.seed),
                 *map_pictures(pictures.labels, config.seed))  # fmt: skip


def _measure(model: Compared, plan: _Plan, where: torch.device, progress: Progress | None) -> _Measured:
    learner = model.learner.to(where).to(memory_format=torch.channels_last)
    pixels, labels = model.pictures.pixels, model.pictures.labels
    scores = [score_tasks([learner], pixels, tasks, where, progress) for tasks in plan.tasks]
    features = picture_features(learner, pixels, plan.shown, where, progress).float().cpu()
    if not bool(torch.isfinite(features).all()):
        raise DataError(f"models: {model.name} gives features that are not finite; its weights are damaged")
    mapped = picture_features(learner, pixels, plan.mapped, where).float().cpu() if len(plan.mapped) else features[:0]
    points = _points(mapped, labels[plan.mapped])
    learner.to("cpu")
    return _Measured(scores, features, points)


def compare(config: Compare, progress: Progress | None = None) -> dict[str, Any]:
    """The record of `compare.json`; with config.out also written there with `artifacts.npz`.

    `ConfigError` or `DataError` where the models cannot be compared fairly on these pictures (`modicum.training.compared`).
    """
    models = same_pictures(compared_models(config), config, progress)
    pictures, where = models[0].pictures, device(config.device)
    require(
        len(pictures.classes) >= config.ways,
        f"ways: {config.ways} asked for, but split {config.split!r} of {pictures.name} has {len(pictures.classes)} classes; "
        f"the largest ways that works is {len(pictures.classes)}",
    )
    plan = _plan(config, pictures)
    measured = [_measure(model, plan, where, progress) for model in models]
    over = interval_over(config.tasks, pictures, config.split)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for place, (shots, tasks) in enumerate(zip(config.shots, plan.tasks, strict=True)):
        scores = [found.scores[place] for found in measured]
        setting = {"ways": config.ways, "shots": shots}
        drawn = {"tasks_digest": tasks_digest(tasks)}
        rows += [setting | drawn | _row(model, config, one, over) for model, one in zip(models, scores, strict=True)]
        differences += [setting | _difference(models, scores, later, over) for later in range(1, len(models))]
    labels = pictures.labels[plan.shown]
    result = {
        "kind": "compare", "data": pictures.name, "split": config.split, "seed": config.seed, "queries": config.queries,
        "interval_over": over, "rows": rows, "differences": differences,
        "models": [
            {**model.described, **_figures(found.features, labels, config.seed)}
            for model, found in zip(models, measured, strict=True)
        ],
        "cka": _likeness([found.features for found in measured]),
        "figure_pictures": len(plan.shown), "figure_pairs": PAIRS, "classes": list(pictures.classes),
        "environment": environment(where),
    }  # fmt: skip
    if config.out:
        _write(Path(config.out), result, plan, pictures, measured)
    if config.json:
        write_json(config.json, result)
    return {"schema": 1, **result}


def _write(out: Path, result: dict[str, Any], plan: _Plan, pictures: PictureSet, measured: Sequence[_Measured]) -> None:
    parts = {f"lda_points_{place}": found.points for place, found in enumerate(measured)}
    names = [pictures.classes[c] for c in plan.map_classes]
    labels = np.searchsorted(plan.map_classes, pictures.labels[plan.mapped])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, lda_labels=labels, lda_classes=np.array(names), **parts)  # type: ignore[arg-type]
    write_bytes(out / ARTIFACTS, buffer.getvalue())
    write_json(out / RESULT, result)

"""Evaluation of a run: accuracy over many tasks with both radii, and what the report needs to show.

Task t of (data, split, seed, ways, shots) is always the same, so two methods meet the same tasks; they can also be frozen
to a file and replayed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.backbones.encoder import ImageSpec
from modicum.configs import BatchNorm, Compare, Evaluate, Train, require
from modicum.data.pictures import PictureSet, open_pictures
from modicum.episodes.frozen import freeze, replay
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError
from modicum.evaluation.intervals import excludes_zero, mean_interval, paired_interval
from modicum.evaluation.travelled import distance_arrays
from modicum.files import write_json
from modicum.runtime import Progress, Ranks, device
from modicum.training.artifacts import confusion, lda_arrays, sample_task, write_artifacts
from modicum.training.inner_records import inner_records
from modicum.training.processes import first_alone, local_device, processes
from modicum.training.runs import load_members, own_splits, test_head
from modicum.training.scoring import Learner, Scores, score_tasks
from modicum.training.splitting import trained_splits
from modicum.training.supervised_results import other_evaluation

BOTH: tuple[BatchNorm, ...] = ("support", "batch")
"""The modes that stand side by side for `batch_norm` both; differences are the second minus the first."""


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
    more: dict[str, Any] = {} if scores.residual is None else {"solver_residual": scores.residual}
    if isinstance(learner, GradientLearner):
        more["inner_steps"] = learner.test_steps
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
        **more,
        "per_task": scores.per_task.round(6).tolist(),
    }


def evaluate(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """Rows of accuracy (regression: of squared error), one per number of shots; also written to RUN/results/.

    Every process of a torchrun calls it and scores its share of the same tasks; the first one writes. Raises
    `ConfigError` or `DataError` where the data set has too few classes or pictures for the tasks asked for.
    """
    if (other := other_evaluation(config)) is not None:
        return other(config, progress)
    config = config if config.shots else replace(config, shots=[1, 5])
    with processes(device(config.device)) as here:
        return _evaluated(config, progress if here.rank == 0 else None, here)


def _members(config: Evaluate) -> tuple[list[list[Learner]], Train, dict[str, Any]]:
    """The learners, one list for each batch-norm mode that was asked for, with the run's configuration and record.

    `ConfigError` for `inner_steps` of a learner that takes none, and for ways that no learner of the run takes.
    """
    modes = BOTH if config.batch_norm == "both" else (config.batch_norm,)
    found = [load_members(config.run, config.head, mode, config.ensemble) for mode in modes]
    _, trained, record = found[0]
    for learner in (learner for members, _, _ in found for learner in members):
        require_ways(learner, config.ways, config.run)
        if config.inner_steps is not None:
            if not isinstance(learner, GradientLearner):
                raise ConfigError(f"inner_steps: {config.head or test_head(trained)} takes no inner steps; leave it out")
            learner.test_steps = config.inner_steps
    return [members for members, _, _ in found], trained, record


def require_ways(learner: Learner, ways: int, name: str) -> None:
    """Raise `ConfigError` where a learner cannot tell so many classes apart."""
    if isinstance(learner, GradientLearner) and ways != learner.n_out and not learner.traits.any_n_out:
        raise ConfigError(
            f"ways: {ways} asked for, but {name} was trained on tasks of {learner.n_out} classes and its last layer has as "
            f"many outputs. Give --ways {learner.n_out}, train with --method proto-maml, which takes any number, or test "
            "the encoder it begins from with a head (--head protonet)"
        )


def _side_by_side(rows: list[dict[str, Any]], over: str) -> dict[str, Any]:
    """Accuracy in the second mode minus that in the first, on the same tasks."""
    first, later = rows
    gap = paired_interval(np.array(later["per_task"]), np.array(first["per_task"]), over)
    return {
        "ways": first["ways"], "shots": first["shots"], "first": first["batch_norm"], "later": later["batch_norm"],
        "difference": gap.mean, "ci95": gap.ci95, "stderr": gap.stderr, "tasks": gap.count,
        "excludes_zero": excludes_zero(gap),
    }  # fmt: skip


def _evaluated(config: Evaluate, progress: Progress | None, here: Ranks) -> dict[str, Any]:
    run, where = Path(config.run), local_device(device(config.device))
    loaded, trained, record = _members(config)
    with first_alone(here):
        pictures = _open(config, trained, record, loaded[0][0].encoder.spec, progress)
    if len(pictures.classes) < config.ways:
        raise ConfigError(
            f"ways: {config.ways} asked for, but split {config.split!r} of {pictures.name} has "
            f"{len(pictures.classes)} classes; the largest ways that works is {len(pictures.classes)}"
        )
    loaded = [[member.to(where).to(memory_format=torch.channels_last) for member in members] for members in loaded]
    over = interval_over(config.tasks, pictures, config.split)
    rows: list[dict[str, Any]] = []
    far: dict[str, Any] = {}
    for shots in config.shots:
        with first_alone(here):
            tasks = _draw_tasks(config, pictures, shots)
        scored = [score_tasks(members, pictures.pixels, tasks, where, progress, here) for members in loaded]
        for members, scores in zip(loaded, scored, strict=True):
            rows.append(_row(config, members[0], shots, tasks, scores, over))
        far |= {} if scored[0].travelled is None else distance_arrays(scored[0].travelled, shots)
    pairs = [rows[place : place + 2] for place in range(0, len(rows), 2)] if len(loaded) == 2 else []
    result = {
        "kind": "evaluate", "run": run.name, "data": pictures.name, "split": config.split, "seed": config.seed,
        "head": config.head or test_head(trained), "backbone": trained.backbone, "steps": record["step"],
        "ensemble": None if config.ensemble == "none" else {"rule": config.ensemble, "steps": record["steps"]},
        "queries": config.queries, "interval_over": over, "rows": rows, "classes": list(pictures.classes),
    }  # fmt: skip
    if pairs:
        result["differences"] = [_side_by_side(pair, over) for pair in pairs]
    if here.rank == 0:
        _write(config, run, result, far | _arrays(config, loaded[0][0], tasks, scored[0], pictures, where, progress))
    return {"schema": 1, **result}


def _arrays(
    config: Evaluate, learner: Learner, tasks: Tasks, scores: Scores, pictures: PictureSet, where: torch.device,
    progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    """What the report draws: of the last number of shots, the first mode and the first member."""
    parts = {"confusion": confusion(tasks, scores, len(pictures.classes)), "classes": np.array(pictures.classes)}
    if config.pictures:
        parts |= sample_task(tasks, scores, pictures)
    if isinstance(learner, GradientLearner):
        parts |= inner_records(learner, pictures.pixels, tasks, where, progress)
    return parts | lda_arrays(learner, pictures, where)


def _write(config: Evaluate, run: Path, result: dict[str, Any], parts: dict[str, Any]) -> None:
    mode = "both" if "differences" in result else result["rows"][0]["batch_norm"]
    file = run / "results" / result_name(config, result, mode)
    write_artifacts(run, file, parts)
    write_json(file, result)
    if config.json:
        write_json(config.json, result)


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
    name += f"-{config.inner_steps}steps" if config.inner_steps else ""
    name += f"-seed{config.seed}" if config.seed else ""
    return re.sub(r"[^\w.-]+", "_", name) + ".json"

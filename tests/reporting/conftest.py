"""Made-up run and classifier folders in the published file formats; numbers are drawn, nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.files import write_json

Maker = Callable[..., Path]


def drawn_pictures(rng: np.random.Generator, labels: np.ndarray, channels: int, size: int) -> np.ndarray:
    """One bright blob per class, at a place of its own."""
    grid = np.arange(size)
    places = np.random.default_rng(1).uniform(0.2, 0.8, (int(labels.max()) + 1, 2)) * size
    centre = places[labels] + rng.normal(0, size / 25, (len(labels), 2))
    near = ((grid[:, None] - centre[:, 0, None, None]) ** 2 + (grid - centre[:, 1, None, None]) ** 2) / (size * 1.5)
    grey = (255 * np.exp(-near)).astype(np.uint8)[..., None]
    return grey if channels == 1 else np.concatenate([grey, 255 - grey, grey // 2], axis=-1)


def drawn_confusion(rng: np.random.Generator, classes: int, per_class: int, right: float) -> np.ndarray:
    chance = rng.dirichlet(np.full(classes, 0.3), classes) * (1 - right) + right * np.eye(classes)
    return np.stack([rng.multinomial(per_class, row / row.sum()) for row in chance]).astype(np.int64)


def lda_arrays(rng: np.random.Generator, names: Sequence[str]) -> dict[str, Any]:
    labels = np.repeat(np.arange(len(names)), 40)
    features = rng.normal(size=(len(labels), 16)) + 2.5 * np.eye(16)[labels]
    return {"lda_features": features.astype(np.float32), "lda_labels": labels, "lda_classes": np.array(names)}


def make_run(
    folder: Path,
    names: Sequence[str],
    *,
    right: float = 0.95,
    seed: int = 0,
    channels: int = 1,
    size: int = 28,
    log: bool = True,
    artifacts: bool = True,
    results: bool = True,
    config: dict[str, Any] | None = None,
) -> Path:
    rng = np.random.default_rng(seed)
    chosen = {"data": "omniglot", "method": "protonet", "backbone": "conv4-64", "ways": 60, "shots": 1, "steps": 8000}
    write_json(
        folder / "config.json",
        {
            "kind": "run",
            "version": "0.1.0",
            "config": {**chosen, "seed": seed, "learning_rate": 1e-3, "splits": None, "augment": False, **(config or {})},
            "encoder": {"backbone": "conv4-64", "spec": {"size": size, "channels": channels}},
            "environment": {"torch": "2.15.0", "device": "cpu (x86_64)", "threads": 2},
            "split_rule": "Vinyals split",
        },
    )
    if log:
        lines = []
        for step in range(50, 8001, 50):
            loss = 2.5 * np.exp(-step / 900) + 0.15 + rng.normal(0, 0.02)
            accuracy = right - 0.5 * np.exp(-step / 900)
            entry = {"kind": "train", "step": step, "loss": loss, "accuracy": accuracy + rng.normal(0, 0.01)}
            lines.append({**entry, "learning_rate": 1e-3, "seconds": step / 5})
            if step % 500 == 0:
                lines.append({"kind": "validation", "step": step, "accuracy": accuracy, "ci95": 0.006})
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra')
    ways = min(5, len(names))
    if results:
        rows = []
        for shots, mean in ((1, right), (5, (1 + right) / 2)):
            tasks = np.clip(np.random.default_rng(7).normal(mean, 0.025, 400) + rng.normal(0, 0.01, 400), 0, 1)
            stderr = float(tasks.std() / 20)
            row = {"ways": ways, "shots": shots, "accuracy": float(tasks.mean()), "ci95": 1.96 * stderr, "stderr": stderr}
            bn = {"tasks": 400, "batch_norm": "running", "transductive": False}
            rows.append({**row, **bn, "tasks_digest": f"{ways}-{shots}", "per_task": tasks.round(4).tolist()})
        over = f"draws of 400 tasks from the {len(names)} classes of omniglot (test)"
        record = {"kind": "evaluate", "run": folder.name, "data": "omniglot", "split": "test", "seed": 0, "queries": 15}
        write_json(
            folder / "results" / f"omniglot-test-{ways}way.json",
            {**record, "interval_over": over, "rows": rows, "classes": list(names)},
        )
    if artifacts:
        support, query = np.repeat(np.arange(ways), 3), np.repeat(np.arange(ways), 12)
        called = np.where(rng.uniform(size=len(query)) < right - 0.1, query, rng.integers(0, ways, len(query)))
        np.savez(
            folder / "artifacts.npz",
            confusion=drawn_confusion(rng, len(names), 150, right),
            classes=np.array(names),
            support_pixels=drawn_pictures(rng, support, channels, size),
            support_labels=support,
            query_pixels=drawn_pictures(rng, query, channels, size),
            query_labels=query,
            query_predictions=called,
            task_classes=np.array(names[:ways]),
            **lda_arrays(rng, names[:3]),
        )
    return folder


def make_classifier(
    folder: Path, names: Sequence[str], *, single: Sequence[str] = (), right: float = 0.85, seed: int = 0
) -> Path:
    rng = np.random.default_rng(seed)
    counts = drawn_confusion(rng, len(names), 20, right)
    recall = np.diag(counts) / counts.sum(1)
    everything = [*names, *single]
    write_json(
        folder / "classifier.json",
        {
            "kind": "classifier",
            "version": "0.1.0",
            "head": "ridge",
            "settings": {"penalty": 10.0, "folds": 5, "seed": 0},
            "classes": everything,
            "ids": [f"{i}.png" for i in range(20 * len(names) + len(single))],
            "encoder": {"name": "pictures", "fingerprint": "0123456789abcdef"},
        },
    )
    bins = []
    for i in range(15):
        confidence = (i + 0.5) / 15
        bins.append({"confidence": confidence, "accuracy": min(1.0, confidence * 0.93 + 0.02), "n": 4 * i})
    row = {
        "balanced_accuracy": float(recall.mean()),
        "ci95": 0.04,
        "interval": [float(recall.mean() - 0.04), float(recall.mean() + 0.03)],
        "interval_over": f"new pictures of these {len(names)} classes, training pictures as they are",
        "head": "ridge",
        "encoder": "pictures",
        "per_class": {
            name: {"recall": float(r), "n": 20, "interval": [float(r) - 0.1, float(r)]}
            for name, r in zip(names, recall, strict=True)
        },
        "ece": 0.031,
        "not_measurable": list(single),
        "classes": len(everything),
        "pictures": 20 * len(names) + len(single),
        "reliability": bins,
    }
    write_json(folder / "results.json", {"kind": "fit", "rows": [row]})
    some = np.arange(min(len(names), 20))
    np.savez(
        folder / "artifacts.npz",
        confusion=counts,
        classes=np.array(names),
        right_pixels=drawn_pictures(rng, some, 3, 64),
        right_labels=some,
        right_predictions=some,
        wrong_pixels=drawn_pictures(rng, some, 3, 64),
        wrong_labels=some,
        wrong_predictions=(some + 1) % len(names),
        **lda_arrays(rng, list(names)[:3]),
    )
    return folder


@pytest.fixture
def run_folder() -> Maker:
    """`run_folder(folder, class_names, ...)` writes a run folder."""
    return make_run


@pytest.fixture
def classifier_folder() -> Maker:
    """`classifier_folder(folder, class_names, ...)` writes a classifier folder."""
    return make_classifier


def inner_arrays(rng: np.random.Generator, layers: Sequence[str], steps: int, tasks: int, generated: bool) -> dict[str, Any]:
    """What the inner loops of an evaluation record; alpha falls by 0.1 a step in the last layer, the others are flat."""
    fall = np.zeros((tasks, steps, len(layers)))
    fall[:, :, -1] = -0.1 * np.arange(steps)
    found = {
        "inner_layers": np.array(layers),
        "inner_losses": 1.6 - 0.4 * np.arange(steps) + rng.normal(0, 0.01, (tasks, steps)),
        "inner_distance": rng.uniform(1, 2, tasks),
        "distance_1shot": rng.uniform(1, 2, tasks),
        "distance_5shot": rng.uniform(2, 3, tasks),
    }
    if generated:
        found["inner_alpha"] = 0.5 + fall + rng.normal(0, 1e-3, fall.shape)
        found["inner_beta"] = 1 + rng.normal(0, 1e-3, fall.shape)
    return found


def make_gradient_run(
    folder: Path, names: Sequence[str], *, places: Sequence[str] = ("digits",), modes: Sequence[str] = ("support", "batch"),
    layers: Sequence[str] = ("encoder.conv.weight", "linear.weight"), steps: int = 3, tasks: int = 40,
    generated: bool = True, seed: int = 0,
) -> Path:  # fmt: skip
    """A run of a gradient method, evaluated on several data sets under several batch-norm modes."""
    make_run(folder, names, results=False, artifacts=False, config={"method": "alfa"}, seed=seed)
    rng = np.random.default_rng(seed)
    for number, place in enumerate(places):
        rows = []
        for shots in (1, 5):
            hard = np.random.default_rng(9).normal(0.7 + shots / 50, 0.05, tasks).round(4)
            for mode in modes:
                right = (hard + (0.03 if mode == "batch" else 0) + rng.normal(0, 0.01, tasks)).round(4)
                row = {"ways": 5, "shots": shots, "accuracy": float(right.mean()), "ci95": 0.02, "tasks": tasks}
                kind = {"batch_norm": mode, "transductive": mode == "batch", "inner_steps": steps}
                rows.append({**row, **kind, "tasks_digest": f"{place}-{shots}", "per_task": right.tolist()})
        record = {"kind": "evaluate", "data": place, "split": "test", "seed": 0, "queries": 15, "head": "alfa"}
        over = f"draws of {tasks} tasks of {place}"
        write_json(folder / "results" / f"{number}.json", {**record, "interval_over": over, "rows": rows})
        np.savez(folder / "results" / f"{number}.npz", **inner_arrays(rng, layers, steps, tasks, generated))
    return folder


@pytest.fixture
def gradient_folder() -> Maker:
    """`gradient_folder(folder, class_names, ...)` writes the folder of a run of a gradient method."""
    return make_gradient_run

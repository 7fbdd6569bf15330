"""Arrays of an evaluation for the report, RUN/artifacts.npz: confusion counts, a task as pictures, features of classes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.data.pictures import PictureSet
from modicum.episodes.sampler import Tasks
from modicum.files import write_bytes
from modicum.training.scoring import Learner, Scores, picture_features

LDA_PICTURES = 100
"""Pictures of each of three classes in the LDA figure (dissertation, fig. 5.2)."""
INNER = ("inner_", "distance_")
"""How the names of arrays begin that tell what inner loops did: `inner_records`, `travelled.distance_arrays`."""


def confusion(tasks: Tasks, scores: Scores, n_classes: int) -> NDArray[np.int64]:
    """Counts (C, C) of true class (row) against predicted class over all queries of all tasks."""
    true = np.take_along_axis(tasks.classes, tasks.query_y, 1)[tasks.query_mask]
    guess = np.take_along_axis(tasks.classes, scores.predicted, 1)[tasks.query_mask]
    return np.bincount(true * n_classes + guess, minlength=n_classes**2).reshape(n_classes, n_classes)


def sample_task(tasks: Tasks, scores: Scores, pictures: PictureSet, shown: int = 100) -> dict[str, NDArray[Any]]:
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


def lda_arrays(learner: Learner, pictures: PictureSet, where: torch.device) -> dict[str, NDArray[Any]]:
    """Features (m, D) of up to LDA_PICTURES pictures of each of the first three classes, under running statistics."""
    sizes = np.bincount(pictures.labels, minlength=len(pictures.classes))
    chosen = np.flatnonzero(sizes)[:3]
    index = np.concatenate([np.flatnonzero(pictures.labels == c)[:LDA_PICTURES] for c in chosen])
    features = picture_features(learner, pictures.pixels, index, where).float().cpu().numpy()
    return {
        "lda_features": features,
        "lda_labels": np.searchsorted(chosen, pictures.labels[index]),
        "lda_classes": np.array([pictures.classes[c] for c in chosen]),
    }


def write_artifacts(run: Path, result: Path, parts: dict[str, NDArray[Any]]) -> None:
    """Write RUN/artifacts.npz, which the next evaluation replaces, and what the inner loops of a gradient method did also
    beside the result file, under its name with .npz, so that evaluations on several data sets can be set side by side."""
    write_bytes(run / "artifacts.npz", _archive(parts))
    inner = {name: value for name, value in parts.items() if name.startswith(INNER)}
    if inner:
        write_bytes(result.with_name(result.name.removesuffix(".json") + ".npz"), _archive(inner))


def _archive(parts: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **parts)  # type: ignore[arg-type]
    return buffer.getvalue()

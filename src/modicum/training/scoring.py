"""Accuracy of a learner over many tasks, batched; the picture features are computed once where the mode allows it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.learner import HeadLearner
from modicum.backbones.batch_norm import copy_buffers, forward_frozen
from modicum.episodes.cutting import Pixels, cut, gather, labelled
from modicum.episodes.sampler import Tasks
from modicum.runtime import Progress

PICTURES_PER_CALL = 512
TASKS_PER_CALL = 32


class Scores(NamedTuple):
    """per_task (T,) accuracies in [0, 1]; predicted (T, Q) labels in 0..N-1 of the tasks' own order."""

    per_task: NDArray[np.float64]
    predicted: NDArray[np.int64]


@torch.no_grad()
def picture_features(
    learner: HeadLearner, pixels: Pixels, index: NDArray[np.int64], device: torch.device, progress: Progress | None = None
) -> Tensor:
    """Features (n, D) of the pictures at index (n,) under stored batch-norm statistics."""
    buffers, parts = copy_buffers(learner.encoder), []
    for start in range(0, len(index), PICTURES_PER_CALL):
        chunk = index[start : start + PICTURES_PER_CALL]
        parts.append(forward_frozen(learner.encoder, gather(pixels, chunk, device), buffers))
        if progress is not None:
            progress(min(start + PICTURES_PER_CALL, len(index)), len(index))
    return torch.cat(parts)


def _chunk(tasks: Tasks, start: int) -> Tasks:
    return Tasks._make(value[start : start + TASKS_PER_CALL] for value in tasks)


@torch.no_grad()
def score_tasks(
    learner: HeadLearner, pixels: Pixels, tasks: Tasks, device: torch.device, progress: Progress | None = None
) -> Scores:
    """Accuracy of every task; padded queries do not count.

    In `running` mode a picture's features do not depend on its task, so each picture is embedded once.
    """
    learner = learner.eval()
    shared = learner.batch_norm == "running"
    if shared:
        index, place = np.unique(np.concatenate([tasks.support, tasks.query], 1), return_inverse=True)
        z = picture_features(learner, pixels, index, device, progress)
        place = place.reshape(len(tasks.number), -1)
    accuracy, predicted = [], []
    for start in range(0, len(tasks.number), TASKS_PER_CALL):
        chunk = _chunk(tasks, start)
        if shared:
            shots = chunk.support.shape[1]
            rows = z[torch.from_numpy(place[start : start + TASKS_PER_CALL]).to(device)]
            support, query = labelled(chunk, "support", rows[:, :shots]), labelled(chunk, "query", rows[:, shots:])
            mask = None if chunk.way_mask.all() else torch.from_numpy(chunk.way_mask).to(device)
            logits = learner.head.fit(support, chunk.classes.shape[1], mask)(query.x)
        else:
            episode = cut(pixels, chunk, device)
            query = episode.query
            logits = learner.adapt(episode.support, episode.n_out, episode.out_mask)(query.x)
            if progress is not None:
                progress(min(start + TASKS_PER_CALL, len(tasks.number)), len(tasks.number))
        labels = logits.argmax(-1).cpu().numpy()
        right = (labels == chunk.query_y) & chunk.query_mask
        accuracy.append(right.sum(1) / chunk.query_mask.sum(1))
        predicted.append(labels)
    return Scores(np.concatenate(accuracy), np.concatenate(predicted))

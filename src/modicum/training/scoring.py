"""Accuracy of a learner over many tasks, batched; the picture features are computed once where the mode allows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.gradient.adapted import AdaptedNetworks
from modicum.adaptation.learner import HeadLearner
from modicum.backbones.batch_norm import copy_buffers, forward_frozen
from modicum.episodes.cutting import Pixels, cut, gather, labelled
from modicum.episodes.interfaces import Adapted
from modicum.episodes.sampler import Tasks
from modicum.evaluation.travelled import Travelled, distances, of_layers
from modicum.runtime import Progress, Ranks
from modicum.training.processes import largest, summed

if TYPE_CHECKING:
    from modicum.adaptation.fine_tuning import FineTuningLearner
    from modicum.adaptation.gradient.learner import GradientLearner

PICTURES_PER_CALL = 512
TASKS_PER_CALL = 32


Learner: TypeAlias = "HeadLearner | FineTuningLearner | GradientLearner"
"""What can be scored."""


class Scores(NamedTuple):
    """per_task (T,) accuracies in [0, 1]; predicted (T, Q) labels in 0..N-1 of the tasks' own order.

    residual: the largest residual of an iterative solver over all tasks, None for heads without one. travelled: how far the
    network of each task is from where gradient steps began, of the first learner; None for others.
    """

    per_task: NDArray[np.float64]
    predicted: NDArray[np.int64]
    residual: float | None = None
    travelled: Travelled | None = None


@torch.no_grad()
def picture_features(
    learner: Learner, pixels: Pixels, index: NDArray[np.int64], device: torch.device, progress: Progress | None = None
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


class _Member:
    """One learner of an ensemble. In `running` mode features do not depend on the task: each picture is embedded once."""

    def __init__(
        self, learner: Learner, pixels: Pixels, tasks: Tasks, device: torch.device, progress: Progress | None
    ) -> None:
        self.learner, self.pixels, self.device = learner.eval(), pixels, device
        self.features: Tensor | None = None
        self.residual: float | None = None
        self.travelled: list[Travelled] = []
        if isinstance(learner, HeadLearner) and learner.batch_norm == "running":
            index, place = np.unique(np.concatenate([tasks.support, tasks.query], 1), return_inverse=True)
            self.features = picture_features(learner, pixels, index, device, progress)
            self.place = place.reshape(len(tasks.number), -1)

    def logits(self, chunk: Tasks, start: int) -> Tensor:
        """Query logits (E, Q, N) of a chunk of the tasks, which begins at task `start`."""
        if self.features is None or not isinstance(self.learner, HeadLearner):
            episode = cut(self.pixels, chunk, self.device)
            adapted: Adapted = self.learner.adapt(episode.support, episode.n_out, episode.out_mask)
            query = episode.query.x
            predictor = getattr(adapted, "predictor", adapted)
        else:
            rows = self.features[torch.from_numpy(self.place[start : start + len(chunk.number)]).to(self.device)]
            shots = chunk.support.shape[1]
            mask = None if chunk.way_mask.all() else torch.from_numpy(chunk.way_mask).to(self.device)
            support, query = labelled(chunk, "support", rows[:, :shots]), rows[:, shots:]
            adapted = predictor = self.learner.head.fit(support, chunk.classes.shape[1], mask)
        if isinstance(adapted, AdaptedNetworks):
            after = [network.parameters for network in adapted.networks]
            self.travelled.append(distances(dict(adapted.model.named_parameters()), after))
        residual = getattr(predictor, "residual", None)
        if residual is not None:
            self.residual = max(self.residual or 0.0, float(residual.max()))
        logits: Tensor = adapted(query)
        return logits


def score_tasks(
    learners: Sequence[Learner],
    pixels: Pixels,
    tasks: Tasks,
    device: torch.device,
    progress: Progress | None = None,
    here: Ranks = Ranks(),  # noqa: B008
) -> Scores:
    """Accuracy of every task by the mean logits of the learners (one, or an ensemble); padded queries do not count.

    Of several processes each takes the tasks t = r mod R, and all return the scores of all.
    """
    accuracy = np.zeros(len(tasks.number))
    predicted = np.zeros(tasks.query.shape, np.int64)
    mine = np.arange(here.rank, len(tasks.number), here.size)
    own = Tasks._make(value[mine] for value in tasks)
    residual = travelled = None
    if len(mine):
        accuracy[mine], predicted[mine], residual, travelled = _score(learners, pixels, own, device, progress)
    if here.size == 1:
        return Scores(accuracy, predicted, residual, travelled)
    accuracy = summed(torch.from_numpy(accuracy).to(device)).cpu().numpy()
    predicted = summed(torch.from_numpy(predicted).to(device)).cpu().numpy()
    if travelled is None or len(tasks.number) < here.size:  # a process without tasks knows of no layers
        return Scores(accuracy, predicted, largest(residual, device))
    layers = np.zeros((len(tasks.number), len(travelled.names)))
    layers[mine] = travelled.layers
    layers = summed(torch.from_numpy(layers).to(device)).cpu().numpy()
    return Scores(accuracy, predicted, largest(residual, device), of_layers(layers, travelled.names))


@torch.no_grad()
def _score(
    learners: Sequence[Learner], pixels: Pixels, tasks: Tasks, device: torch.device, progress: Progress | None
) -> Scores:
    members = [_Member(learner, pixels, tasks, device, progress) for learner in learners]
    accuracy, predicted = [], []
    for start in range(0, len(tasks.number), TASKS_PER_CALL):
        chunk = _chunk(tasks, start)
        logits = torch.stack([member.logits(chunk, start) for member in members]).mean(0)
        labels = logits.argmax(-1).cpu().numpy()
        right = (labels == chunk.query_y) & chunk.query_mask
        accuracy.append(right.sum(1) / chunk.query_mask.sum(1))
        predicted.append(labels)
        if progress is not None and members[0].features is None:
            progress(min(start + TASKS_PER_CALL, len(tasks.number)), len(tasks.number))
    found = [member.residual for member in members if member.residual is not None]
    far = members[0].travelled
    travelled = of_layers(np.concatenate([part.layers for part in far]), far[0].names) if far else None
    return Scores(np.concatenate(accuracy), np.concatenate(predicted), max(found, default=None), travelled)

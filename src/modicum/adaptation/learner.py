"""HeadLearner: an encoder and a head as one learner of pictures, with the three batch-norm modes.

`running`: stored statistics; `support`: statistics of each task's support set, frozen for its queries; `batch`: the
statistics of whatever stands together in a call, which sees the other queries and is therefore transductive.
In training, statistics are those of each task and each call (support and query apart), and `adapt` changes no buffer:
the outer loop takes the updated buffers from `episode_logits` and stores them after its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from modicum.backbones.batch_norm import (
    copy_buffers,
    forward_batch,
    forward_frozen,
    forward_training,
    mean_buffers,
    support_buffers,
)
from modicum.backbones.encoder import Encoder
from modicum.configs import BatchNorm
from modicum.episodes.interfaces import AbstractHead, AbstractLearner, Adapted
from modicum.episodes.types import Episode, LabelledSet

Buffers = dict[str, Tensor]


@final
class PictureClassifier(Adapted):
    """A head's predictor behind the encoder it was made with; x (..., Q, C, H, W) -> logits (..., Q, N).

    buffers: one per task (`support`), or one for all (`running`); None in `batch` mode.
    """

    def __init__(self, encoder: Encoder, predictor: Adapted, batch_norm: BatchNorm, buffers: list[Buffers] | None) -> None:
        super().__init__({"batch_norm": batch_norm}, predictor.support_ids)
        self.encoder, self.predictor, self.buffers_of_tasks = encoder, predictor, buffers

    def features(self, x: Tensor) -> Tensor:
        """Query features (..., Q, D) under this classifier's batch-norm mode."""
        if self.config["batch_norm"] == "running":
            return forward_frozen(self.encoder, x, copy_buffers(self.encoder))
        tasks, lead = x.flatten(0, -5) if x.ndim > 4 else x.unsqueeze(0), x.shape[:-3]
        if self.config["batch_norm"] == "batch":
            z = [forward_batch(self.encoder, task) for task in tasks]
        else:
            assert self.buffers_of_tasks is not None
            z = [forward_frozen(self.encoder, task, b) for task, b in zip(tasks, self.buffers_of_tasks, strict=True)]
        return torch.stack(z).reshape(*lead, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N)."""
        logits: Tensor = self.predictor(self.features(x))
        return logits


@final
class HeadLearner(AbstractLearner):
    """Encoder + head. `adapt` is pure; trait `transductive` follows the batch-norm mode."""

    def __init__(self, encoder: Encoder, head: AbstractHead, batch_norm: BatchNorm = "running") -> None:
        super().__init__()
        self.encoder, self.head, self.batch_norm = encoder, head, batch_norm
        self.traits = head.traits._replace(transductive=head.traits.transductive or batch_norm == "batch")

    def adapt(
        self, support: LabelledSet, n_out: int, out_mask: Tensor | None = None, *, trace: bool = False
    ) -> PictureClassifier:
        """A classifier of pictures from support pictures x (..., S, C, H, W), uint8 or float in [0, 1].

        trace is accepted for the interface; a head has no intermediate steps.
        """
        z, buffers = self.support_features(support.x, support.mask)
        predictor = self.head.fit(support._replace(x=z), n_out, out_mask)
        return PictureClassifier(self.encoder, predictor, self.batch_norm, buffers)

    def support_features(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Buffers] | None]:
        """Features (..., S, D) under the batch-norm mode, and the statistics queries must use (`support` only).

        mask (..., S): entries that only pad a set do not enter the statistics of `support` mode.
        """
        if self.batch_norm == "running":
            return forward_frozen(self.encoder, x, copy_buffers(self.encoder)), None
        tasks, lead = x.flatten(0, -5) if x.ndim > 4 else x.unsqueeze(0), x.shape[:-3]
        if self.batch_norm == "batch":
            z = [forward_batch(self.encoder, task) for task in tasks]
            return torch.stack(z).reshape(*lead, -1), None
        masks = [None] * len(tasks) if mask is None else mask.reshape(len(tasks), -1)
        parts = [self._support(task, keep) for task, keep in zip(tasks, masks, strict=True)]
        return torch.stack([z for z, _ in parts]).reshape(*lead, -1), [b for _, b in parts]

    def _support(self, x: Tensor, keep: Tensor | None) -> tuple[Tensor, Buffers]:
        """Features (S, D) under the statistics of the pictures that `keep` (S,) says are there, and these statistics."""
        if keep is None or bool(keep.all()):
            return support_buffers(self.encoder, x)
        _, buffers = support_buffers(self.encoder, x[keep])
        return forward_frozen(self.encoder, x, buffers), buffers

    def episode_logits(
        self, episode: Episode, precision: torch.dtype = torch.float32, seeds: Sequence[int] = ()
    ) -> tuple[Tensor, Buffers]:
        """Training: query logits (E, Q, N) of a batch of tasks and the encoder's updated buffers, averaged over tasks.

        seeds: one a task for torch's global generator (dropout), so that a task's draws do not depend on the others.

        A loop over tasks, because statistics are per task and a task's pictures fill the convolutions of a CPU; the
        head sees all tasks at once, in float32 whatever the encoder's precision.
        """
        before, after = copy_buffers(self.encoder), []
        support, query = [], []
        device = episode.support.x.device.type
        with torch.autocast(device, dtype=precision, enabled=precision != torch.float32):
            for e, (s, q) in enumerate(zip(episode.support.x, episode.query.x, strict=True)):
                if seeds:
                    torch.manual_seed(seeds[e])
                z_s, buffers = forward_training(self.encoder, s, before)
                z_q, buffers = forward_training(self.encoder, q, buffers)
                support.append(z_s)
                query.append(z_q)
                after.append(buffers)
        z_support, z_query = torch.stack(support), torch.stack(query)
        if precision != torch.float32:
            z_support, z_query = z_support.float(), z_query.float()
        predictor = self.head.fit(episode.support._replace(x=z_support), episode.n_out, episode.out_mask)
        logits: Tensor = predictor(z_query)
        return logits, mean_buffers(after)

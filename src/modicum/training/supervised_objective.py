"""What rac minimises: a loss for long tails on the logits of both branches together, or of one.

Alexander Long, Wei Yin, Thalaiyasingam Ajanthan, Vu Nguyen, Pulak Purkait, Ravi Garg, Alan Blair, Chunhua Shen, Anton van
den Hengel, "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233: ONE loss, of
the combined logits. Pictures are augmented once; the base branch and the memory's encoder see the same ones, each at its
own size. Batch norm of the base branch is by the step's pictures.

Under torchrun every process takes its part of a step's pictures: losses are means over pictures, so parts add up, and batch
norm is over all of them (`SynchronisedBatchNorm2d`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.augmentation.rand_augment import rand_augment
from modicum.backbones.batch_norm import Buffers
from modicum.configs import Train
from modicum.data.class_balanced import balanced_batch, class_rows, progressive_batch, square_root_batch
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, gather
from modicum.errors import ConfigError, DataError
from modicum.losses.long_tail import LOSSES, LongTailLoss
from modicum.retrieval.embedding import fitted
from modicum.retrieval.rac import RAC
from modicum.runtime import Ranks
from modicum.training.classical import epoch_batch
from modicum.training.objectives import (
    AbstractObjective,
    DropSchedule,
    Part,
    own_places,
    resident,
    seed_dropout,
    training_features,
)

Ints = NDArray[np.int64]


def loss_of(config: Train) -> LongTailLoss:
    """The named loss with the options given."""
    named = LOSSES[config.loss]
    return replace(
        named,
        tau=config.tau,
        weighting=named.weighting if config.weighting is None else config.weighting,
        label_smoothing=named.label_smoothing if config.label_smoothing is None else config.label_smoothing,
        gamma=config.focal_gamma if config.loss == "focal" else named.gamma,
    )


@final
class SupervisedObjective(AbstractObjective):
    """A loss for long tails on the pictures of a step; ids (n,): what item of the memory each training picture is, or -1."""

    def __init__(
        self, config: Train, network: RAC, pictures: PictureSet, rows: Ints, ids: Ints, device: torch.device
    ) -> None:
        self.config, self.device, self.rows, self.ids = config, device, rows, ids
        self.labels = pictures.labels[rows].astype(np.int64)
        self.by_class = class_rows(self.labels)
        self.counts = torch.from_numpy(np.bincount(self.labels, minlength=len(pictures.classes))).to(device)
        self.pixels: Pixels = resident(pictures.pixels, device)
        self.module = self.network = network.to(device)
        if network.base is not None:
            self.encoder = network.base
            network.base.to(memory_format=torch.channels_last)
            self.dropping = DropSchedule(network.base, 1)
        self.loss = loss_of(config)
        self.fixed = config.decouple != "none"

    @property
    def buffered(self) -> nn.Module:
        """The base branch's encoder, or the network where there is none."""
        return self.network if self.network.base is None else self.network.base

    def example(self) -> Tensor:
        """The first two training pictures, as the base branch gets them."""
        x = gather(self.pixels, self.rows[:2], self.device)
        return x if self.network.base is None else fitted(x, self.network.base.spec)

    def batch(self, step: int) -> Ints:
        """Places (B,) among the training pictures of a step."""
        config, size = self.config, self.config.batch_pictures
        if config.sampler == "plain":
            return epoch_batch(self.labels, size, config.seed, step)
        if config.sampler == "progressive":
            return progressive_batch(self.by_class, size, config.seed, step, config.steps)
        drawn = square_root_batch if config.sampler == "square-root" else balanced_batch
        return drawn(self.by_class, size, config.seed, step)

    def _pictures(self, places: Ints, mine: slice, step: int) -> Tensor:
        """This process's pictures of a step (b, C, H, W), augmented."""
        x = gather(self.pixels, self.rows[places[mine]], self.device)
        return rand_augment(x, self.config.seed, step, mine) if self.config.rand_augment else x

    def _features(self, x: Tensor) -> tuple[Tensor | None, Buffers]:
        """B's features of a step's pictures under their own statistics, and its updated buffers."""
        base = self.network.base
        if base is None:
            return None, {}
        x = fitted(x, base.spec)
        if self.fixed:
            base.eval()
            with torch.no_grad():
                return base(x), {}
        return training_features(base, x)

    def part(self, step: int, here: Ranks) -> Part:
        """This process's part: pictures from r B/R on of the step's."""
        places = self.batch(step)
        mine = own_places(len(places), here)
        x = self._pictures(places, mine, step)
        if self.network.base is not None:
            self.dropping.set(step)
        self.network.train()
        seed_dropout(self.config.seed, step, here)
        features, buffers = self._features(x)
        ids = torch.from_numpy(self.ids[places[mine]])
        try:
            found = self.network.branch_logits(x, ids, features=features, seen=x)
        except DataError as error:  # of the memory or the frozen encoder: no sign that training diverged
            raise ConfigError(f"memory: {error}") from error
        logits, y = self.network.chosen(found), torch.from_numpy(self.labels[places[mine]]).to(self.device)
        loss = self.loss(logits, y, self.counts)
        accuracy = (logits.detach().argmax(-1) == y).float().mean()
        return Part(loss / here.size, accuracy / here.size, buffers, 1 / here.size)

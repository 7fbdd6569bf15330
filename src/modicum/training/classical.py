"""Classical transfer learning: cross-entropy over all training classes at once, with the regularisers of Goldblum et al.

Micah Goldblum, Steven Reich, Liam Fowl, Renkun Ni, Valeriia Cherepanova, Tom Goldstein, "Unraveling Meta-Learning:
Understanding Feature Representations for Few-Shot Tasks", ICML 2020, arXiv 2002.06753.

    L = cross-entropy(W f(x) + b, y) + coefficient * R(f(x), y)

| --regularizer | R (`modicum.losses`) |
|---|---|
| feature-clustering | R_FC, mean over all pairs of classes of the step: published coefficients and tables |
| feature-clustering-batch | R_FC, one ratio over all classes of the step: the formula as printed, which grows with them |
| hyperplane-variation | 4 R_HV^2, mean over all pairs: published coefficients and tables |
| hyperplane-variation-printed | R_HV as printed |

| symbol | variable | shape |
|---|---|---|
| f(x) | features | (B, D) |
| W, b | classifier | D -> C |

Plain training goes through all pictures epoch by epoch in a fresh order. With a regulariser a step holds two different
pictures of each of B/2 classes (some twice where there are fewer classes than that),
so that a spread within a class exists. R is taken over the classes of the step as they stand.

Under torchrun every process embeds a part of the step's pictures with batch norm over all of them
(`SynchronisedBatchNorm2d`), features are gathered, and each takes an equal part of the one loss: as one process,
but that dropout (`resnet12`, `conv4-r2d2`) is drawn by each process for its own pictures.

Deviations: the paper's batches for the plain baseline are not described; ours are an ordinary shuffle. The released code
takes disjoint pairs of classes instead of all, and a weight decay of 5e-4 where the text says 1e-4 (the recipes': 1e-4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.adaptation.learner import HeadLearner
from modicum.augmentation.baseline import Draws, augment, draw, padding_of
from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import Encoder, light_strokes
from modicum.backbones.synchronised import gathered, synchronise
from modicum.configs import Train, require
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, gather
from modicum.errors import DataError
from modicum.losses.class_pairs import two_of_each
from modicum.losses.feature_clustering import feature_clustering, feature_clustering_all_pairs
from modicum.losses.hyperplane_variation import hyperplane_variation, hyperplane_variation_squared
from modicum.runtime import Ranks, philox
from modicum.training.objectives import AbstractObjective, DropSchedule, Part, own_places, resident, seed_dropout
from modicum.training.runs import build_learner, image_spec

Ints = NDArray[np.int64]
REGULARIZERS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "feature-clustering": lambda features, y: feature_clustering_all_pairs(two_of_each(features, y)),
    "feature-clustering-batch": feature_clustering,
    "hyperplane-variation": lambda features, y: hyperplane_variation_squared(two_of_each(features, y)),
    "hyperplane-variation-printed": lambda features, y: hyperplane_variation(two_of_each(features, y)),
}
"""Name -> function of features (B, D) and labels (B,)."""


@final
class ClassicalNetwork(nn.Module):
    """An encoder and a linear layer over all training classes."""

    def __init__(self, encoder: Encoder, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.n_features, n_classes)


def epoch_batch(labels: Ints, size: int, seed: int, step: int) -> Ints:
    """Rows (size,) of step `step` when all pictures are gone through in an order drawn anew for every epoch.

    An epoch has n // size steps; what is left over at its end is left out. Pure function of (seed, step).
    """
    steps = len(labels) // size
    order = philox(seed, "classical/epoch", step // steps).permutation(len(labels))
    at = (step % steps) * size
    return order[at : at + size]


def paired_batch(labels: Ints, size: int, seed: int, step: int) -> Ints:
    """Rows (size,) of step `step`, two different pictures of each class drawn, neighbours in the result.

    Classes are drawn without repetition until each has been, then again. Pure function of (seed, step).
    """
    rng = philox(seed, "classical/pairs", step)
    classes = np.unique(labels)
    rounds = [rng.permutation(classes) for _ in range(-(-size // (2 * len(classes))))]
    drawn = np.concatenate(rounds)[: size // 2]
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), 2, replace=False) for c in drawn])


@final
class ClassicalObjective(AbstractObjective):
    """Cross-entropy and a regulariser on the pictures of a step."""

    def __init__(self, config: Train, pictures: PictureSet, device: torch.device, here: Ranks) -> None:
        labels, size = pictures.labels.astype(np.int64), config.batch_pictures
        sizes = np.bincount(labels, minlength=len(pictures.classes))
        require(size <= len(labels), f"batch_pictures: {size} asked for, but there are {len(labels)} training pictures")
        require(size % here.size == 0, f"batch_pictures: {size} cannot be shared evenly by {here.size} processes")
        if config.regularizer != "none" and sizes.min() < 2:
            few = pictures.classes[int(sizes.argmin())]
            raise DataError(f"regularizer: takes two pictures of each class, but {few!r} has {sizes.min()}")
        self.config, self.device, self.labels = config, device, labels
        self.pixels: Pixels = resident(pictures.pixels, device)
        self.learner: HeadLearner = build_learner(config, image_spec(pictures)).to(device)
        self.encoder = synchronise(self.learner.encoder) if here.size > 1 else self.learner.encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1)
            self.module = ClassicalNetwork(self.encoder, len(pictures.classes)).to(device)
        self.module.to(memory_format=torch.channels_last)
        self.classifier = self.module.classifier
        self.dropping = DropSchedule(self.encoder, 1)

    def example(self) -> Tensor:
        """The first two pictures."""
        return gather(self.pixels, np.arange(2), self.device)

    def batch(self, step: int) -> Ints:
        """Rows of the pictures of a step."""
        rule = epoch_batch if self.config.regularizer == "none" else paired_batch
        return rule(self.labels, self.config.batch_pictures, self.config.seed, step)

    def _pictures(self, rows: Ints, mine: slice, step: int) -> Tensor:
        x = gather(self.pixels, rows[mine], self.device)
        if not self.config.augment:
            return x
        padding = padding_of(x.shape[-1])
        draws = draw(np.array([step]), len(rows), padding, self.config.seed, "augment/pictures")
        if self.encoder.spec.strokes == "light":
            x = light_strokes(x.float() / 255)
        return augment(x[None], Draws._make(part[:, mine] for part in draws), padding)[0]

    def part(self, step: int, here: Ranks) -> Part:
        """This process's part: pictures from r B/R on, its R-th of the loss of all."""
        config = self.config
        rows = self.batch(step)
        x = self._pictures(rows, own_places(len(rows), here), step)
        self.dropping.set(step)
        self.module.train()
        seed_dropout(config.seed, step, here)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
            own, buffers = forward_training(self.encoder, x, copy_buffers(self.encoder))
        features = gathered(own.float())
        if not bool(torch.isfinite(features).all()):
            raise DataError("features of the training pictures are not finite")
        y = torch.from_numpy(self.labels[rows]).to(self.device)
        logits = self.classifier(features)
        loss = F.cross_entropy(logits, y)
        if config.regularizer != "none":
            loss = loss + config.coefficient * REGULARIZERS[config.regularizer](features, y)
        accuracy = (logits.argmax(-1) == y).float().mean()
        return Part(loss / here.size, accuracy / here.size, buffers, 1 / here.size)

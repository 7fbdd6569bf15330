"""What a training minimises: tasks (`episodic`) or pictures of all classes at once (`classical`), one interface for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.learner import HeadLearner
from modicum.backbones.batch_norm import Buffers, copy_buffers, forward_training
from modicum.backbones.encoder import Encoder
from modicum.backbones.resnet12 import ResNet12, drop_rate_at
from modicum.episodes.cutting import Pixels
from modicum.errors import DataError
from modicum.runtime import Ranks, philox


class Part(NamedTuple):
    """This process's part of one step: its addends to the mean loss and accuracy of the whole batch, and updated buffers.

    loss: the trainer differentiates it, unless the objective has done so, which left gradients and gives it detached.
    buffers: by name in `AbstractObjective.buffered`. share: the part of the batch that lies here, in 0..1; over all
    processes the shares sum to 1.
    """

    loss: Tensor
    accuracy: Tensor
    buffers: dict[str, Tensor]
    share: float


class AbstractObjective(ABC):
    """module: what is trained and stored, with an `encoder` inside; learner: how validation tests that encoder.

    buffered: the module whose buffers the steps update; the encoder, unless an objective says otherwise.
    note: what a user should know of the training pictures or tasks, or "".
    """

    module: nn.Module
    encoder: Encoder
    learner: HeadLearner | GradientLearner
    note: str = ""
    optimizer: torch.optim.Optimizer | None = None
    """The optimiser of `module`, where the options' one does not serve."""

    @property
    def buffered(self) -> nn.Module:
        """Where updated buffers belong."""
        return self.encoder

    @abstractmethod
    def part(self, step: int, here: Ranks) -> Part:
        """Loss of this process's share of global step `step` (from 0); a pure function of parameters, seed and step.

        Gradients are empty before. `DataError` where features are not finite.
        """

    @abstractmethod
    def example(self) -> Tensor:
        """Two pictures (2, C, H, W) uint8 to try the encoder on."""


def resident(pixels: np.ndarray, device: torch.device) -> Pixels:
    """Pictures (n, H, W, C) where a step reads them: in the GPU's memory, or as they are for the CPU."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device) if device.type == "cuda" else pixels


def own_places(n: int, here: Ranks) -> slice:
    """The places of a step's n pictures that lie here: from r n/R on, n/R of them."""
    each = n // here.size
    return slice(here.rank * each, (here.rank + 1) * each)


def training_features(encoder: Encoder, x: Tensor) -> tuple[Tensor, Buffers]:
    """Features (b, D) of a step's pictures under their own statistics, and updated buffers.

    `DataError` where features are not finite.
    """
    features, buffers = forward_training(encoder, x, copy_buffers(encoder))
    if not bool(torch.isfinite(features).all()):
        raise DataError("features of the training pictures are not finite")
    return features, buffers


def seed_dropout(seed: int, step: int, here: Ranks) -> None:
    """Seed torch for what a step drops here."""
    torch.manual_seed(int(philox(seed, f"dropout/{here.rank}", step).integers(2**62)))


class DropSchedule:
    """DropBlock's rate over the passes of a training, for the backbone that has it (`resnet12`); else does nothing."""

    def __init__(self, encoder: Encoder, passes: int) -> None:
        backbone = encoder.backbone
        self.backbone = backbone if isinstance(backbone, ResNet12) else None
        self.full, self.passes = (backbone.drop_rate if isinstance(backbone, ResNet12) else 0.0), passes

    def set(self, step: int) -> None:
        """Set the rate of step `step`, which is preceded by so many times `passes` passes."""
        if self.backbone is not None:
            self.backbone.block_rate = drop_rate_at(self.passes * step, self.full)

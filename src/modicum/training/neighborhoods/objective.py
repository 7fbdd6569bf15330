"""What Meta-Neighborhoods minimises: cross-entropy of logits after the inner steps on the dictionary, all trained at once.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, eq. 4 and appendix A.2:

    L = mean over pictures of CE(f_phi'(mu(x)), y),     phi' = phi after the steps of `MetaNeighborhoods`

Int((1 - share) S) entries are kept in a step, drawn without replacement: for every picture, as in the released code, or once
for all of them. A draw is a function of (seed, step) and of the picture's place in the step, whichever process has it; so is
its augmentation. Weight decay shrinks the encoder alone (with its modulated layers' entries): in the released code no
variable with `memory` in its name decays, and there dictionary, output layer, tau and rates have it. The baselines likewise.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.augmentation.auto_augment import Kind, augment_pictures
from modicum.configs import Train
from modicum.configs.neighborhoods import torch_weight_decay
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, gather
from modicum.memory.dictionary import drop_entries
from modicum.runtime import Ranks, torch_generator
from modicum.training.classical import epoch_batch
from modicum.training.neighborhoods.networks import Network
from modicum.training.objectives import (
    AbstractObjective,
    DropSchedule,
    Part,
    own_places,
    resident,
    seed_dropout,
    training_features,
)
from modicum.training.steps import grouped_optimizer

Ints = NDArray[np.int64]


def augmentation_of(config: Train, channels: int) -> Kind:
    """The augmentation asked for; usual: AutoAugment for colour, crops for grey pictures, which may not be mirrored."""
    if config.augmentation != "usual":
        return config.augmentation
    return "auto-augment" if channels == 3 else "crop"


def entries_kept(config: Train, n: int, step: int, mine: slice) -> Tensor | None:
    """Which entries the pictures `mine` of a step's n keep, as `LearnedDictionary.attend` takes it; None: all of them."""
    if config.entry_dropout == 0 or config.baseline != "none":
        return None
    shared = config.dropout_draw == "shared"
    drawn = drop_entries(
        config.entries, config.entry_dropout, config.dropout_draw, n, torch_generator(config.seed, "entries", step)
    )
    return drawn if shared else drawn[mine]


@final
class NeighborhoodsObjective(AbstractObjective):
    """Cross-entropy on the training pictures at rows (n,) of a step."""

    def __init__(self, config: Train, network: Network, pictures: PictureSet, rows: Ints, device: torch.device) -> None:
        self.config, self.device, self.rows = config, device, rows
        self.labels = pictures.labels[rows].astype(np.int64)
        self.counts = np.bincount(self.labels, minlength=len(pictures.classes))
        self.pixels: Pixels = resident(pictures.pixels, device)
        self.network = network.to(device)
        self.module: nn.Module = network
        self.encoder = network.encoder.to(memory_format=torch.channels_last)
        self.augmentation = augmentation_of(config, int(pictures.pixels.shape[3]))
        self.dropping = DropSchedule(self.encoder, 1)
        self.optimizer = grouped_optimizer([(self.encoder, torch_weight_decay(config)), (network, 0.0)], config)

    def example(self) -> Tensor:
        """The first two training pictures, twice the first where there is one."""
        return gather(self.pixels, self.rows[[0, min(1, len(self.rows) - 1)]], self.device)

    def part(self, step: int, here: Ranks) -> Part:
        """This process's part: pictures from r B/R on of the step's."""
        config = self.config
        places = epoch_batch(self.labels, config.batch_pictures, config.seed, step)
        mine = own_places(len(places), here)
        x = gather(self.pixels, self.rows[places[mine]], self.device)
        x = augment_pictures(x, config.seed, step, mine, self.augmentation)
        self.dropping.set(step)
        self.module.train()
        seed_dropout(config.seed, step, here)
        features, buffers = training_features(self.encoder, x)
        keep = entries_kept(config, len(places), step, mine)
        logits = self.network.logits(features, keep if keep is None else keep.to(self.device))
        y = torch.from_numpy(self.labels[places[mine]]).to(self.device)
        accuracy = (logits.detach().argmax(-1) == y).float().mean()
        return Part(F.cross_entropy(logits, y) / here.size, accuracy / here.size, buffers, 1 / here.size)

"""What a training on the rows of a table minimises: the squared error of adapted outputs, all standardised.

Weight decay shrinks the MLP, which appendix B means by "the best weight decay rate is chosen for each dataset", and neither
the dictionary nor the rates of the inner steps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from modicum.configs import Train
from modicum.configs.neighborhoods import torch_weight_decay
from modicum.data.standardising import Floats
from modicum.runtime import Ranks, philox
from modicum.training.neighborhoods.objective import entries_kept
from modicum.training.objectives import AbstractObjective, Part, own_places
from modicum.training.steps import grouped_optimizer
from modicum.training.tables.networks import TableNetwork


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order of n rows in an epoch; remembered, for every step of the epoch asks for it."""
    return philox(seed, "table/epoch", epoch).permutation(n)


@final
class TableObjective(AbstractObjective):
    """Mean squared error of a step's rows after adaptation. x (n, D), y (n, O): training rows as they stand."""

    def __init__(self, config: Train, network: TableNetwork, x: Floats, y: Floats, device: torch.device) -> None:
        self.config, self.device = config, device
        self.module = self.network = network.to(device)
        self.x = network.standardised(x)
        self.y = torch.from_numpy(network.outputs.apply(y)).to(self.x)
        self.optimizer = grouped_optimizer([(network.regressor.network, torch_weight_decay(config)), (network, 0.0)], config)

    @property
    def buffered(self) -> nn.Module:
        """The network; no step changes its buffers."""
        return self.network

    def example(self) -> Tensor:
        """The first two training rows, standardised."""
        return self.x[:2]

    def batch(self, step: int) -> NDArray[np.int64]:
        """Training rows (B,) of a step: an order drawn anew for every epoch, whose rest is left out."""
        size = self.config.batch_pictures
        each = len(self.x) // size
        at = step % each * size
        return _order(self.config.seed, step // each, len(self.x))[at : at + size]

    def part(self, step: int, here: Ranks) -> Part:
        """This process's part: rows from r B/R on of the step's, and their entries."""
        places = self.batch(step)
        mine = own_places(len(places), here)
        rows = torch.from_numpy(places[mine]).to(self.device)
        keep = entries_kept(self.config, len(places), step, mine)
        keep = None if keep is None else keep.to(self.device)
        error = F.mse_loss(self.network.regressor(self.x[rows], keep), self.y[rows]) / here.size
        return Part(error, error.detach(), {}, 1 / here.size)

"""Inner steps on a few items of the support set instead of all: which ones, as a function of (seed, task, step)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.gradient.support import Data
from modicum.errors import ConfigError
from modicum.runtime import philox


class InnerBatches(NamedTuple):
    """`size` items for each inner step of the E tasks with these numbers."""

    size: int
    seed: int
    numbers: Sequence[int]


def require_size(size: int, items: int) -> None:
    """Raise `ConfigError` for inner batches that no support set of so many items has."""
    if not 1 <= size <= items:
        raise ConfigError(f"inner_batch: expected 1..{items}, the items of a support set, found {size}")


def inner_batches(batches: InnerBatches, place: int, items: int, steps: int) -> NDArray[np.int64]:
    """Indices (steps, size) into the `items` support items of the task at `place`.

    All items in a random order, then in another one, and so on, cut into steps, as in the released code of Reptile.
    `ConfigError` for a size beyond `items`.
    """
    require_size(batches.size, items)
    rng = philox(batches.seed, "inner-batch", int(batches.numbers[place]))
    orders = [rng.permutation(items) for _ in range(-(-steps * batches.size // items))]
    return np.concatenate(orders)[: steps * batches.size].reshape(steps, batches.size)


def batches_of(data: Data, lead: int, batches: InnerBatches, place: int, steps: int) -> list[Data]:
    """What each step reads of one task's items (n, *item), or with lead 1 of all tasks' (E, n, *item)."""
    items, device = data.targets.shape[-2], data.x.device
    if not lead:
        return [
            Data(data.x[i], data.targets[i])
            for i in torch.from_numpy(inner_batches(batches, place, items, steps)).to(device)
        ]
    drawn = np.stack([inner_batches(batches, task, items, steps) for task in range(len(data.x))], 1)  # (steps, E, size)
    rows: Tensor = torch.arange(len(data.x), device=device).unsqueeze(-1)
    return [Data(data.x[rows, i], data.targets[rows, i]) for i in torch.from_numpy(drawn).to(device)]

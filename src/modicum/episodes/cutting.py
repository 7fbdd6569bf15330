"""Cutting a batch of tasks from the picture tensor: one gather for support, one for query, no Python per picture."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.episodes.sampler import Tasks
from modicum.episodes.types import Episode, LabelledSet

Pixels = NDArray[np.uint8] | Tensor


def gather(pixels: Pixels, index: NDArray[np.int64], device: torch.device | None = None) -> Tensor:
    """Pictures (..., C, H, W) uint8 at index (...) of pixels (n, H, W, C); channels-last in memory, without a copy."""
    if isinstance(pixels, Tensor):
        flat = pixels[torch.from_numpy(index.reshape(-1)).to(pixels.device)]
    else:
        flat = torch.from_numpy(np.ascontiguousarray(pixels[index.reshape(-1)]))
    if device is not None:
        flat = flat.to(device, non_blocking=True)
    return flat.permute(0, 3, 1, 2).view(*index.shape, flat.shape[3], *flat.shape[1:3])


def labelled(tasks: Tasks, part: str, x: Tensor) -> LabelledSet:
    """The support or query set of tasks around their pictures (or features) x (E, n, *item)."""
    index = tasks.support if part == "support" else tasks.query
    y = tasks.support_y if part == "support" else tasks.query_y
    mask = tasks.support_mask if part == "support" else tasks.query_mask
    return LabelledSet(
        x,
        torch.from_numpy(y).to(x.device),
        None if mask.all() else torch.from_numpy(mask).to(x.device),
        id=torch.from_numpy(index).to(x.device),
    )


def cut(pixels: Pixels, tasks: Tasks, device: torch.device | None = None) -> Episode:
    """The batch of tasks as one Episode; x (E, N*K, C, H, W) uint8."""
    support = labelled(tasks, "support", gather(pixels, tasks.support, device))
    query = labelled(tasks, "query", gather(pixels, tasks.query, device))
    mask = None if tasks.way_mask.all() else torch.from_numpy(tasks.way_mask).to(support.x.device)
    return Episode(support, query, tasks.classes.shape[1], mask)

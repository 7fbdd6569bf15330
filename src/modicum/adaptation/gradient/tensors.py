"""Parameters as values: dicts of tensors by name, with any number of leading task dimensions.

`lead` counts them: 0 where one task is looked at alone, 1 where E tasks stand stacked. So every rule and start is written
once and serves the loop over tasks and all vectorised strategies.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def layer_means(tensors: Mapping[str, Tensor], lead: int) -> Tensor:
    """Mean of every tensor (*task, ...) over all but its `lead` task dimensions: (*task, N), N tensors in their order."""
    return torch.stack([value.flatten(lead).mean(-1) for value in tensors.values()], -1)


def spread(values: Tensor, like: Tensor, lead: int) -> Tensor:
    """One number per task (*task) in a shape that broadcasts against a parameter tensor (*task, ...)."""
    return values.reshape(*values.shape[:lead], *(1,) * (like.dim() - lead))

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
    means = [v.mean(tuple(range(lead, v.dim()))) if v.dim() > lead else v for v in tensors.values()]
    return torch.stack(means, -1)


def spread(values: Tensor, tensors: Mapping[str, Tensor], lead: int) -> Tensors:
    """Numbers (*task, N) of N tensors (*task, ...), in their order, by name in shapes that broadcast against them."""
    if not lead:
        return dict(zip(tensors, values.unbind(-1), strict=True))
    ranks = {value.dim() - lead for value in tensors.values()}  # one view and one cut for all tensors of a rank
    parts = {rank: values.reshape(*values.shape, *(1,) * rank).unbind(lead) for rank in ranks}
    return {name: parts[value.dim() - lead][i] for i, (name, value) in enumerate(tensors.items())}

"""Batch norm of its own for every inner step: affine parameters and running statistics, MAML++.

Antoniou, Edwards, Storkey: How to train your MAML, ICLR 2019, arXiv 1810.09502, section 4 ("per-step batch normalization
weights and biases", "per-step batch normalization running statistics").

Before step j = 0..S-1, and after the last one (j = S), a layer's weight and bias are its own of that j. They are learned by
the outer loop and do not move in the inner one. The outer loop moves the running statistics of j by those of the support set
at step j, and of S by what normalises the queries: their own, in the mode `support` the support set's; momentum 0.1. Those
of j = 0 are the model's own, so that its encoder stands for itself; rows 1..S lie here.

Deviations: the released code gathers running statistics and never normalises by them, in training or test; ours does so in
the mode `running` at test, as the paper says, and not in the modes `support` and `batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from modicum.adaptation.gradient.tensors import Tensors


@final
class StepNorms(nn.Module):
    """Rows 1..S of every batch-norm layer of a model. affine, statistics: names in the model; beyond S, row S counts."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        super().__init__()
        own, buffers = dict(model.named_parameters()), dict(model.named_buffers())
        self.affine = norm_parameters(model)
        self.statistics = tuple(name for name in buffers if name.endswith(("running_mean", "running_var")))
        self.steps = steps
        self.rows = nn.ParameterList(nn.Parameter(own[name].detach().repeat(steps, 1)) for name in self.affine)
        for place, name in enumerate(self.statistics):
            self.register_buffer(f"running{place}", buffers[name].detach().repeat(steps, 1))

    def at(self, parameters: Tensors, step: int, lead: int) -> Tensors:
        """The parameters (*task, ...) with the affine ones of step `step`."""
        if step == 0:
            return parameters
        row = min(step, self.steps) - 1
        first = next(iter(parameters.values()))
        mine = {name: rows[row].expand(*first.shape[:lead], -1) for name, rows in zip(self.affine, self.rows, strict=True)}
        return {**parameters, **mine}

    def running(self, step: int) -> Tensors:
        """The running statistics of a step from 1 on, buffer name -> (C,)."""
        row = min(step, self.steps) - 1
        return {name: self.get_buffer(f"running{place}")[row] for place, name in enumerate(self.statistics)}

    def moved(self, found: Sequence[Tensors], momentum: float = 0.1) -> Tensors:
        """This module's buffers after its rows have moved towards `found` (C,), which begins with row 1."""
        new: Tensors = {}
        for place, name in enumerate(self.statistics if found else ()):
            rows = self.get_buffer(f"running{place}")
            mine = torch.stack([each[name] for each in found])
            new[f"running{place}"] = torch.cat([torch.lerp(rows[: len(mine)], mine, momentum), rows[len(mine) :]])
        return new


def norm_parameters(model: nn.Module) -> tuple[str, ...]:
    """Names of the affine parameters of all normalisation layers of a model."""
    kinds = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    found = []
    for name, part in model.named_modules():
        if isinstance(part, kinds):
            found += [f"{name}.{own}" if name else own for own, _ in part.named_parameters(recurse=False)]
    return tuple(found)

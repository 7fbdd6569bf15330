"""A fully connected network for few-shot regression, which takes the parameters of one task or of many.

Chelsea Finn, Pieter Abbeel, Sergey Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017,
arXiv 1703.03400, section 5.1 (two hidden layers of 40, ReLU). Sungyong Baik et al.: Meta-Learning with Adaptive
Hyperparameters (ALFA), NeurIPS 2020, arXiv 2011.00209, table 8 (two of 40, three of 80).

    h_0 = x,  h_i = relu(h_{i-1} W_i^T + b_i),  output = h_L W_{L+1}^T + b_{L+1}

| symbol | variable | shape, for E tasks at once |
|---|---|---|
| W_i, b_i | `layers.<i-1>.weight`, `.bias` | (out, in), (out,) or (E, out, in), (E, out) |
| x | x | (..., n, in), or (E, n, in) |

Where parameters carry a task dimension, each layer is one batched matrix product over all tasks, so no transform is needed.

*Deviations*: the weights start as `torch.nn.Linear`'s do (uniform on +-1/sqrt(in), biases too); the code of Finn et al.
draws weights from a truncated normal of deviation 0.01 with biases 0. ALFA's released code holds no regression.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.errors import ConfigError


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W^T + b: x (..., n, in) with weight (out, in), or x (E, n, in) with weight (E, out, in) and bias (E, out)."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)


@final
class MLP(nn.Module):
    """inputs -> hidden[0] -> ... -> outputs with ReLU between: x (..., n, inputs) -> (..., n, outputs).

    batched: `forward` under `functional_call` takes parameters of E tasks against x (E, n, inputs).
    """

    batched = True

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        widths = (inputs, *hidden, outputs)
        if min(widths) < 1:
            raise ConfigError(f"mlp: expected layers of at least 1 unit, found {'-'.join(map(str, widths))}")
        self.inputs, self.outputs = inputs, outputs
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., n, outputs) of items (..., n, inputs); `ConfigError` for another number of inputs."""
        if x.shape[-1] != self.inputs:
            raise ConfigError(f"x: expected items of {self.inputs} numbers, found shape {tuple(x.shape)}")
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            x = linear(F.relu(x) if place else x, layer.weight, layer.bias)
        return x


def hidden_widths(name: str) -> tuple[int, ...]:
    """(40, 40) for "mlp-40-40"; `ConfigError` for a name that is none of these."""
    if not re.fullmatch(r"mlp(-[1-9]\d*)+", name):
        raise ConfigError(f"backbone: expected mlp-W-W... (widths of the hidden layers, as mlp-40-40), found {name!r}")
    return tuple(int(width) for width in name.split("-")[1:])


def build_mlp(name: str, inputs: int, outputs: int) -> MLP:
    """The network of a name as "mlp-40-40"; parameters from torch's global generator."""
    return MLP(inputs, hidden_widths(name), outputs)

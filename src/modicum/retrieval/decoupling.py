"""Classifiers for long tails on a trained encoder: cRT, learnable weight scaling, tau-normalisation.

Bingyi Kang, Saining Xie, Marcus Rohrbach, Zhicheng Yan, Albert Gordo, Jiashi Feng, Yannis Kalantidis, "Decoupling
Representation and Classifier for Long-Tailed Recognition", ICLR 2020, arXiv 1910.09217. The encoder is trained with pictures
as they come; then, with w_c the weights of class c in its linear layer,

| method | then | trained, on class-balanced batches |
|---|---|---|
| cRT (`retrained`) | a new linear layer | all of it |
| LWS (`ScaledLinear`) | w~_c = s_c w_c | the scales s_c, from 1 |
| tau-normalisation (`tau_normalised`) | w~_c = w_c / norm(w_c)^tau | nothing; tau by validation, no bias |

tau = 0 leaves the weights, tau = 1 makes all norms 1. The frozen encoder runs in evaluation mode.

Deviations: the paper's text leaves the bias of LWS open; the released code scales the layer's output, s_c (w_c f + b_c), and
so do we.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.runtime import torch_generator


def tau_normalised(weight: Tensor, tau: float) -> Tensor:
    """Weights (C, D) with row c divided by its Euclidean norm to the power of tau; rows of zeros stay."""
    norm = weight.norm(dim=-1, keepdim=True)
    return weight / torch.where(norm > 0, norm, 1) ** tau


def _empty(layer: nn.Linear, bias: bool) -> nn.Linear:
    """A layer of the same shape with numbers still to be set; draws none from torch's generator."""
    of = layer.weight
    out: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, layer.in_features, layer.out_features, bias, device=of.device, dtype=of.dtype
    )
    return out


def tau_normalised_layer(layer: nn.Linear, tau: float) -> nn.Linear:
    """A linear layer without bias that has `tau_normalised` weights; the one passed in does not change."""
    if not 0 <= tau <= 10:
        raise ConfigError(f"tau: expected a number in [0, 10], usually in [0, 1], found {tau}")
    out = _empty(layer, False)
    out.weight.data.copy_(tau_normalised(layer.weight.detach(), tau))
    return out


def retrained(layer: nn.Linear, seed: int) -> nn.Linear:
    """A new linear layer of the same shape (cRT): Xavier-uniform weights drawn from the seed, biases 0."""
    out = _empty(layer, layer.bias is not None)
    fresh = torch.empty(layer.weight.shape)
    nn.init.xavier_uniform_(fresh, generator=torch_generator(seed, "retrieval/crt"))
    out.weight.data.copy_(fresh)
    if out.bias is not None:
        nn.init.zeros_(out.bias)
    return out


@final
class ScaledLinear(nn.Module):
    """Learnable weight scaling: a trained linear layer, kept as it is, whose outputs (..., C) get one factor per class."""

    weight: Tensor
    bias: Tensor | None
    scales: nn.Parameter

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().clone())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        self.scales = nn.Parameter(torch.ones_like(self.weight[:, 0]))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (..., C) of features (..., D)."""
        return self.scales * F.linear(features, self.weight, self.bias)

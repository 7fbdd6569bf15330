"""R2-D2: Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable closed-form solvers", ICLR 2019,
arXiv 1805.08136: ridge regression as the base learner, its penalty, scale and bias learned with the encoder.

    W = Z_s^T (Z_s Z_s^T + lambda I)^-1 Y,     logits = a Z_q W + b

| symbol | variable | shape |
|---|---|---|
| lambda | exp(log_penalty) | learned, 50 at the start |
| a, b | scale, bias | learned scalars |

Deviations: lambda is learned as its logarithm, so it stays positive; the start of a is ours (see `ridge`).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.ridge import LinearClassifier, fit_ridge
from modicum.episodes.interfaces import AbstractHead
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


@final
class R2D2Head(AbstractHead):
    """Ridge regression on one-hot labels with learned penalty, scale and bias."""

    traits = Traits()

    def __init__(self, penalty: float = 50.0, scale: float = 10.0, bias: float = 0.0) -> None:
        super().__init__()
        if not penalty > 0:
            raise ConfigError(f"penalty: expected more than 0, found {penalty}")
        self.log_penalty = nn.Parameter(torch.tensor(math.log(penalty)))
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """Ridge weights of features x (..., S, D) under the learned penalty."""
        weight = fit_ridge(features, n_out, self.log_penalty.exp(), out_mask)
        return LinearClassifier(weight, self.scale, self.bias, out_mask, features.id)

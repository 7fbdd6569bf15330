"""Ridge head: the closed-form base learner of Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable
closed-form solvers", ICLR 2019, arXiv 1805.08136, with a FIXED penalty (`r2d2` learns it).

    W = Z_s^T (Z_s Z_s^T + lambda I)^-1 Y,     logits = a Z_q W + b

| symbol | variable | shape |
|---|---|---|
| Z_s, Y | features.x, label weights | (..., S, D), (..., S, N) |
| lambda | penalty | scalar, 50 |
| a, b | scale, bias | learned scalars |
| W | weight | (..., D, N) |

Deviations: a starts at 10, because ridge outputs lie near [0, 1] and a softmax over them is flat otherwise (the released
code starts at 1e-4 on features of another size). b shifts all logits alike, so a softmax does not see it; it is kept for
losses that do. Padded rows are zero rows, which leave W unchanged.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.solvers.ridge import ridge_weights
from modicum.adaptation.targets import hide_absent, label_weights, require_support, require_width
from modicum.episodes.interfaces import AbstractHead, Adapted
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


@final
class LinearClassifier(Adapted):
    """logits = scale * (x W) + bias.

    residual (...,): what an iterative solver left of its equations when it stopped; None for closed forms.
    """

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        out_mask: Tensor | None = None,
        support_ids: Tensor | None = None,
        residual: Tensor | None = None,
    ) -> None:
        super().__init__({}, support_ids)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("out_mask", out_mask)
        self.register_buffer("residual", residual)
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor
        self.out_mask: Tensor | None
        self.residual: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N) of features x (..., Q, D)."""
        require_width(x, self.weight.shape[-2])
        return hide_absent(self.scale * (x @ self.weight) + self.bias, self.out_mask)


def fit_ridge(features: LabelledSet, n_out: int, penalty: Tensor | float, out_mask: Tensor | None) -> Tensor:
    """Weights (..., D, N) of labelled features x (..., S, D); padded entries do not take part."""
    targets = label_weights(features, n_out)
    require_support(targets, out_mask)
    z = features.x if features.mask is None else features.x * features.mask.unsqueeze(-1).to(features.x.dtype)
    return ridge_weights(z, targets, penalty)


@final
class RidgeHead(AbstractHead):
    """Ridge regression on one-hot labels with a fixed penalty > 0, learned scale and bias."""

    traits = Traits()

    def __init__(self, penalty: float = 50.0, scale: float = 10.0, bias: float = 0.0) -> None:
        super().__init__()
        if not penalty > 0:
            raise ConfigError(f"penalty: expected more than 0, found {penalty}")
        self.penalty = float(penalty)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> LinearClassifier:
        """Ridge weights of features x (..., S, D)."""
        weight = fit_ridge(features, n_out, self.penalty, out_mask)
        return LinearClassifier(weight, self.scale, self.bias, out_mask, features.id)

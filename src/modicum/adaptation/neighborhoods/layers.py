"""The output layer that Meta-Neighborhoods adapts: cosines or dot products with one weight vector per class.

Shan, Li, Oliva, NeurIPS 2020, arXiv 1909.09140, appendix A.6, and the authors' code:

    dot:     logits = z W + b            cosine:  logit_c = tau cos(z, W_c),  tau = 10 at the start, learned, no bias

| symbol | variable | shape |
|---|---|---|
| W | weight | (D, C), Xavier's uniform rule |
| b | bias | (C,), 0 at the start; None with cosine or where not wanted |
| tau | tau | (); None with dot |

A column or a row of zeros has cosine 0; lengths below 1e-12 count as 1e-12 (TensorFlow: 1e-6).
"""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.errors import ConfigError

Kind = Literal["cosine", "dot"]


def cosine_logits(z: Tensor, weight: Tensor, tau: Tensor) -> Tensor:
    """tau cos(z, W_c) (..., C) of rows z (..., D) and columns of weight (..., D, C)."""
    return tau * (F.normalize(z, dim=-1) @ F.normalize(weight, dim=-2))


@final
class OutputLayer(nn.Module):
    """Features (..., D) -> logits (..., C). bias: for kind "dot" only. `ConfigError`: D or C below 1, an unknown kind."""

    bias: Tensor | None
    tau: Tensor | None

    def __init__(
        self, n_features: int, n_classes: int, kind: Kind = "cosine", *, bias: bool = True, tau: float = 10.0
    ) -> None:
        super().__init__()
        if n_features < 1 or n_classes < 1:
            raise ConfigError(f"n_features, n_classes: expected at least 1 each, found {n_features} and {n_classes}")
        if kind not in get_args(Kind):
            raise ConfigError(f"kind: expected {' or '.join(get_args(Kind))}, found {kind!r}")
        self.kind = kind
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_features, n_classes)))
        self.register_parameter("bias", nn.Parameter(torch.zeros(n_classes)) if kind == "dot" and bias else None)
        self.register_parameter("tau", nn.Parameter(torch.tensor(float(tau))) if kind == "cosine" else None)

    def forward(self, z: Tensor) -> Tensor:
        """Logits (..., C) of features (..., D) before any adaptation."""
        if self.tau is not None:
            return cosine_logits(z, self.weight, self.tau)
        out = z @ self.weight
        return out if self.bias is None else out + self.bias

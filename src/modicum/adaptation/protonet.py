"""ProtoNet: Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, arXiv 1703.05175.

    c_k    = mean of the support features of class k
    p(k|z) = softmax_k( -scale * ||z - c_k||^2 )          squared Euclidean distance, not the distance

| symbol | variable | shape |
|---|---|---|
| x_i, y_i | features.x, label weights | (..., S, D), (..., S, N) |
| c_k | prototypes | (..., N, D) |
| z | z | (..., Q, D) |

Deviations: the paper has no scale (scale = 1 at the start here, learned, as in Lee et al. 2019, whose code also divides
by D: `normalize`). Soft and unequal support enters as label weights: c_k = sum_i w_ik x_i / sum_i w_ik.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.targets import hide_absent, label_weights, require_support, require_width
from modicum.episodes.interfaces import AbstractHead, Adapted
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


def class_means(z: Tensor, targets: Tensor) -> Tensor:
    """Weighted class means (..., N, D) of features z (..., S, D) under label weights (..., S, N); 0 for an empty class."""
    total = targets.sum(-2).unsqueeze(-1)
    return (targets.mT @ z) / torch.where(total > 0, total, torch.ones_like(total))


def squared_distances(z: Tensor, prototypes: Tensor) -> Tensor:
    """||z - c_k||^2 (..., Q, N) of z (..., Q, D) and prototypes (..., N, D), through one matrix product."""
    cross = z @ prototypes.mT
    return z.square().sum(-1, keepdim=True) - 2 * cross + prototypes.square().sum(-1).unsqueeze(-2)


@final
class PrototypeClassifier(Adapted):
    """logits = -scale * ||z - c_k||^2 (divided by D where `normalize`)."""

    def __init__(
        self,
        prototypes: Tensor,
        scale: Tensor,
        out_mask: Tensor | None = None,
        support_ids: Tensor | None = None,
        *,
        normalize: bool = False,
    ) -> None:
        super().__init__({"normalize": normalize}, support_ids)
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("scale", scale)
        self.register_buffer("out_mask", out_mask)
        self.prototypes: Tensor
        self.scale: Tensor
        self.out_mask: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N) of features x (..., Q, D)."""
        require_width(x, self.prototypes.shape[-1])
        distances = squared_distances(x, self.prototypes)
        if self.config["normalize"]:
            distances = distances / x.shape[-1]
        return hide_absent(-self.scale * distances, self.out_mask)


@final
class ProtoNetHead(AbstractHead):
    """Nearest class mean in squared Euclidean distance, with a learned scale."""

    traits = Traits()

    def __init__(self, scale: float = 1.0, normalize: bool = False) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"scale: expected more than 0, found {scale}")
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.normalize = normalize

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> PrototypeClassifier:
        """Prototypes of features x (..., S, D)."""
        targets = label_weights(features, n_out)
        require_support(targets, out_mask)
        means = class_means(features.x, targets)
        return PrototypeClassifier(means, self.scale, out_mask, features.id, normalize=self.normalize)

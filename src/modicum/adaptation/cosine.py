"""Cosine nearest mean: Gidaris & Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018,
arXiv 1804.09458 (the cosine classifier), with class means as weights as in Chen et al., "Meta-Baseline", arXiv 2003.04390.

    c_k = mean of the support features of class k,   logits_k = scale * <z, c_k> / (||z|| ||c_k||)

| symbol | variable | shape |
|---|---|---|
| c_k | prototypes | (..., N, D) |
| z | x | (..., Q, D) |

Deviations: the mean is taken of the features as they are, not of normalised ones (Meta-Baseline); scale starts at 10.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.protonet import class_means
from modicum.adaptation.targets import hide_absent, label_weights, require_support, require_width
from modicum.episodes.interfaces import AbstractHead, Adapted
from modicum.episodes.types import LabelledSet, Traits
from modicum.errors import ConfigError


def cosine_similarities(z: Tensor, prototypes: Tensor) -> Tensor:
    """cos(z, c_k) (..., Q, N) of z (..., Q, D) and prototypes (..., N, D); 0 where a vector is 0."""
    return F.normalize(z, dim=-1) @ F.normalize(prototypes, dim=-1).mT


@final
class CosineClassifier(Adapted):
    """logits = scale * cos(z, c_k)."""

    def __init__(
        self, prototypes: Tensor, scale: Tensor, out_mask: Tensor | None = None, support_ids: Tensor | None = None
    ) -> None:
        super().__init__({}, support_ids)
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("scale", scale)
        self.register_buffer("out_mask", out_mask)
        self.prototypes: Tensor
        self.scale: Tensor
        self.out_mask: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Logits (..., Q, N) of features x (..., Q, D)."""
        require_width(x, self.prototypes.shape[-1])
        return hide_absent(self.scale * cosine_similarities(x, self.prototypes), self.out_mask)


@final
class CosineHead(AbstractHead):
    """Nearest class mean in angle, with a learned scale."""

    traits = Traits()

    def __init__(self, scale: float = 10.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"scale: expected more than 0, found {scale}")
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def fit(self, features: LabelledSet, n_out: int, out_mask: Tensor | None = None) -> CosineClassifier:
        """Class means of features x (..., S, D)."""
        targets = label_weights(features, n_out)
        require_support(targets, out_mask)
        return CosineClassifier(class_means(features.x, targets), self.scale, out_mask, features.id)

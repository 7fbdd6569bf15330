"""Hyperplane variation R_HV: how much the line between two classes turns with the pictures drawn from them.

Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein, "Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks", ICML 2020, arXiv 2002.06753, sec. 4.

    R_HV = ||(f(x1) - f(y1)) - (f(x2) - f(y2))|| / (||f(x1) - f(y1)|| + ||f(x2) - f(y2)||)

| symbol | variable | is |
|---|---|---|
| f(x1), f(x2) | features[a, 0], features[a, 1] | two pictures of class A; likewise y of class B |

Two forms, each averaged over class pairs after the ratio was taken for each:

- `hyperplane_variation`: as printed. At most 1 by the triangle inequality.
- `hyperplane_variation_squared`: 4 R_HV^2, the squared distance relative to the MEAN of the two norms, at most 4. The
  published tables (up to 1.94) and coefficients belong to it: about 2 for wide features that know nothing of the classes.
  loss = cross-entropy + coefficient * hyperplane_variation_squared(two_of_each(features, labels)).

Deviations: the paper prints the first form only, its released loss computes the second. Where both norms are 0 the
ratio is 0 with gradient 0; a distance of 0 passes gradient 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import DataError
from modicum.losses.class_pairs import safe_ratio


def pair_variation(pairs: Tensor) -> Tensor:
    """R_HV (...) as printed of each pair of classes with two pictures, features (..., 2, 2, D): class, picture, feature."""
    x = pairs.to(torch.promote_types(pairs.dtype, torch.float32))
    lines = x[..., 0, :, :] - x[..., 1, :, :]  # (..., 2, D): x1 - y1 and x2 - y2
    turn = torch.linalg.vector_norm(lines[..., 0, :] - lines[..., 1, :], dim=-1)
    return safe_ratio(turn, torch.linalg.vector_norm(lines, dim=-1).sum(-1))


def _all_pairs(features: Tensor) -> Tensor:
    """R_HV (C (C - 1) / 2,) of every pair of classes, features (C, 2, D). Distances directly: no pair x D tensor."""
    if features.ndim != 3 or features.shape[1] != 2 or len(features) < 2:
        raise DataError(f"features: expected (classes, 2, D) with 2 classes or more, found {tuple(features.shape)}")
    x = features.to(torch.promote_types(features.dtype, torch.float32))

    def distances(z: Tensor) -> Tensor:
        return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")

    first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    turn = distances(x[:, 0] - x[:, 1])  # (x1 - y1) - (x2 - y2) = (x1 - x2) - (y1 - y2)
    norms = distances(x[:, 0]) + distances(x[:, 1])
    return safe_ratio(turn[first, second], norms[first, second])


def hyperplane_variation(features: Tensor) -> Tensor:
    """Mean R_HV as printed, a scalar in 0..1, over all pairs of classes of features (C, 2, D), C >= 2; differentiable."""
    return _all_pairs(features).mean()


def hyperplane_variation_squared(features: Tensor) -> Tensor:
    """Mean of 4 R_HV^2, a scalar in 0..4, over all pairs of classes of features (C, 2, D), C >= 2; differentiable."""
    return 4 * _all_pairs(features).square().mean()

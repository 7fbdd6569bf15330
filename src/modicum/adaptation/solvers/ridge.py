"""Ridge regression of a support set, batched over tasks, differentiable, by Cholesky.

W = argmin_W sum_i s_i ||z_i W - y_i||^2 + penalty ||W||^2
  = Z^T (Z Z^T + penalty I)^-1 Y          (dual or Woodbury form, S x S, for S <= D; rows scaled by sqrt(s_i))
  = (Z^T Z + penalty I)^-1 Z^T Y          (primal form, D x D, for S > D)
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.errors import DataError


def _regularised_factor(gram: Tensor, penalty: Tensor | float) -> Tensor:
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(gram + penalty * eye)
    if bool(failed.any()):
        raise DataError(
            f"ridge: features whose products reach {float(gram.detach().amax()):.1g} drown the penalty in {gram.dtype};"
            " divide them by their norm, raise the penalty, or use float64"
        )
    return factor


def ridge_weights(z: Tensor, targets: Tensor, penalty: Tensor | float, sample_weight: Tensor | None = None) -> Tensor:
    """Weights (..., D, N) from features z (..., S, D), targets (..., S, N) and row weights (..., S) >= 0; penalty > 0.

    `DataError` where features are so large that rounding leaves Z Z^T + penalty I without a Cholesky factor.
    """
    if sample_weight is not None:
        root = sample_weight.sqrt().unsqueeze(-1)
        z, targets = z * root, targets * root
    if z.shape[-2] <= z.shape[-1]:
        return z.mT @ torch.cholesky_solve(targets, _regularised_factor(z @ z.mT, penalty))
    return torch.cholesky_solve(z.mT @ targets, _regularised_factor(z.mT @ z, penalty))

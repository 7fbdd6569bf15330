"""Multinomial logistic regression of a support set, batched over tasks, differentiable, exact to 1e-9 of the gradient.

    W = argmin_W  1/2 ||W||^2 + c * sum_i CE_i,      CE_i = -sum_k t_ik log p_ik,   p_i = softmax(z_i W)
    -l'(F)_i = c (t_i - |t_i| p_i),   l''(F)_i v = c |t_i| (p_i * v - p_i <p_i, v>),
    |t_i| = sum_k t_ik,   kappa = c max_i |t_i| / 2

Solved by `newton_cg`; kappa is Boehning's bound of the softmax curvature.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.adaptation.solvers.newton_cg import fit_linear
from modicum.adaptation.solvers.newton_systems import Loss


def cross_entropy_loss(targets: Tensor, c: float, out_mask: Tensor | None = None) -> Loss:
    """c times the summed cross-entropy against targets (..., S, N) >= 0; out_mask (..., N): ways the softmax is over."""
    weight = targets.sum(-1, keepdim=True)
    absent = None if out_mask is None else ~out_mask.unsqueeze(-2)

    def log_probability(scores: Tensor) -> Tensor:
        seen = scores if absent is None else scores.masked_fill(absent, float("-inf"))
        logs = seen.log_softmax(-1)
        return logs if absent is None else logs.masked_fill(absent, -1e300)

    def value(scores: Tensor) -> Tensor:
        return -c * (targets * log_probability(scores)).sum((-2, -1), keepdim=True)

    def residual(scores: Tensor) -> Tensor:
        return c * (targets - weight * log_probability(scores).exp())

    def diagonal(scores: Tensor) -> Tensor:
        return c * weight * log_probability(scores).exp()

    return Loss((-2, -1), c / 2 * weight.amax((-2, -1), keepdim=True), value, residual, diagonal)


def logistic_weights(z: Tensor, targets: Tensor, c: float, out_mask: Tensor | None = None) -> Tensor:
    """Weights (..., D, N) from features z (..., S, D) and targets (..., S, N), in z's dtype; c > 0, no intercept.

    Rows of zeros in targets do not take part, nor do the ways that out_mask (..., N) says are absent: their weights are 0.
    """
    weight = fit_linear(z.double(), targets.double(), lambda t: cross_entropy_loss(t, c, out_mask))
    return weight.to(z.dtype)


def logistic_residual(z: Tensor, targets: Tensor, c: float, weight: Tensor) -> Tensor:
    """Norm of the gradient at weight (..., D, N) over its norm at 0, for each task (...,); all ways present."""

    def norm(w: Tensor) -> Tensor:
        gradient = w - z.mT @ cross_entropy_loss(targets, c).residual(z @ w)
        size: Tensor = torch.linalg.matrix_norm(gradient)
        return size

    return norm(weight) / norm(torch.zeros_like(weight))

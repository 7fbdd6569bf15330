"""One-versus-rest linear SVM with squared hinge, batched over tasks, differentiable, exact to 1e-9 of the gradient.

LIBLINEAR's L2-loss SVC: Fan, Chang, Hsieh, Wang, Lin, "LIBLINEAR: A Library for Large Linear Classification", JMLR 2008.

    w_k = argmin_w  1/2 ||w||^2 + c * sum_i max(0, 1 - s_ik z_i w)^2,      s_ik = +1 where picture i is of class k, else -1
    -l'(F)_ik = 2 c s_ik max(0, 1 - s_ik F_ik),   l''(F)_ik = 2 c [s_ik F_ik < 1],   kappa = 2 c

The classes are problems of their own, with steps of their own. Newton on the active set {i: s_ik F_ik < 1} ends after
finitely many steps (Keerthi & DeCoste, "A Modified Finite Newton Method for Fast Solution of Large Scale Linear SVMs",
JMLR 2005); solved by `newton_cg`. The solution is differentiable where no picture lies exactly on its margin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modicum.adaptation.solvers.newton_cg import fit_linear
from modicum.adaptation.solvers.newton_systems import Loss


def squared_hinge_loss(signs: Tensor, c: float) -> Loss:
    """c times the summed squared hinge against signs (..., S, N) in {+1, -1}, 0 where an entry does not take part."""

    def slack(scores: Tensor) -> Tensor:
        return (signs.abs() - signs * scores).clamp(min=0)

    def value(scores: Tensor) -> Tensor:
        return c * slack(scores).square().sum(-2, keepdim=True)

    def residual(scores: Tensor) -> Tensor:
        return 2 * c * signs * slack(scores)

    def diagonal(scores: Tensor) -> Tensor:
        return 2 * c * (slack(scores) > 0).to(scores.dtype)

    return Loss((-2,), torch.full((), 2 * c, dtype=signs.dtype, device=signs.device), value, residual, diagonal)


def squared_hinge_weights(z: Tensor, signs: Tensor, c: float) -> Tensor:
    """Weights (..., D, N) from features z (..., S, D) and signs (..., S, N), in z's dtype; c > 0, no intercept."""
    return fit_linear(z.double(), signs.double(), lambda s: squared_hinge_loss(s, c)).to(z.dtype)


def squared_hinge_residual(z: Tensor, signs: Tensor, c: float, weight: Tensor) -> Tensor:
    """Norm of the gradient at weight (..., D, N) over its norm at 0, for each task (...,)."""

    def norm(w: Tensor) -> Tensor:
        size: Tensor = torch.linalg.matrix_norm(w - z.mT @ squared_hinge_loss(signs, c).residual(z @ w))
        return size

    return norm(weight) / norm(torch.zeros_like(weight))

"""Truncated Newton method for linear models of a support set: batched over tasks, differentiable at its solution.

    W = argmin_W  1/2 ||W||^2 + l(Z W),       l convex, with residual r = -l'(F) and curvature h = l''(F) at scores F = Z W

    primal:  G(W) = W - Z^T r(Z W) = 0,        J = I + Z^T h Z
    dual:    W = Z^T A,  G(A) = A - r(K A) = 0,  K = Z Z^T,  J = I + h K           (S <= D, or a small set)

Newton directions -J^-1 G by the conjugate gradients of `newton_systems`, to a tolerance that shrinks with the gradient;
steps are halved until Armijo's rule holds. In the dual all inner products are those of the weights they stand for,
<A, B> = tr(A^T K B), so that the iterates are the primal ones and a singular K (identical pictures, features that are all
zero) needs no care. Steps, sums and stopping rules are those of each problem alone, so the result does not depend on what
stands beside it in a batch. Source: Nocedal & Wright, "Numerical Optimization", 2006, ch. 7.

The solution is differentiated by the implicit function theorem: dA = -J^-1 dG. With a singular or non-singular K,
J^-T v = v - K (I + h K)^-1 h v, one more solve of the same kind.

| symbol | variable | shape |
|---|---|---|
| Z | z | (..., S, D) |
| A or W | a | (..., S, N) or (..., D, N) |
| F | scores | (..., S, N) |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modicum.adaptation.solvers.newton_systems import Loss, Space, newton_system
from modicum.errors import DataError

TOLERANCE = 1e-11
"""Norm of the gradient at the solution over its norm at W = 0, in float64; ACCEPTED where rounding stops it earlier."""
ACCEPTED = 1e-9
CANCELLED = 1e-4
"""Where the terms of the gradient at W = 0 nearly cancel (equal pictures in all classes), this part of their size counts."""
NEWTON_STEPS, HALVINGS = 1_000, 40


def _step_length(space: Space, loss: Loss, a: Tensor, scores: Tensor, d: Tensor, slope: Tensor) -> Tensor:
    """Largest of 1, 1/2, 1/4, ... with enough decrease of the objective along d, for each problem."""
    along = space.scores(d)
    first, second = space.dot(space.metric(a), d), space.dot(space.metric(d), d)
    start = loss.value(scores)
    slack = 1e-13 * (start + space.dot(space.metric(a), a))
    t = torch.ones_like(slope)
    for _ in range(HALVINGS):
        change = t * first + t.square() / 2 * second + loss.value(scores + t * along) - start
        high = change > 1e-4 * t * slope + slack
        if not bool(high.any()):
            break
        t = torch.where(high, t / 2, t)
    return t


def minimise(space: Space, loss: Loss, start: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the minimiser, from coordinates `start` of 0, and the relative gradient norm of each problem.

    `DataError` where the norm stays above `ACCEPTED`: features of a size at which float64 cannot go on.
    """
    system, a = newton_system(space, loss), start
    residual = loss.residual(space.scores(a))
    first = torch.maximum(space.norm(space.pull(residual)), CANCELLED * space.size(residual))
    kept, best = a, torch.full_like(first, float("inf"))
    for _ in range(NEWTON_STEPS):
        scores = space.scores(a)
        gradient = a - space.pull(loss.residual(scores))
        relative = torch.where(first > 0, space.norm(gradient) / first, 0.0)
        better = relative < best
        kept, best = torch.where(better, a, kept), torch.where(better, relative, best)
        going = (relative > TOLERANCE) & (better | (relative > ACCEPTED))
        if not bool(going.any()):
            break
        d = torch.where(going, -system.at(scores).solve(gradient, relative.clamp(max=0.1)), 0.0)
        t = _step_length(space, loss, a, scores, d, space.dot(space.metric(gradient), d))
        a = torch.where(going, a + t * d, a)
    if bool((best > ACCEPTED).any()):
        raise DataError(
            f"probe: the fit stopped at a relative gradient of {float(best.max()):.1e}, expected {ACCEPTED:g}; "
            "scale the features down (divide by their norm) or lower probe_c"
        )
    return kept, best


class _Implicit(torch.autograd.Function):
    """a as a function of its own equation G(a) = 0: the gradient with respect to G is -J^-T times that of a."""

    @staticmethod
    def forward(ctx: Any, equation: Tensor, a: Tensor, space: Space, loss: Loss) -> Tensor:
        """a, unchanged; `equation` is G at a, differentiable in whatever the problem depends on."""
        ctx.a, ctx.space, ctx.loss = a, space, loss
        return a.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """-J^-T of the gradient of a."""
        (v,) = gradients
        space = ctx.space
        system = newton_system(space, ctx.loss).at(space.scores(ctx.a))
        if not space.dual:
            return -system.solve(v, 1e-13), None, None, None
        return space.metric(system.solve(system.curvature(v), 1e-13)) - v, None, None, None


def fit_linear(z: Tensor, targets: Tensor, make_loss: Callable[[Tensor], Loss]) -> Tensor:
    """Weights (..., D, N) of features z (..., S, D) under `make_loss(targets)`, differentiable in z and targets.

    z, targets (..., S, N): float64. Not differentiable twice. Raises `DataError` as `minimise`.
    """
    with torch.no_grad():
        loss = make_loss(targets.detach())
        space = Space(z.detach(), loss.axes, targets.shape[-1])
        rows = z.shape[-2 if space.dual else -1]
        a, _ = minimise(space, loss, z.new_zeros((*targets.shape[:-2], rows, targets.shape[-1])))
    if torch.is_grad_enabled() and (z.requires_grad or targets.requires_grad):
        here = Space(z, loss.axes, targets.shape[-1])
        equation = a - here.pull(make_loss(targets).residual(here.scores(a)))
        a = _Implicit.apply(equation, a, space, loss)
    return z.mT @ a if space.dual else a

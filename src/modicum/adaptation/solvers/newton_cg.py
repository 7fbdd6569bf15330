"""Truncated Newton method for linear models of a support set: batched over tasks, differentiable at its solution.

    W = argmin_W  1/2 ||W||^2 + l(Z W),       l convex, with residual r = -l'(F) and curvature h = l''(F) at scores F = Z W

    primal (S > D):   G(W) = W - Z^T r(Z W) = 0,        J = I + Z^T h Z
    dual   (S <= D):  W = Z^T A,  G(A) = A - r(K A) = 0,  K = Z Z^T,  J = I + h K

Newton directions -J^-1 G by conjugate gradients, preconditioned by the Cholesky factor of I + kappa K (dual) or
I + kappa Z^T Z (primal), where kappa bounds h; steps are halved until Armijo's rule holds. In the dual all inner products
are those of the weights they stand for, <A, B> = tr(A^T K B), so that the iterates are the primal ones and a singular K
(identical pictures, features that are all zero) needs no care. Steps, sums and stopping rules are those of each problem
alone, so the result does not depend on what stands beside it in a batch. Sources: Nocedal & Wright, "Numerical
Optimization", 2006, ch. 7 (truncated Newton); Boehning, "Multinomial logistic regression algorithm", AISM 1992 (kappa).

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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modicum.errors import DataError

TOLERANCE = 1e-11
"""Norm of the gradient at the solution over its norm at W = 0, in float64; ACCEPTED where rounding stops it earlier."""
ACCEPTED = 1e-9
CANCELLED = 1e-4
"""Where the terms of the gradient at W = 0 nearly cancel (equal pictures in all classes), this part of their size counts."""
NEWTON_STEPS, CG_STEPS, HALVINGS = 200, 1_000, 40
Product = Callable[[Tensor], Tensor]


class Loss(NamedTuple):
    """l of scores F (..., S, N). axes: the dimensions one problem extends over, (-2, -1), or (-2,) if columns are apart.

    value: l, with `axes` kept as 1; residual: -l'(F), differentiable; curvature: V -> l''(F) V; bound: kappa >= l''.
    """

    axes: tuple[int, ...]
    bound: Tensor
    value: Product
    residual: Product
    curvature: Callable[[Tensor], Product]


class Space:
    """Weights by their coordinates: W itself where S > D, else A with W = Z^T A."""

    def __init__(self, z: Tensor, axes: tuple[int, ...]) -> None:
        self.dual = z.shape[-2] <= z.shape[-1]
        self.z, self.axes = z, axes
        self.gram = z @ z.mT if self.dual else z.mT @ z

    def scores(self, a: Tensor) -> Tensor:
        """F (..., S, N) of coordinates a."""
        return self.gram @ a if self.dual else self.z @ a

    def pull(self, residual: Tensor) -> Tensor:
        """Coordinates of Z^T R for R (..., S, N)."""
        return residual if self.dual else self.z.mT @ residual

    def metric(self, a: Tensor) -> Tensor:
        """What turns a sum of products into the inner product of weights."""
        return self.gram @ a if self.dual else a

    def size(self, residual: Tensor) -> Tensor:
        """sum_i |r_i| ||z_i|| of each problem: a bound of the norm of Z^T R, and the scale of its rounding errors."""
        norms = torch.linalg.vector_norm(self.z, dim=-1, keepdim=True)
        bound: Tensor = (residual.abs() * norms).sum(self.axes, keepdim=True)
        return bound

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum of products of each problem."""
        return (a * b).sum(self.axes, keepdim=True)

    def norm(self, a: Tensor) -> Tensor:
        """Norm of the weights that a stands for; 0 where rounding makes its square negative."""
        square: Tensor = self.dot(self.metric(a), a)
        return square.clamp(min=0).sqrt()


class _System(NamedTuple):
    """J = I + pull h scores, and the Cholesky factor of I + kappa gram that preconditions it."""

    space: Space
    curvature: Product
    factor: Tensor

    def solve(self, right: Tensor, tolerance: Tensor | float) -> Tensor:
        """J^-1 right by preconditioned conjugate gradients, to a residual of tolerance times its norm."""
        space = self.space
        x, residual = torch.zeros_like(right), right
        y = torch.cholesky_solve(residual, self.factor)
        p, rho = y, space.dot(space.metric(residual), y)
        goal = space.norm(right) * tolerance
        for _ in range(CG_STEPS):
            scores = space.scores(p)
            product = p + space.pull(self.curvature(scores))
            curved = space.dot(space.metric(p) if not space.dual else scores, product)
            going = (space.norm(residual) > goal) & (curved > 0) & (rho > 0)
            if not bool(going.any()):
                break
            alpha = torch.where(going, rho / curved, 0.0)
            x, residual = x + alpha * p, residual - alpha * product
            y = torch.cholesky_solve(residual, self.factor)
            new = space.dot(space.metric(residual), y)
            p = torch.where(going, y + new / rho * p, p)
            rho = torch.where(going, new, rho)
        return x


def _preconditioner(space: Space, bound: Tensor) -> Tensor:
    """Factor of I + kappa gram, with a grain more on the diagonal: it need not be exact, but must exist."""
    gram = bound * space.gram
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(gram + (1 + 1e-14 * trace) * eye)
    if bool(failed.any()) or not bool(torch.isfinite(trace).all()):
        raise DataError("probe: the features are too large for float64; divide them by their norm")
    return factor


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
    factor, a = _preconditioner(space, loss.bound), start
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
        system = _System(space, loss.curvature(scores), factor)
        d = torch.where(going, -system.solve(gradient, relative.clamp(max=0.1)), 0.0)
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
        space, curvature = ctx.space, ctx.loss.curvature(ctx.space.scores(ctx.a))
        system = _System(space, curvature, _preconditioner(space, ctx.loss.bound))
        if not space.dual:
            return -system.solve(v, 1e-13), None, None, None
        return space.metric(system.solve(curvature(v), 1e-13)) - v, None, None, None


def fit_linear(z: Tensor, targets: Tensor, make_loss: Callable[[Tensor], Loss]) -> Tensor:
    """Weights (..., D, N) of features z (..., S, D) under `make_loss(targets)`, differentiable in z and targets.

    z, targets (..., S, N): float64. Not differentiable twice. Raises `DataError` as `minimise`.
    """
    with torch.no_grad():
        loss = make_loss(targets.detach())
        space = Space(z.detach(), loss.axes)
        rows = z.shape[-2 if space.dual else -1]
        a, _ = minimise(space, loss, z.new_zeros((*targets.shape[:-2], rows, targets.shape[-1])))
    if torch.is_grad_enabled() and (z.requires_grad or targets.requires_grad):
        here = Space(z, loss.axes)
        equation = a - here.pull(make_loss(targets).residual(here.scores(a)))
        a = _Implicit.apply(equation, a, space, loss)
    return z.mT @ a if space.dual else a

"""The dual of Crammer and Singer's multi-class SVM, for whole batches of tasks, with implicit gradients.

Koby Crammer, Yoram Singer: On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, JMLR 2001, as the
base learner of Kwonjoon Lee et al.: Meta-Learning with Differentiable Convex Optimization, CVPR 2019, arXiv 1904.03758:

    min_alpha  1/2 sum_k alpha_k^T K alpha_k - sum_i alpha_{i,y_i},   alpha_ik <= C Y_ik,   sum_k alpha_ik = 0

Solved in t = Y - alpha / C, whose rows lie in the simplex, with P = C K and multipliers nu (rows), m >= 0 (entries):

    g = Y - P (Y - t),   g = nu + m,   sum_k t_ik = 1,   t_ik m_ik = 0

by a primal-dual interior point (Mehrotra, SIAM J. Optim. 1992). A Newton step decouples into the ways, with D_k = m_k / t_k,

    (P + D_k) dt_k = dnu + b_k,   (sum_k (P + D_k)^-1) dnu = r - sum_k (P + D_k)^-1 b_k,
    (P + D_k)^-1 = S_k (I + S_k P S_k)^-1 S_k,   S_k = D_k^-1/2

so that N matrices S x S are factored, not one of NS x NS, and their eigenvalues are at least 1 even where K is singular
(D_k is kept above what rounding does to the eigenvalues of P, or the 1 would be lost beside S_k P S_k).
Gradients: dL/dP = -u (Y - t)^T summed over ways, with u the solution of the same system for the right-hand side dL/d(Y - t).

| symbol | variable | shape |
|---|---|---|
| K, P | kernel, p | (..., S, S), (T, S, S) |
| Y | labels, y | (..., S, N), (T, N, S) |
| t, m, nu | t, m, nu | (T, N, S), (T, N, S), (T, 1, S) |
| (P + D_k)^-1 | inverse | (T, N, S, S) |

Deviations: everything runs in float64. Entries that are not there (padding, absent ways) have S_k = 0. A task that has
converged stays where it is, so a result does not depend on the other tasks of the batch. K alpha is computed from the t of
the other ways, 1 - t_iy summed from them, which keeps its digits where alpha is small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modicum.errors import ConfigError, DataError

MAX_STEPS = 60
TOLERANCE = 1e-14
UNMET = 1e-12
EPSILON = torch.finfo(torch.float64).eps
NEAREST = 1e-10


class DualSolution(NamedTuple):
    """alpha (..., S, N); residual (...,) of this alpha, rounded as it is, as `kkt_residual` defines it."""

    alpha: Tensor
    residual: Tensor


class _Task(NamedTuple):
    """p (T, S, S), y, other, there (T, N, S): label, entry of another way, entry that takes part; row (T, 1, S)."""

    p: Tensor
    y: Tensor
    other: Tensor
    there: Tensor
    row: Tensor

    def dual(self, t: Tensor) -> Tensor:
        """alpha / C (T, N, S), from the entries of the other ways."""
        off = t * self.other
        return self.y * off.sum(1, keepdim=True) - off

    def gradient(self, t: Tensor) -> Tensor:
        """g (T, N, S)."""
        return self.y - self.dual(t) @ self.p

    def rounding(self) -> Tensor:
        """What float64 can tell apart in p, (T, 1, 1)."""
        return EPSILON * self.p.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None]


class _Factors(NamedTuple):
    inverse: Tensor
    schur: Tensor

    def solve(self, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """dt (T, N, S), dnu (T, 1, S) of right-hand sides b (T, N, S), r (T, 1, S)."""
        alone = (self.inverse @ b.unsqueeze(-1)).squeeze(-1)
        dnu = torch.cholesky_solve((r - alone.sum(1, keepdim=True)).mT, self.schur).mT
        return alone + (self.inverse @ dnu.unsqueeze(-1)).squeeze(-1), dnu


def _factor(task: _Task, t: Tensor, m: Tensor) -> _Factors:
    least = 4 * t.shape[-1] * task.rounding()  # the eigenvalue below 0 that rounding can give a singular p
    s = (t / (m + least * t)).sqrt() * task.there
    outer = s.unsqueeze(-1) * s.unsqueeze(-2)
    block = task.p.unsqueeze(1) * outer
    block.diagonal(dim1=-2, dim2=-1).add_(1)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(block)) * outer
    schur = inverse.sum(1)
    diagonal = schur.diagonal(dim1=-2, dim2=-1)
    diagonal.add_(1 - task.row.squeeze(1))
    factor, failed = torch.linalg.cholesky_ex(schur)
    if bool(failed.any()):  # a shift costs digits, so only where a task needs it
        diagonal.mul_(1 + 64 * EPSILON * (failed > 0).unsqueeze(-1))
        factor = torch.linalg.cholesky(schur)
    return _Factors(inverse, factor)


def _start(task: _Task) -> tuple[Tensor, Tensor, Tensor]:
    """The best multiple of the centred labels, at most 0.9 of the way to the simplex' centre; m >= 0.01; nu."""
    ways = task.there.sum(1, keepdim=True).clamp(min=1)
    centred = (task.y - 1 / ways) * task.there
    curvature = (centred * (centred @ task.p)).sum((1, 2), keepdim=True)
    gain = (centred * task.y).sum((1, 2), keepdim=True)
    far = torch.where(gain < 0.9 * curvature, gain / curvature, torch.full_like(gain, 0.9))
    t = torch.where(task.there > 0, task.y - far * centred, torch.ones_like(centred))
    g = task.gradient(t)
    nu = g.masked_fill(task.there == 0, torch.inf).amin(1, keepdim=True).nan_to_num(posinf=0.0)
    count = task.there.sum((1, 2), keepdim=True).clamp(min=1)
    shift = (((g - nu) * task.there).sum((1, 2), keepdim=True) / count).clamp(min=1e-2)
    return t, torch.where(task.there > 0, g - nu + shift, torch.ones_like(g)), nu - shift


def _interior_point(task: _Task) -> tuple[Tensor, Tensor]:
    """t, m (T, N, S) at the solution; q = dt / t and e = -dt dm below, so that -dm / m = 1 + q in the predictor."""
    t, m, nu = _start(task)
    share = task.there / task.there.sum((1, 2), keepdim=True).clamp(min=1)
    floor, before = (32 * task.rounding()).clamp(min=UNMET), torch.full_like(nu[..., :1], torch.inf)
    for _ in range(MAX_STEPS):
        g, tm = task.gradient(t), t * m
        mu = (tm * share).sum((1, 2), keepdim=True)
        unmet = ((g - nu - m) * task.there).abs().amax((1, 2), keepdim=True)
        going = (mu > TOLERANCE) | (unmet > floor) | ((unmet > UNMET) & (unmet < 0.5 * before))
        before = unmet
        if not bool(going.any()):
            break
        factors = _factor(task, t, m)
        b, r = nu - g, task.row - (t * task.there).sum(1, keepdim=True)
        q = factors.solve(b, r)[0] / t
        e = tm * q * (1 + q)
        step = 1 / ((q + 0.5).abs().amax((1, 2), keepdim=True) + 0.5).clamp(min=1)
        ahead = (1 - step) * mu - step.square() * (e * share).sum((1, 2), keepdim=True)
        aim = ((ahead / mu) ** 3 * mu + e) / t
        dt, dnu = factors.solve(b + aim, r)
        q = dt / t
        dm = (aim - m * (1 + q)) * task.there
        step = going * 0.99 / torch.maximum(-q, -dm / m).amax((1, 2), keepdim=True).clamp(min=0.99)
        t, m, nu = t + step * dt, m + step * dm, nu + step * dnu
    return t, m


class _Dual(torch.autograd.Function):
    """p -> alpha / C; differentiable once."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, y: Tensor, other: Tensor, there: Tensor, row: Tensor) -> Tensor:
        """alpha / C (T, N, S) of the fields of a `_Task`."""
        task = _Task(p, y, other, there, row)
        t, m = _interior_point(task)
        dual = task.dual(t)
        ctx.save_for_backward(*task, t, m, dual)
        return dual

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        """dL/dp (T, S, S) of dL/d(alpha / C), by the module's last equation; labels and places get none."""
        *fields, t, m, dual = ctx.saved_tensors
        task = _Task(*fields)
        t, m = t.clamp(min=NEAREST), m.clamp(min=NEAREST)
        factors, b = _factor(task, t, m), upstream * task.there
        u, nu = factors.solve(b, torch.zeros_like(task.row))
        # One refinement: where P is singular the factors alone give four digits.
        du, _ = factors.solve(b + nu - u @ task.p - m / t * u, -u.sum(1, keepdim=True))
        u = u + du
        product = u.mT @ dual
        return -0.5 * (product + product.mT), None, None, None, None


def kkt_residual(kernel: Tensor, labels: Tensor, alpha: Tensor, C: float, present: Tensor | None = None) -> Tensor:
    """How far alpha (..., S, N) is from solving the dual, (...,) float64; arguments as in `solve_dual`.

    With t = Y - alpha / C and g = Y - K alpha, the largest over support pictures i of: |sum_k alpha_ik| / C, the excess of
    alpha_ik / C over Y_ik, and sum_k t_ik (g_ik - min_j g_ij) / (1 + max |g|), the complementarity that is left, in units of
    the margin 1 plus the largest score. All three are 0 at a solution only.
    """
    y, a = labels.double(), alpha.double() / C
    t, g = y - a, y - (C * kernel.double()) @ a
    if present is None:
        present = torch.ones_like(y, dtype=torch.bool)
    t, g = t * present, torch.where(present, g, torch.zeros_like(g))
    best = torch.where(present, g, torch.full_like(g, torch.inf)).amin(-1, keepdim=True).nan_to_num(posinf=0.0)
    left = (t.clamp(min=0) * (g - best)).sum(-1).amax(-1) / (1 + g.abs().amax((-2, -1)))
    return torch.stack([left, a.sum(-1).abs().amax(-1), (-t).amax((-2, -1)).clamp(min=0)]).amax(0)


def _require(kernel: Tensor, labels: Tensor, C: float) -> None:
    if kernel.dim() < 2 or kernel.shape[-1] != kernel.shape[-2]:
        raise ConfigError(f"kernel: expected a square matrix (..., S, S), found shape {tuple(kernel.shape)}")
    if labels.shape[:-1] != kernel.shape[:-1]:
        raise ConfigError(
            f"labels: expected (..., S, N) beside a kernel of shape {tuple(kernel.shape)}, found {tuple(labels.shape)}"
        )
    if labels.shape[-1] < 2:
        raise ConfigError(f"labels: expected at least 2 ways, found {labels.shape[-1]}; an SVM separates classes")
    if not 0 < C < float("inf"):
        raise ConfigError(f"C: expected a finite number more than 0, found {C}")
    if not bool(torch.isfinite(kernel).all()):
        raise DataError("kernel: expected finite numbers, found NaN or infinity; look at the size of the features")


def solve_dual(
    kernel: Tensor, labels: Tensor, C: float, present: Tensor | None = None, dtype: torch.dtype | None = None
) -> DualSolution:
    """alpha (..., S, N) of the kernel (..., S, S) and one-hot labels (..., S, N), in the given dtype (None: the kernel's).

    The kernel is symmetric and positive semi-definite; form it in float64, for rounding in float32 can make a singular one
    indefinite. C > 0. present (..., S, N): False where an entry is not there (a padded picture, an absent way): its alpha is
    0; a picture whose own way is absent is not there either. Gradients reach the kernel, once. Cost: about ten to twenty
    factorisations of N matrices S x S, memory for four such batches.

    The residual is at most 1e-9 for C max_i K_ii up to about 1e5, and 1e-4 where alpha is rounded to float32, there up to
    about 1e3 only if classes share a picture; beyond, the rounding of K and of alpha lifts it in proportion.

    `ConfigError` for shapes and C; `DataError` for a kernel that is not finite or not positive semi-definite.
    """
    _require(kernel, labels, C)
    lead, (size, ways) = kernel.shape[:-2], labels.shape[-2:]
    y = labels.detach().to(torch.float64)
    there = torch.ones_like(y) if present is None else present.expand_as(y).to(torch.float64)
    y = y * there
    row = y.sum(-1, keepdim=True)
    there = there * row
    flat = [x.reshape(-1, size, x.shape[-1]).mT.contiguous() for x in (y, there * (1 - y), there, row)]
    try:
        dual = _Dual.apply(C * kernel.to(torch.float64).reshape(-1, size, size), *flat)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise DataError("kernel: expected a positive semi-definite matrix; form it in float64 as z z^T") from error
    alpha = (C * dual).mT.reshape(*lead, size, ways).to(dtype or kernel.dtype)
    with torch.no_grad():
        residual = kkt_residual(kernel, y, alpha, C, there > 0)
    return DualSolution(alpha, residual)

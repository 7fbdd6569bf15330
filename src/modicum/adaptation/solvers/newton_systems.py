"""The systems of Newton's method for linear models of a support set, in weights or in dual coordinates (see `newton_cg`).

    J B = R,      J = I + Z^T h Z  (weights, D x N)      or      J = I + h K,  K = Z Z^T  (coordinates, S x N)

h of picture i is diag(d_i), or diag(d_i) - d_i d_i^T / sum_k d_ik where classes are coupled by a softmax. Solved by
conjugate gradients in the inner product of weights, preconditioned by

- J^-1 itself for a small set (N S^2 <= SMALL): one S x S Cholesky factor for each class and one for all, so that CG only
  mends rounding; also, with D x D factors, where classes are apart and N D^2 <= SMALL;
- (I + kappa K)^-1 or (I + kappa Z^T Z)^-1 for a larger one, where kappa bounds h.

Sources: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, sec. 3.5 (the factors of a softmax);
Boehning, "Multinomial logistic regression algorithm", AISM 1992 (kappa); Nocedal & Wright, "Numerical Optimization", ch. 5.

| symbol | variable | shape |
|---|---|---|
| Z | z | (..., S, D) |
| F, d | scores, diagonal | (..., S, N) |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from modicum.errors import DataError

SMALL = 2**19
"""N S^2 up to which Newton systems are factored: 150 pictures in 20 classes, 300 in 5."""
CG_STEPS = 1_000
TOO_LARGE = "probe: the features are too large for float64; divide them by their norm"
Product = Callable[[Tensor], Tensor]


class Loss(NamedTuple):
    """l of scores F (..., S, N). axes: the dimensions one problem extends over, (-2, -1), or (-2,) if columns are apart.

    value: l, with `axes` kept as 1; residual: -l'(F), differentiable; diagonal: d of l''(F); bound: kappa >= l''.
    Problems that extend over the columns are coupled by the softmax term of l''.
    """

    axes: tuple[int, ...]
    bound: Tensor
    value: Product
    residual: Product
    diagonal: Product

    @property
    def coupled(self) -> bool:
        """Whether classes share a softmax."""
        return len(self.axes) == 2


class Space:
    """Weights by their coordinates: A with W = Z^T A where S <= D or S is small, else W itself."""

    def __init__(self, z: Tensor, axes: tuple[int, ...], n_out: int) -> None:
        self.small = n_out * z.shape[-2] ** 2 <= SMALL
        self.dual = self.small or z.shape[-2] <= z.shape[-1]
        self.z, self.axes, self.n_out = z, axes, n_out
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


def _curvature(d: Tensor, coupled: bool) -> Product:
    """V -> h V from the diagonal d (..., S, N)."""
    if not coupled:
        return lambda v: d * v
    total = d.sum(-1, keepdim=True)
    share = d / torch.where(total > 0, total, 1.0)
    return lambda v: d * (v - (share * v).sum(-1, keepdim=True))


class System(NamedTuple):
    """J = I + pull h scores, and what preconditions it."""

    space: Space
    curvature: Product
    precondition: Product

    def solve(self, right: Tensor, tolerance: Tensor | float) -> Tensor:
        """J^-1 right by preconditioned conjugate gradients, to a residual of tolerance times its norm."""
        space = self.space
        x, residual = torch.zeros_like(right), right
        y = self.precondition(residual)
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
            y = self.precondition(residual)
            new = space.dot(space.metric(residual), y)
            p = torch.where(going, y + new / rho * p, p)
            rho = torch.where(going, new, rho)
        return x


def _factor(matrix: Tensor) -> Tensor:
    """Lower Cholesky factor, with a grain more on the diagonal: a preconditioner need not be exact, but must exist."""
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix + 1e-14 * trace * eye)
    if bool(failed.any()):
        raise DataError(TOO_LARGE)
    return factor


def _bounded(space: Space, bound: Tensor) -> Product:
    """R -> (I + kappa gram)^-1 R."""
    eye = torch.eye(space.gram.shape[-1], dtype=space.gram.dtype, device=space.gram.device)
    factor = _factor(eye + bound * space.gram)
    return lambda r: torch.cholesky_solve(r, factor)


def _exact(space: Space, d: Tensor, coupled: bool) -> Product:
    """R -> (I + h K)^-1 R from the diagonal d (..., S, N) of h.

    With E_k = (K + diag(d_k)^-1)^-1, B_k = r_k - E_k (K r_k - s), where s (..., S) is 0 or, if coupled, what makes
    sum_k E_k (K r_k - s) vanish: the share-weighted mean of a picture's scores K B.
    """
    gram, root = space.gram.unsqueeze(-3), d.mT.sqrt().unsqueeze(-1)  # (..., 1, S, S), (..., N, S, 1)
    eye = torch.eye(gram.shape[-1], dtype=d.dtype, device=d.device)
    half = torch.linalg.solve_triangular(_factor(eye + root * gram * root.mT), eye, upper=False) * root.mT
    if not coupled:
        return lambda r: r - _columns(half.mT @ (half @ _stacked(space.metric(r))))
    idle = (d.sum(-1) <= 0).to(d.dtype)  # padding: its row of every E_k is zero
    factor = _factor((half.mT @ half).sum(-3) + torch.diag_embed(idle))

    def solve(r: Tensor) -> Tensor:
        kr = _stacked(space.metric(r))
        s = torch.cholesky_solve((half.mT @ (half @ kr)).sum(-3), factor)
        return r - _columns(half.mT @ (half @ (kr - s.unsqueeze(-3))))

    return solve


def _exact_apart(space: Space, d: Tensor) -> Product:
    """R -> (I + Z^T diag(d_k) Z)^-1 r_k for weights R (..., D, N)."""
    z = space.z.unsqueeze(-3)
    eye = torch.eye(z.shape[-1], dtype=d.dtype, device=d.device)
    factor = _factor(eye + z.mT @ (_stacked(d) * z))
    return lambda r: _columns(torch.cholesky_solve(_stacked(r), factor))


def _stacked(a: Tensor) -> Tensor:
    """Columns (..., S, N) as (..., N, S, 1)."""
    return a.mT.unsqueeze(-1)


def _columns(a: Tensor) -> Tensor:
    """The inverse of `_stacked`."""
    return a.squeeze(-1).mT


class Systems(NamedTuple):
    """J of one problem at any scores; bounded: the preconditioner that is the same at all of them, None for exact ones."""

    space: Space
    loss: Loss
    bounded: Product | None

    def at(self, scores: Tensor) -> System:
        """J at scores (..., S, N)."""
        d = self.loss.diagonal(scores)
        inverse = self.bounded
        if inverse is None:
            inverse = _exact(self.space, d, self.loss.coupled) if self.space.dual else _exact_apart(self.space, d)
        return System(self.space, _curvature(d, self.loss.coupled), inverse)


def newton_system(space: Space, loss: Loss) -> Systems:
    """The systems of a problem. `DataError` where features are too large for float64."""
    if not bool(torch.isfinite(space.gram).all()):
        raise DataError(TOO_LARGE)
    exact = space.small or (not space.dual and not loss.coupled and space.n_out * space.z.shape[-1] ** 2 <= SMALL)
    return Systems(space, loss, None if exact else _bounded(space, loss.bound))

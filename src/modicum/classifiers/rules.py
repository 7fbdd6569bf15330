"""Linear rules: every head of a classifier on prepared features is logits = scale * (phi(z) W + b).

| head | W column k, b_k | source |
|---|---|---|
| protonet | 2 c_k, -||c_k||^2 (the query's own norm cancels in a softmax) | `modicum.adaptation.protonet` |
| cosine | c_k / ||c_k||, 0; logits divided by ||phi(z)|| | `modicum.adaptation.cosine` |
| ridge, r2d2 | (X^T S X + lambda I)^-1 X^T S Y, 0 | `modicum.adaptation.ridge`, `.r2d2` |

X (n, D) are the prepared support features, Y one-hot labels, c_k class means, S row weights: 1, or n / (N n_k) where
`balanced`, so that all classes weigh alike. `phi` leaves features alone ("none"), scales them to length 1 ("l2"), or does
that after subtracting the support's mean ("centre-l2"; Wang, Chao, Weinberger, van der Maaten, "SimpleShot", 2019, arXiv
1911.04623, where the mean is that of the base classes). Tests hold these rules against the heads of `adaptation`.

Why not those heads themselves: choosing a penalty needs one eigendecomposition for all penalties, and the rule that is
kept has to give a picture the same bits in any batch. A relative penalty rho is lambda = rho trace(S X X^T) / min(n, D),
in units of the mean eigenvalue, so one grid serves every encoder and every number of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.evaluation.accuracy import Floats, Ints
from modicum.similarity import dot_similarities

Rows = npt.NDArray[np.float32]
Phi = Literal["none", "l2", "centre-l2"]


@dataclass(frozen=True)
class Settings:
    """A head with its settings. penalty: ridge and r2d2 only, relative or absolute; scale multiplies all logits."""

    head: str
    phi: Phi = "l2"
    penalty: float = 0.0
    relative: bool = True
    balanced: bool = False
    scale: float = 1.0

    def words(self) -> str:
        """As a table shows it."""
        parts = [f"features {self.phi}"]
        if self.head in ("ridge", "r2d2"):
            parts.append(f"penalty {self.penalty:g}{' x mean eigenvalue' if self.relative else ''}")
        if self.balanced:
            parts.append("classes weighted alike")
        return ", ".join(parts)


class Preparation(NamedTuple):
    """phi as a value: `centre` (D,) is subtracted where given, then rows are scaled to length 1 where `unit`."""

    centre: Rows | None
    unit: bool

    def __call__(self, features: npt.ArrayLike) -> Rows:
        """Prepared features (q, D) float32; a row depends on no other row, a row of zeros stays."""
        x = np.ascontiguousarray(features, np.float32)
        if self.centre is not None:
            x = x - self.centre
        return unit_rows(x) if self.unit else x


def unit_rows(x: npt.ArrayLike) -> Rows:
    """Rows (q, D) scaled to length 1, by float64 sums in an order that depends on D alone."""
    wide = np.ascontiguousarray(x, np.float64)
    norm = np.sqrt((wide * wide).sum(1, keepdims=True))
    unit: Floats = np.divide(wide, norm, out=np.zeros_like(wide), where=norm > 0)
    return unit.astype(np.float32)


def preparation(features: Rows, phi: Phi) -> Preparation:
    """phi fitted to support features (n, D)."""
    centre = features.mean(0, dtype=np.float64).astype(np.float32) if phi == "centre-l2" else None
    return Preparation(centre, phi != "none")


@dataclass(frozen=True, eq=False)
class LinearRule:
    """Fitted rule: weight (N, D) float32, bias (N,) float64, -inf for classes without support; `unit` as for cosine."""

    prepare: Preparation
    weight: Rows
    bias: Floats
    unit: bool
    scale: float

    def logits(self, features: npt.ArrayLike) -> Floats:
        """Logits (q, N) of features (q, D); the bits of a row depend on that row alone, not on batch or position."""
        z = self.prepare(features)
        if self.unit:
            z = unit_rows(z)
        result: Floats = self.scale * (dot_similarities(z, self.weight) + self.bias)
        return result


def one_hot(labels: Ints, n_classes: int) -> Floats:
    """Targets (n, N) float64."""
    return np.eye(n_classes)[labels]


class RidgePath:
    """Ridge solutions for all penalties from one eigendecomposition, of X^T S X (D, D) or of S X X^T (n, n).

    x (n, D) float64, targets (n, N), row weights (n,) or None.
    """

    def __init__(self, x: Floats, targets: Floats, weights: Floats | None = None) -> None:
        if weights is not None:
            root = np.sqrt(weights)[:, None]
            x, targets = x * root, targets * root
        self._dual = len(x) < x.shape[1]
        gram = x @ x.T if self._dual else x.T @ x
        self.unit = float(np.trace(gram)) / max(1, min(x.shape))
        values, self._basis = np.linalg.eigh(gram)
        self._values = np.maximum(values, 0)
        self._x = x if self._dual else None
        self._targets = self._basis.T @ (targets if self._dual else x.T @ targets)

    def _shrunk(self, penalty: float) -> Floats:
        shrunk: Floats = self._targets / (self._values + penalty)[:, None]
        return shrunk

    def penalty(self, settings: Settings) -> float:
        """The absolute penalty > 0 of settings; features that are all zero get 1."""
        return settings.penalty * (self.unit or 1.0) if settings.relative else settings.penalty

    def weight(self, penalty: float) -> Floats:
        """W (D, N)."""
        w = self._basis @ self._shrunk(penalty)
        return w if self._x is None else self._x.T @ w

    def outputs(self, x: Floats, penalties: Sequence[float]) -> list[Floats]:
        """x W (m, N) for every penalty, of other prepared features x (m, D)."""
        projected = (x if self._x is None else x @ self._x.T) @ self._basis
        return [projected @ self._shrunk(penalty) for penalty in penalties]


def class_means(x: Floats, labels: Ints, n_classes: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Means (N, D) of prepared features x (n, D), zeros for classes without any, and which classes have some (N,)."""
    counts = np.bincount(labels, minlength=n_classes)
    return one_hot(labels, n_classes).T @ x / np.maximum(counts, 1)[:, None], counts > 0


def row_weights(labels: Ints, n_classes: int, balanced: bool) -> Floats | None:
    """n / (N n_k) for every row (n,), N the classes that have rows; None for equal weights."""
    if not balanced:
        return None
    counts = np.bincount(labels, minlength=n_classes)
    weights: Floats = len(labels) / ((counts > 0).sum() * counts[labels])
    return weights


def fit_rule(features: Rows, labels: Ints, n_classes: int, settings: Settings) -> LinearRule:
    """The rule of settings on support features (n, D) and labels (n,) in 0..N-1."""
    prepare = preparation(features, settings.phi)
    x = prepare(features).astype(np.float64)
    means, there = class_means(x, labels, n_classes)
    bias = np.zeros(n_classes)
    if settings.head == "protonet":
        weight, bias = 2 * means, -(means * means).sum(1)
    elif settings.head == "cosine":
        norm = np.sqrt((means * means).sum(1, keepdims=True))
        weight = np.divide(means, norm, out=np.zeros_like(means), where=norm > 0)
    else:
        path = RidgePath(x, one_hot(labels, n_classes), row_weights(labels, n_classes, settings.balanced))
        weight = path.weight(path.penalty(settings)).T
    bias = np.where(there, bias, -np.inf)
    return LinearRule(prepare, np.ascontiguousarray(weight, np.float32), bias, settings.head == "cosine", settings.scale)

"""Linear rules: every head of a classifier on prepared features is logits = scale * (phi(z) W + b).

| head | W column k, b_k | source |
|---|---|---|
| protonet | 2 c_k, -||c_k||^2 (the query's own norm cancels in a softmax) | `modicum.adaptation.protonet` |
| cosine | c_k / ||c_k||, 0; logits divided by ||phi(z)|| | `modicum.adaptation.cosine` |
| ridge, r2d2, metaoptnet-rr | (X^T S X + lambda I)^-1 X^T S Y, 0 | `modicum.adaptation.ridge`, `.r2d2`, `.metaoptnet` |
| linear, svm, metaoptnet-svm | minimise a loss with weight C, b_k too but for the last | `modicum.classifiers.margins` |
| mct | 2 phi(m_k), -||phi(m_k)||^2, m_k means of features before phi | `modicum.adaptation.mct` |
| maml, alfa, ... | those of the last layer of the adapted network | `modicum.classifiers.adapted` |

X (n, D) are the prepared support features, Y one-hot labels, c_k class means, S row weights: 1, or n / (N n_k) where
`balanced`, so that all classes weigh alike. `phi` leaves features alone ("none"), scales them to length 1 ("l2"), or does
that after subtracting the support's mean ("centre-l2"; Wang, Chao, Weinberger, van der Maaten, "SimpleShot", 2019, arXiv
1911.04623, where the mean is that of the base classes); that of mct is learned, by a run, and not from the support. Tests
hold these rules against the heads of `adaptation`.

Why not those heads themselves: choosing a penalty needs one eigendecomposition for all penalties, and the rule that is
kept has to give a picture the same bits in any batch. A relative penalty rho is lambda = rho trace(S X X^T) / min(n, D),
in units of the mean eigenvalue, so one grid serves every encoder and every number of pictures. A relative C is that of
features divided by their root mean squared length, for the same reason; lengths of 1 leave it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.classifiers.learned import LearnedLength
from modicum.classifiers.margins import MARGINS, MarginPath
from modicum.errors import ConfigError
from modicum.evaluation.accuracy import Floats, Ints
from modicum.registry import GRADIENT_METHODS
from modicum.similarity import dot_similarities

Rows = npt.NDArray[np.float32]
Phi = Literal["none", "l2", "centre-l2"]
RIDGES = ("ridge", "r2d2", "metaoptnet-rr")


@dataclass(frozen=True)
class Settings:
    """A head with its settings; scale multiplies all logits.

    penalty (`RIDGES` only) and c (`MARGINS` only) are relative or absolute; `ConfigError` where they are needed and not
    above 0.
    """

    head: str
    phi: Phi = "l2"
    penalty: float = 0.0
    relative: bool = True
    balanced: bool = False
    scale: float = 1.0
    c: float = 0.0

    def __post_init__(self) -> None:
        if self.head in RIDGES and not self.penalty > 0:
            raise ConfigError(f"penalty: expected more than 0 for the head {self.head}, found {self.penalty}")
        if self.head in MARGINS and not self.c > 0:
            raise ConfigError(f"C: expected more than 0 for the head {self.head}, found {self.c}")

    def words(self) -> str:
        """As a table shows it."""
        if self.head in GRADIENT_METHODS:
            return "the last layer of the adapted network"
        parts = ["lengths learned by the run" if self.head == "mct" else f"features {self.phi}"]
        if self.head in RIDGES:
            parts.append(f"penalty {self.penalty:g}{' x mean eigenvalue' if self.relative else ''}")
        if self.head in MARGINS:
            parts.append(f"C {self.c:g}{' for mean length 1' if self.relative and self.phi == 'none' else ''}")
        if self.balanced:
            parts.append("classes weighted alike")
        return ", ".join(parts)


class Preparation(NamedTuple):
    """phi as a value: `centre` (D,) is subtracted where given, then rows are scaled to length 1 where `unit`, or to the
    length that `learned` gives them."""

    centre: Rows | None
    unit: bool
    learned: LearnedLength | None = None

    def __call__(self, features: npt.ArrayLike) -> Rows:
        """Prepared features (q, D) float32; a row depends on no other row, a row of zeros stays."""
        x = np.ascontiguousarray(features, np.float32)
        if self.centre is not None:
            x = x - self.centre
        if self.learned is not None:
            return self.learned(x)
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


def _fitted(x: Floats, labels: Ints, n_classes: int, settings: Settings) -> tuple[Floats, Floats]:
    """W (N, D) and b (N,) on prepared features x (n, D)."""
    bias = np.zeros(n_classes)
    if settings.head in ("protonet", "cosine"):
        means, _ = class_means(x, labels, n_classes)
        squares = (means * means).sum(1)
        if settings.head == "protonet":
            return 2 * means, -squares
        norm = np.sqrt(squares)[:, None]
        return np.divide(means, norm, out=np.zeros_like(means), where=norm > 0), bias
    weights = row_weights(labels, n_classes, settings.balanced)
    if settings.head in MARGINS:
        path = MarginPath(x, labels, n_classes, weights, relative=settings.relative)
        weight, bias = path.solve(settings.head, settings.c, exact=True)
        return weight.T, bias
    ridge = RidgePath(x, one_hot(labels, n_classes), weights)
    return ridge.weight(ridge.penalty(settings)).T, bias


def fit_rule(
    features: Rows, labels: Ints, n_classes: int, settings: Settings, learned: LearnedLength | None = None
) -> LinearRule:
    """The rule of settings on support features (n, D) and labels (n,) in 0..N-1; learned: the lengths that mct needs."""
    there = np.bincount(labels, minlength=n_classes) > 0
    if settings.head == "mct":
        prepare = Preparation(None, False, learned)
        means = prepare(class_means(features.astype(np.float64), labels, n_classes)[0]).astype(np.float64)
        weight, bias = 2 * means, -(means * means).sum(1)
    else:
        prepare = preparation(features, settings.phi)
        weight, bias = _fitted(prepare(features).astype(np.float64), labels, n_classes, settings)
    bias = np.where(there, bias, -np.inf)
    return LinearRule(prepare, np.ascontiguousarray(weight, np.float32), bias, settings.head == "cosine", settings.scale)

"""Weights of the heads that minimise a loss, for many pictures and many settings: `linear`, `svm`, `metaoptnet-svm`.

    linear          1/2 (||W||^2 + |b|^2) + C sum_i s_i (log sum_k exp o_ik - o_iy)                    o_i = x_i W + b
    svm             1/2 (||W||^2 + |b|^2) + C sum_i s_i sum_k max(0, 1 - t_ik o_ik)^2
    metaoptnet-svm  1/2 ||W||^2 + C sum_i s_i max_k (1[k != y_i] + o_ik - o_iy),                       b = 0

| symbol | variable | is |
|---|---|---|
| x_i, s_i | x, weights | prepared features (n, D), row weights (n,) |
| t_ik | signs | +1 for the label, -1 for the other classes |
| C | c | > 0; the smaller, the flatter |

The problems are those of `modicum.adaptation.probes` and `.metaoptnet`, whose solvers are made for batches of small,
differentiable tasks. A search fits them hundreds of times, to thousands of pictures. The first two are solved by L-BFGS
(Liu, Nocedal, "On the limited memory BFGS method", 1989; SciPy's L-BFGS-B) in principal axes of the rows, each axis
scaled by 1 / sqrt(1 + C kappa lambda), lambda its eigenvalue and kappa a bound of the loss's curvature, 1/2 or 2 (Boehning,
1992): one decomposition serves every C. At equal error that took a half to a tenth of the time of scikit-learn's solvers,
with 25 to 3,260 pictures. The third is LIBLINEAR's (Keerthi et al., KDD 2008), in scikit-learn: coordinates in an order
that its own generator draws from a fixed seed; where these do not get there, `crammer_singer` of `modicum.adaptation`. All
give the same bits for the same rows in the same order on the same machine.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.evaluation.accuracy import Floats, Ints

Reals = npt.NDArray[Any]  # float32 in a search, else float64
MARGINS = ("linear", "svm", "metaoptnet-svm")
_KAPPA = {"linear": 0.5, "svm": 2.0}
_MOST_PASSES = 100_000  # of LIBLINEAR over the rows
_SMALL = 2**22  # N n^2 up to which the interior point serves: 900 pictures in 5 classes
EXACT = 1e-6
SEARCH = {"linear": 3e-3, "svm": 3e-4, "metaoptnet-svm": 1e-2}
"""Largest component of the gradient that ends a fit, relative to that at W = 0 (LIBLINEAR: in units of the loss): of a rule
that is kept, and of those that only compete. Weights are then right to about 1e-5, and to a few percent, which is far less
than what folds differ by. A search multiplies in float32, which halves its time and adds nothing at this size."""


def _cross_entropy(outputs: Reals, here: Reals, weights: Reals) -> tuple[float, Reals]:
    """Loss and its derivative (n, N) at outputs (n, N), for labels `here` (n, N) one-hot."""
    o = outputs - outputs.max(1, keepdims=True)
    e = np.exp(o)
    total = e.sum(1, keepdims=True)
    loss = float((weights * (np.log(total) - (o * here).sum(1, keepdims=True))).sum(dtype=np.float64))
    return loss, (e / total - here) * weights


def _squared_hinge(outputs: Reals, here: Reals, weights: Reals) -> tuple[float, Reals]:
    """As `_cross_entropy`."""
    signs = 2 * here - 1
    slack = np.maximum(0, 1 - signs * outputs)
    return float((weights * slack * slack).sum(dtype=np.float64)), -2 * weights * signs * slack


class MarginPath:
    """Solutions for every C from one decomposition of the rows x (n, D) float64, labels (n,), row weights (n,) or None.

    Classes without rows get weights of 0, and so does everything where only one class has rows. relative: divide the rows
    by their root mean squared length first.
    """

    def __init__(
        self, x: Floats, labels: Ints, n_classes: int, weights: Floats | None = None, *, relative: bool = False
    ) -> None:
        self._unit = float(np.sqrt((x * x).sum(1).mean())) or 1.0 if relative else 1.0
        self._x, self._n_classes = x / self._unit, n_classes
        self._classes, self._labels = np.unique(labels, return_inverse=True)
        self._weights = np.ones(len(x)) if weights is None else weights
        self._here = np.eye(len(self._classes))[self._labels]
        self._axes: dict[int, tuple[Floats, Floats, Floats]] = {}

    def _principal(self, constants: int) -> tuple[Floats, Floats, Floats]:
        """Axes (D + constants, r) of the rows, which get that many constants 1, their eigenvalues (r,), and the rows in
        them (n, r)."""
        if constants not in self._axes:
            x = np.concatenate([self._x, np.ones((len(self._x), constants))], 1)
            y = x * np.sqrt(self._weights)[:, None]
            dual = len(y) < y.shape[1]
            values, basis = np.linalg.eigh(y @ y.T if dual else y.T @ y)
            keep = values > max(values[-1] * 1e-12, 0.0)
            values, basis = values[keep], basis[:, keep]
            axes = (y.T @ basis) / np.sqrt(values) if dual else basis
            self._axes[constants] = axes, values, x @ axes
        return self._axes[constants]

    def solve(self, head: str, c: float, *, exact: bool) -> tuple[Floats, Floats]:
        """W (D, N) and b (N,) of a head for C > 0, to a tolerance of `EXACT` or of `SEARCH`."""
        weight, bias = np.zeros((self._x.shape[1], self._n_classes)), np.zeros(self._n_classes)
        if len(self._classes) < 2:
            return weight, bias
        if head == "metaoptnet-svm":
            weight[:, self._classes] = self._crammer_singer(c, EXACT if exact else SEARCH[head])
        else:
            found = self._smooth(head, c, exact)
            weight[:, self._classes], bias[self._classes] = found[:-1], found[-1]
        return weight / self._unit, bias

    def _smooth(self, head: str, c: float, exact: bool) -> Floats:
        """W and b stacked (D + 1, N)."""
        from scipy.optimize import minimize

        axes, values, rows = self._principal(1)
        scale = 1 / np.sqrt(1 + c * _KAPPA[head] * values)
        kind = np.float64 if exact else np.float32
        matrix: Reals = (rows * scale).astype(kind)
        here: Reals = self._here.astype(kind)
        s: Reals = self._weights[:, None].astype(kind)
        ridge = (scale * scale)[:, None]
        shape = (len(scale), len(self._classes))
        loss = _cross_entropy if head == "linear" else _squared_hinge

        def objective(u: Floats) -> tuple[float, Floats]:
            v = u.reshape(shape)
            value, slope = loss(matrix @ v.astype(kind), here, s)
            return c * value + 0.5 * float((ridge * v * v).sum()), (c * (matrix.T @ slope) + ridge * v).ravel()

        start = np.zeros(shape[0] * shape[1])
        goal = (EXACT if exact else SEARCH[head]) * float(np.abs(objective(start)[1]).max())
        options = {"maxcor": 20, "gtol": goal, "ftol": 0.0, "maxiter": 2_000, "maxfun": 4_000, "maxls": 40}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        weights: Floats = axes @ (scale[:, None] * found.x.reshape(shape))
        return weights

    def _crammer_singer(self, c: float, tolerance: float) -> Floats:
        """W (D, N); with two classes LIBLINEAR's one vector is their difference, and the columns of W sum to 0."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        axes, _, rows = self._principal(0)
        if rows.shape[1] == 0:  # features that are all zero
            return np.zeros((self._x.shape[1], len(self._classes)))
        model = LinearSVC(
            C=c, multi_class="crammer_singer", fit_intercept=False, tol=tolerance, max_iter=_MOST_PASSES, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # its advice, more iterations, is not the reader's to take
            found: Floats = model.fit(rows, self._labels, sample_weight=self._weights).coef_.T
        if tolerance <= EXACT and model.n_iter_ >= _MOST_PASSES:
            if np.ptp(self._weights) == 0 and self._here.size * len(rows) <= _SMALL:
                return axes @ self._interior_point(rows, c * float(self._weights[0]))
            warnings.warn(
                f"metaoptnet-svm: stopped before its optimum at C {c:g}; take a smaller C or another head", stacklevel=2
            )
        return axes @ (np.concatenate([-found / 2, found / 2], 1) if len(self._classes) == 2 else found)

    def _interior_point(self, rows: Floats, c: float) -> Floats:
        """W (r, N) by the solver of `MetaOptNetSVMHead`, where coordinates need too many passes: large C |x|^2, classes that
        overlap."""
        import torch

        from modicum.adaptation.solvers.crammer_singer import solve_dual

        z = torch.from_numpy(rows)
        weights: Floats = (z.mT @ solve_dual(z @ z.mT, torch.from_numpy(self._here), c).alpha).numpy()
        return weights

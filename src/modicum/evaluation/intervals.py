"""How sure a number is: intervals, each of which says what it is over.

Mean of T task values x_t: stderr = sd / sqrt(T) with sd over T - 1, and ci95 = t(0.975, T - 1) * stderr (Student; 1.96
in the limit, 4.30 for three seeds). Both radii are always named, because papers print either.

Balanced accuracy BA = mean of recalls p_c over C classes with n_c pictures each. Its variance, as if all pictures came
alone, is V = sum_c v_c / n_c / C^2. For v_c, the variance of one picture, p_c (1 - p_c) n_c / (n_c - 1) is unbiased but 0
for most small classes, and BA (1 - BA) errs upwards (classes of equal recall vary most), so

    v_c = ((n_c - 1) p_c (1 - p_c) n_c / (n_c - 1) + 2 BA (1 - BA)) / (n_c + 1)

The effective number of pictures is N* = BA (1 - BA) / V, or C^2 / sum_c (1 / n_c) where BA is 0 or 1, and the interval is
Jeffreys' of a proportion seen on N* pictures: the 2.5 and 97.5 % points of Beta(BA N* + 1/2, (1 - BA) N* + 1/2), its outer
end 0 or 1 where BA is (Brown, Cai, DasGupta, "Interval estimation for a binomial proportion", Statistical Science 2001;
effective numbers: Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data", Survey Methodology 1998). Drawing every class from a Jeffreys posterior of its own instead is
unsound for many small classes: 100 classes with 2 pictures each, all right, would give 0.83 +- 0.03.

Pictures that come in groups (one sender, copies) count less. With residuals e_i = right_i - p_c the correlation within
groups, rho in 0..1, is pooled over classes: the sum of e_i e_j over pairs of one class and group, each plus its bias
s_c / n_c, over the sum of s_c = p_c (1 - p_c) n_c / (n_c - 1); then n_c becomes n_c / (1 + (m_c - 1) rho) with
m_c = sum_g n_cg^2 / n_c (Kish's design effect). Where whole groups vary more than that (a sender is wrong in several
classes at once) N* shrinks by the ratio, and by (t(G' - 1) / 1.96)^2 for the G' groups being few (Korn and Graubard).
The interval is over new pictures (or new groups) of these classes, with the training pictures as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.evaluation.accuracy import Floats, Ints, balanced_accuracy, confusion_counts


@dataclass(frozen=True)
class MeanInterval:
    """A mean of `count` values with both radii, `ci95` (95 % interval) and `stderr` (one standard error), over `over`."""

    mean: float
    ci95: float
    stderr: float
    count: int
    over: str


class Interval(NamedTuple):
    """A value with a 95 % interval `lower`..`upper` that need not be symmetric, over `over`."""

    value: float
    lower: float
    upper: float
    over: str

    @property
    def radius(self) -> float:
        """The longer arm: value +- radius contains the interval."""
        return max(self.value - self.lower, self.upper - self.value)


def student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t: 12.7 at 1 degree of freedom, 4.30 at 2, 1.96 in the limit."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))


def mean_interval(values: npt.ArrayLike, over: str) -> MeanInterval:
    """Mean of values (T,) with both radii; `over` says what was drawn (e.g. "draws of tasks from these 20 classes").

    Needs T >= 2 finite values, else `DataError`: one value has no spread.
    """
    x = np.asarray(values, np.float64).ravel()
    if len(x) < 2 or not np.isfinite(x).all():
        raise DataError(f"values: expected at least 2 finite numbers for an interval, found {len(x)}: {x[:5]}")
    stderr = float(x.std(ddof=1)) / math.sqrt(len(x))
    return MeanInterval(float(x.mean()), student_quantile(len(x) - 1) * stderr, stderr, len(x), over)


def paired_interval(first: npt.ArrayLike, second: npt.ArrayLike, over: str) -> MeanInterval:
    """Mean of first - second over the SAME tasks or seeds (T,); an order is shown where mean +- ci95 excludes 0."""
    a, b = np.asarray(first, np.float64).ravel(), np.asarray(second, np.float64).ravel()
    if a.shape != b.shape:
        raise DataError(f"second: expected as many values as first ({len(a)}), found {len(b)}; pairs need the same tasks")
    return mean_interval(a - b, over)


def excludes_zero(difference: MeanInterval) -> bool:
    """Whether a paired interval shows an order."""
    return abs(difference.mean) > difference.ci95


class _Cells(NamedTuple):
    """(class, group) cells that have pictures: class (m,), group (m,), pictures (m,), right ones (m,)."""

    of_class: Ints
    of_group: Ints
    n: Floats
    right: Floats


def _cells(label: Ints, right: npt.NDArray[np.bool_], groups: Ints) -> _Cells:
    keys, inverse = np.unique(np.stack([label, groups]), axis=1, return_inverse=True)
    inverse = inverse.ravel()
    return _Cells(
        keys[0], keys[1], np.bincount(inverse).astype(np.float64), np.bincount(inverse, weights=right).astype(np.float64)
    )


def _unbiased(n: Floats, p: Floats) -> Floats:
    return np.divide(p * (1 - p) * n, n - 1, out=np.zeros_like(p), where=n > 1)


def intragroup_correlation(cells: _Cells, n: Floats, p: Floats) -> float:
    """rho in 0..1 of the module docstring, from cells and the counts n (C,) and recalls p (C,) of classes.

    1 where nothing varies (all right or all wrong): groups then are all that is known to be independent.
    """
    mean = p[cells.of_class]
    squares = cells.right * (1 - mean) ** 2 + (cells.n - cells.right) * mean**2
    variance = _unbiased(n, p)
    pairs = cells.n * (cells.n - 1)
    expected = float((pairs * variance[cells.of_class]).sum())
    if expected == 0:
        return 1.0
    products = (cells.right - mean * cells.n) ** 2 - squares + pairs * (variance / n)[cells.of_class]
    return float(np.clip(products.sum() / expected, 0, 1))


def _whole_groups(cells: _Cells, n: Floats, p: Floats, variance: float) -> float:
    """By what N* shrinks for groups that span classes and for few groups; at least 1."""
    residual = (cells.right - p[cells.of_class] * cells.n) / n[cells.of_class] / len(n)
    influence = np.bincount(cells.of_group, weights=residual)  # (G,)
    count = len(influence)
    degrees = max(1, min(count - 1, len(cells.n) - len(n)))
    ratio = count / max(count - 1, 1) * float((influence**2).sum()) / variance if variance > 0 else 1.0
    return max(1.0, ratio) * (student_quantile(degrees) / 1.96) ** 2


def effective_count(true: npt.ArrayLike, right: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> float:
    """N*, the number of independent pictures of one class that would fix balanced accuracy as well as these do.

    true (n,) int, right (n,) bool, groups (n,) int or None (all independent); only classes that occur count.
    """
    label = np.unique(np.asarray(true), return_inverse=True)[1]
    hit = np.asarray(right, bool)
    n = np.bincount(label).astype(np.float64)
    p = np.bincount(label, weights=hit) / n
    mean = float(p.mean())
    one = (p * (1 - p) * n + 2 * mean * (1 - mean)) / (n + 1)  # (C,) v_c
    cells = None if groups is None else _cells(label, hit, np.unique(np.asarray(groups), return_inverse=True)[1])
    effective = n
    if cells is not None:
        spread = np.bincount(cells.of_class, weights=cells.n**2) / n
        effective = n / (1 + (spread - 1) * intragroup_correlation(cells, n, p))
    variance = float((one / effective).sum()) / len(n) ** 2
    count = mean * (1 - mean) / variance if variance > 0 else len(n) ** 2 / float((1 / effective).sum())
    return count if cells is None else count / _whole_groups(cells, n, p, variance)


def jeffreys(value: float, count: float) -> tuple[float, float]:
    """Jeffreys' 95 % interval of a proportion seen on `n` (any positive number) independent pictures."""
    from scipy.special import betaincinv

    a, b = value * count + 0.5, (1 - value) * count + 0.5
    lower = 0.0 if value <= 0 else float(betaincinv(a, b, 0.025))
    upper = 1.0 if value >= 1 else float(betaincinv(a, b, 0.975))
    return min(lower, value), max(upper, value)


def balanced_accuracy_interval(
    true: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int, groups: npt.ArrayLike | None = None
) -> Interval:
    """Balanced accuracy of labels (n,) with the interval of the module docstring; groups (n,) int or None.

    Only classes with pictures count. No pictures: `DataError`.
    """
    t, guess = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    confusion = confusion_counts(t, guess, n_classes)
    value = balanced_accuracy(confusion)
    if math.isnan(value):
        raise DataError("true: expected at least one picture, found none")
    lower, upper = jeffreys(value, effective_count(t, t == guess, groups))
    what = "new pictures" if groups is None else "new groups of pictures"
    count = int((confusion.sum(1) > 0).sum())
    return Interval(value, lower, upper, f"{what} of these {count} classes, training pictures as they are")

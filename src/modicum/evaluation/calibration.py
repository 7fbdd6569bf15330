"""Whether probabilities mean what they say: temperature scaling, reliability, expected calibration error.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599.

    p(k) = softmax_k(logits / T),      T = argmin of the mean of -sum_k t_k log p(k) over held-out pictures
    ECE  = sum over bins b of (n_b / n) |accuracy_b - confidence_b|

| symbol | variable | is |
|---|---|---|
| 1 / T | `beta` | the loss is convex in it: its second derivative is the variance of the logits under p |
| t | targets | 1 for the label, after smoothing (below) |
| b | bins | 15 of equal width, (0, 1/15], (1/15, 2/15], ...; a picture lies in the bin of its highest probability |

Deviations: targets give the weight 1 / (n + 1) to all classes alike, as if one more picture of an unknown class had been
seen (Platt, "Probabilistic outputs for support vector machines", 1999, smooths likewise). Without it the best T is 0
where all n pictures are right, and the next picture is called certain. The weight vanishes with n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.evaluation.accuracy import Floats, Ints

BINS = 15
WIDEST = 1e4
"""1 / T stays within 1 / WIDEST and WIDEST, in units of the logits' spread."""


def softmax(logits: npt.ArrayLike, temperature: float = 1.0) -> Floats:
    """Probabilities (..., N) of logits (..., N) / temperature; -inf gets 0. A row depends on no other row."""
    x = np.asarray(logits, np.float64) / temperature
    x = np.exp(x - x.max(-1, keepdims=True))
    result: Floats = x / x.sum(-1, keepdims=True)
    return result


def negative_log_likelihood(logits: npt.ArrayLike, labels: npt.ArrayLike, temperature: float = 1.0) -> float:
    """Mean of -log p(label) in nats of logits (n, N) and labels (n,)."""
    x = np.asarray(logits, np.float64) / temperature
    top = x.max(-1)
    total = np.log(np.exp(x - top[:, None]).sum(-1)) + top
    return float((total - np.take_along_axis(x, np.asarray(labels, np.int64)[:, None], 1)[:, 0]).mean())


def _targets(there: npt.NDArray[np.bool_], labels: Ints) -> Floats:
    """Smoothed targets (n, N); `there` (n, N) says which classes compete in a row."""
    n = len(labels)
    targets: Floats = there / there.sum(1, keepdims=True) / (n + 1)
    targets[np.arange(n), labels] += n / (n + 1)
    return targets


def _slope(beta: float, x: Floats, there: npt.NDArray[np.bool_], targets: Floats) -> tuple[float, float]:
    """First and second derivative in beta = 1 / T of the mean loss of logits x (n, N), 0 where not `there`."""
    p = softmax(np.where(there, x * beta, -np.inf))
    mean = (p * x).sum(1)
    return float((mean - (targets * x).sum(1)).mean()), float(((p * x**2).sum(1) - mean**2).mean())


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """T > 0 that fits held-out logits (n, N), -inf for classes that do not compete, to labels (n,), n >= 1.

    Newton's method on 1 / T, kept inside a bracket that halves where a step leaves it. The answer scales with the
    logits. Logits that are all equal give 1. `DataError` where a label's own logit is not finite.
    """
    raw, y = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    there = np.isfinite(raw)
    if len(y) == 0 or not there[np.arange(len(y)), y].all():
        raise DataError("logits: expected at least one row, and a finite logit for every row's label")
    mean = np.where(there, raw, 0).sum(1, keepdims=True) / there.sum(1, keepdims=True)
    x = np.where(there, raw - mean, 0)
    spread = float(np.sqrt((x**2).sum() / there.sum()))
    if spread == 0:
        return 1.0
    x /= spread
    targets = _targets(there, y)
    low, high, beta = 1 / WIDEST, WIDEST, 1.0
    for _ in range(200):
        slope, curvature = _slope(beta, x, there, targets)
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 else low
        before, beta = beta, step if low < step < high else float(np.sqrt(low * high))
        if abs(beta - before) <= 1e-12 * before:
            break
    return spread / beta


class Reliability(NamedTuple):
    """Bins in rising confidence: `pictures` (B,), mean `confidence` (B,) and `accuracy` (B,), NaN where a bin is empty."""

    pictures: Ints
    confidence: Floats
    accuracy: Floats


def reliability(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Confidence against accuracy of probabilities (n, N) and labels (n,) in bins of equal width."""
    p = np.asarray(probabilities, np.float64)
    confidence, right = p.max(1), p.argmax(1) == np.asarray(labels)
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)

    def mean(values: Floats) -> Floats:
        total = np.bincount(index, weights=values, minlength=bins)
        result: Floats = np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)
        return result

    return Reliability(count, mean(confidence), mean(right.astype(np.float64)))


def calibration_error(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = BINS) -> float:
    """ECE in [0, 1] of probabilities (n, N) and labels (n,); NaN without rows. Few pictures bias it upwards."""
    if len(np.asarray(labels)) == 0:
        return float("nan")
    table = reliability(probabilities, labels, bins)
    there = table.pictures > 0
    gap = np.abs(table.accuracy[there] - table.confidence[there])
    return float((table.pictures[there] * gap).sum() / table.pictures.sum())

"""Accuracy of predicted labels: confusion counts, recall of each class, balanced accuracy.

Balanced accuracy is the mean over classes of recall, so a class of 20 pictures counts as much as one of 1,000
(Brodersen, Ong, Stephan, Buhmann, "The balanced accuracy and its posterior distribution", ICPR 2010).

| symbol | variable | is |
|---|---|---|
| n_cj | `confusion[c, j]` | pictures of class c that were called j |
| r_c = n_cc / sum_j n_cj | `recalls(confusion)[c]` | recall of class c |
| BA = mean of r_c over the classes that have pictures | `balanced_accuracy(confusion)` | |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion_counts(true: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int) -> Ints:
    """Counts (N, N): row is the true class, column the predicted one; labels (n,) in 0..N-1, else `DataError`."""
    true, predicted = np.asarray(true, np.int64), np.asarray(predicted, np.int64)
    if true.shape != predicted.shape or true.ndim != 1:
        raise DataError(f"predicted: expected the shape of true {true.shape}, found {predicted.shape}")
    if true.size and not (min(true.min(), predicted.min()) >= 0 and max(true.max(), predicted.max()) < n_classes):
        raise DataError(f"labels: expected 0..{n_classes - 1}, found values outside")
    return np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def recalls(confusion: Ints) -> Floats:
    """Recall (N,) of each class from counts (N, N); NaN for a class without pictures."""
    total = confusion.sum(1)
    right = np.diagonal(confusion).astype(np.float64)
    result: Floats = np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0)
    return result


def balanced_accuracy(confusion: Ints) -> float:
    """Mean recall over the classes that have pictures; NaN where no class has any."""
    values = recalls(confusion)
    there = ~np.isnan(values)
    return float(values[there].mean()) if there.any() else float("nan")

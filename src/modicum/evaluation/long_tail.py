"""How well a long tail was learned: balanced error, accuracy of many, medium and few, of each class, along the classes.

Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233, eq. 1,
tables 1-3, fig. 2; the buckets are those of Liu et al., CVPR 2019, arXiv 1904.05160.

    BE = sum over classes y of P(predicted label is not y | y)                        (eq. 1, a sum: 0 to C)

| symbol | variable | is |
|---|---|---|
| N_y | counts (C,) | TRAINING pictures of a class; test pictures do not say which bucket a class is in |
| P(. given y) | recalls (C,) | share of a class's test pictures that are right |
| many, medium, few | `BUCKETS` | N_y > 100, 20 <= N_y <= 100, N_y < 20 |

The accuracy of a bucket is the mean of its classes' recalls, as Liu et al.'s code has it; on balanced test data that is the
share of pictures too. `accuracy` is the share of all test pictures, which on test data as long-tailed as training is mostly
that of the head; `balanced_accuracy` is the mean over classes, 1 - BE / C. Classes without test pictures count nowhere.

Intervals are those of `modicum.evaluation.intervals`: over new test pictures of these classes, or new groups of them where
groups are given; neither says what other training pictures, or another training, would have given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.evaluation.accuracy import Floats, Ints, confusion_counts, recalls
from modicum.evaluation.intervals import Interval, balanced_accuracy_interval

FEW, MANY = 20, 100
BUCKETS: tuple[str, ...] = ("many", "medium", "few")
WINDOW = 20


def balanced_error(confusion: Ints) -> float:
    """Eq. 1: the sum over classes of the share that is wrong, 0..C, from counts (C, C), row the true class.

    Only classes with pictures count; NaN where none has any. Over C it is 1 - balanced accuracy.
    """
    values = recalls(confusion)
    there = ~np.isnan(values)
    return float((1 - values[there]).sum()) if there.any() else float("nan")


def bucket_of(counts: npt.ArrayLike) -> Ints:
    """Bucket (C,) of classes with so many training pictures (C,), index into `BUCKETS`; 100 and 20 are medium."""
    n = np.asarray(counts, np.int64)
    return np.where(n > MANY, 0, np.where(n >= FEW, 1, 2)).astype(np.int64)


def by_training_pictures(counts: npt.ArrayLike) -> Ints:
    """Classes (C,) from most to fewest training pictures, ties by index: the axis of figure 2."""
    return np.argsort(-np.asarray(counts, np.int64), kind="stable").astype(np.int64)


def moving_average(values: npt.ArrayLike, window: int = WINDOW) -> Floats:
    """Means (n - w + 1,) of w = min(window, n) neighbouring values (n,), NaN left out; entry i is of values i..i + w - 1.

    Only whole windows, so the curve begins at the middle of the first one, i + (w - 1) / 2. 20 in fig. 2, 300 in fig. S2.
    """
    x = np.asarray(values, np.float64)
    if window < 1 or x.ndim != 1 or len(x) == 0:
        raise DataError(f"window: expected 1 or more of a row of values, found {window} of shape {x.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(x, min(window, len(x)))
    there = ~np.isnan(windows)
    total, count = np.where(there, windows, 0).sum(1), there.sum(1)
    result: Floats = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return result


@dataclass(frozen=True)
class Bucket:
    """classes of a bucket, how many of them have test pictures, these pictures, and their mean recall (None: none has)."""

    classes: int
    tested: int
    pictures: int
    balanced: Interval | None


@dataclass(frozen=True)
class LongTailResult:
    """Accuracies as fractions with intervals; error: eq. 1; recalls and counts (C,), NaN for a class without pictures."""

    pictures: int
    accuracy: Interval
    balanced: Interval
    error: float
    buckets: Mapping[str, Bucket]
    recalls: Floats
    counts: Ints

    def row(self) -> dict[str, Any]:
        """The result as JSON: fractions in [0, 1], None for what has no test picture; `classes` as in `BUCKETS`."""
        row: dict[str, Any] = {
            "accuracy": self.accuracy.value,
            "interval": [self.accuracy.lower, self.accuracy.upper],
            "ci95": self.accuracy.radius,
            "balanced_accuracy": self.balanced.value,
            "balanced_interval": [self.balanced.lower, self.balanced.upper],
            "balanced_ci95": self.balanced.radius,
            "balanced_error": self.error,
        }
        for name, bucket in self.buckets.items():
            row[name] = bucket.balanced and bucket.balanced.value
            row[f"{name}_ci95"] = bucket.balanced and bucket.balanced.radius
        row["classes"] = [bucket.classes for bucket in self.buckets.values()]
        row["tested_classes"] = [bucket.tested for bucket in self.buckets.values()]
        row["bucket_pictures"] = [bucket.pictures for bucket in self.buckets.values()]
        row["pictures"] = self.pictures
        row["interval_over"] = self.balanced.over
        row["per_class"] = [None if np.isnan(value) else float(value) for value in self.recalls]
        row["training_pictures"] = self.counts.tolist()
        return row


def _bucket(index: int, bucket: Ints, true: Ints, predicted: Ints, groups: npt.NDArray[Any] | None) -> Bucket:
    inside = bucket[true] == index
    tested = int(np.isin(np.flatnonzero(bucket == index), true).sum())
    of = None if groups is None else groups[inside]
    found = balanced_accuracy_interval(true[inside], predicted[inside], len(bucket), of) if inside.any() else None
    return Bucket(int((bucket == index).sum()), tested, int(inside.sum()), found)


def long_tail_result(
    true: npt.ArrayLike, predicted: npt.ArrayLike, counts: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> LongTailResult:
    """What test labels and predictions (n,) in 0..C-1 say, given training pictures (C,) of every class.

    groups (n,): test pictures that belong together. `DataError` without test pictures, and for labels outside 0..C-1.
    """
    t, guess, n = np.asarray(true, np.int64), np.asarray(predicted, np.int64), np.asarray(counts, np.int64)
    confusion = confusion_counts(t, guess, len(n))
    together = None if groups is None else np.asarray(groups)
    balanced = balanced_accuracy_interval(t, guess, len(n), together)
    one = np.zeros(len(t), np.int64)  # all pictures as one class: the share of right ones, with the same interval
    share = balanced_accuracy_interval(one, (t != guess).astype(np.int64), 2, together)
    over = balanced.over.replace("of these", "of classes in these proportions, of")
    bucket = bucket_of(n)
    buckets = {name: _bucket(index, bucket, t, guess, together) for index, name in enumerate(BUCKETS)}
    return LongTailResult(
        len(t), share._replace(over=over), balanced, balanced_error(confusion), buckets, recalls(confusion), n
    )

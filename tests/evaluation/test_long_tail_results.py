"""Accuracy along a long tail: eq. 1 by hand, buckets at their edges, what each interval is over."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.evaluation.accuracy import balanced_accuracy, confusion_counts
from modicum.evaluation.intervals import balanced_accuracy_interval, jeffreys
from modicum.evaluation.long_tail import (
    balanced_error,
    bucket_of,
    by_training_pictures,
    long_tail_result,
    moving_average,
)

COUNTS = [500, 101, 100, 20, 19, 1]
TRUE = np.repeat([0, 1, 2, 3, 4], [10, 5, 4, 4, 2])  # class 5 has no test picture
RIGHT = np.concatenate([np.arange(n) < k for n, k in ((10, 9), (5, 4), (4, 2), (4, 1), (2, 1))])
PREDICTED = np.where(RIGHT, TRUE, 5)


def test_balanced_error_is_a_sum_over_classes():
    """Wrong: 0.1, 0.2, 0.5, 0.75, 0.5, together 2.05; the mean would be 0.41, and the share of pictures 8 / 25 = 0.32."""
    confusion = confusion_counts(TRUE, PREDICTED, 6)
    assert balanced_error(confusion) == pytest.approx(2.05)
    assert 1 - balanced_error(confusion) / 5 == pytest.approx(balanced_accuracy(confusion))
    assert np.isnan(balanced_error(np.zeros((3, 3), np.int64)))


def test_buckets_at_their_edges_are_by_training_pictures():
    """Many is MORE than 100, few LESS than 20."""
    assert bucket_of([101, 100, 20, 19, 0]).tolist() == [0, 1, 1, 2, 2]


def test_a_result_by_hand():
    """many: mean of 0.9 and 0.8 = 0.85, where 13 of 15 pictures would be 0.867; medium: 0.375; few: 0.5 of one class."""
    row = long_tail_result(TRUE, PREDICTED, COUNTS).row()
    assert row["accuracy"] == pytest.approx(17 / 25)
    assert row["balanced_accuracy"] == pytest.approx(1 - 2.05 / 5)
    assert row["balanced_error"] == pytest.approx(2.05)
    assert [row[name] for name in ("many", "medium", "few")] == pytest.approx([0.85, 0.375, 0.5])
    assert (row["classes"], row["tested_classes"], row["bucket_pictures"]) == ([2, 2, 2], [2, 2, 1], [15, 8, 2])
    assert row["per_class"] == pytest.approx([0.9, 0.8, 0.5, 0.25, 0.5, None])
    assert row["training_pictures"] == COUNTS
    assert json.loads(json.dumps(row)) == row


def test_intervals_are_those_of_pictures_within_classes():
    """All pictures as one class: Jeffreys' interval of 17 of 25 seen on N* = n (n + 1) / (n + 2) pictures."""
    found = long_tail_result(TRUE, PREDICTED, COUNTS)
    assert found.balanced == balanced_accuracy_interval(TRUE, PREDICTED, 6)
    assert "new pictures of these 5 classes" in found.balanced.over
    assert "in these proportions" in found.accuracy.over
    assert (found.accuracy.lower, found.accuracy.upper) == pytest.approx(jeffreys(17 / 25, 25 * 26 / 27))
    few = found.buckets["few"].balanced
    assert few is not None
    assert few.radius > found.balanced.radius  # two pictures


def test_groups_widen_the_intervals():
    alone = long_tail_result(TRUE, PREDICTED, COUNTS)
    twice = [np.repeat(x, 6) for x in (TRUE, PREDICTED)]
    grouped = long_tail_result(*twice, COUNTS, groups=np.repeat(np.arange(25), 6))
    copied = long_tail_result(*twice, COUNTS)
    assert copied.accuracy.radius < alone.accuracy.radius < grouped.accuracy.radius * 1.1
    assert copied.balanced.radius < grouped.balanced.radius
    assert "new groups of pictures" in grouped.balanced.over


def test_a_bucket_without_classes_or_pictures_has_no_accuracy():
    found = long_tail_result([0, 0, 1], [0, 1, 1], [200, 150, 5])
    row = found.row()
    assert (row["medium"], row["medium_ci95"], row["few"], row["classes"]) == (None, None, None, [2, 0, 1])
    assert found.buckets["few"].tested == 0


def test_classes_from_head_to_tail_and_their_moving_average():
    """Windows of 2 over 1, 0, NaN, 0.5: the NaN counts in none; a window longer than the row is the row."""
    assert by_training_pictures([5, 9, 5, 7]).tolist() == [1, 3, 0, 2]
    assert moving_average([1, 0, np.nan, 0.5], 2).tolist() == [0.5, 0, 0.5]
    assert moving_average([1, 0, 0.5], 20).tolist() == [0.5]
    assert np.isnan(moving_average([np.nan, np.nan, 1.0], 2)[0])
    assert moving_average(np.arange(100.0)).tolist() == (np.arange(81) + 9.5).tolist()


def test_what_is_refused():
    with pytest.raises(DataError, match="at least one picture"):
        long_tail_result([], [], [3, 2])
    with pytest.raises(DataError, match=r"expected 0..1"):
        long_tail_result([0, 2], [0, 1], [3, 2])
    with pytest.raises(DataError, match="window: expected 1 or more"):
        moving_average([1.0], 0)

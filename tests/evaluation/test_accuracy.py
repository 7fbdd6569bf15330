"""Confusion counts, recalls and balanced accuracy."""

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.evaluation.accuracy import balanced_accuracy, confusion_counts, recalls


def test_balanced_accuracy_is_the_mean_of_recalls_not_the_share_of_right_pictures() -> None:
    true = [0, 0, 0, 0, 1]
    predicted = [0, 0, 0, 1, 0]
    counts = confusion_counts(true, predicted, 2)
    assert counts.tolist() == [[3, 1], [1, 0]]
    assert balanced_accuracy(counts) == 0.375  # the share of right pictures would be 0.6


def test_a_class_without_pictures_has_no_recall_and_no_say() -> None:
    counts = confusion_counts([0, 0, 2], [0, 1, 2], 3)
    assert recalls(counts)[[0, 2]].tolist() == [0.5, 1.0]
    assert np.isnan(recalls(counts)[1])
    assert balanced_accuracy(counts) == 0.75
    assert np.isnan(balanced_accuracy(np.zeros((2, 2), np.int64)))


def test_agrees_with_sklearn() -> None:
    from sklearn.metrics import balanced_accuracy_score, confusion_matrix

    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 7, 300), rng.integers(0, 7, 300)
    counts = confusion_counts(true, predicted, 7)
    assert (counts == confusion_matrix(true, predicted)).all()
    assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(true, predicted), abs=1e-15)


def test_labels_outside_are_refused() -> None:
    with pytest.raises(DataError, match=r"expected 0\.\.1"):
        confusion_counts([0, 1], [0, 2], 2)
    with pytest.raises(DataError, match="predicted"):
        confusion_counts([0, 1], [0], 2)

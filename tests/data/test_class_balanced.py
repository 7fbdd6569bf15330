"""Class-balanced batches: shares of classes, no repetition within a class, and batches that depend on (seed, step) only."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.data.class_balanced import (
    balanced_batch,
    class_rows,
    class_shares,
    progressive_batch,
    progressive_shares,
    square_root_batch,
)
from modicum.errors import DataError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [64, 16, 16, 4]))


def counts(rows: np.ndarray) -> list[int]:
    return np.bincount(LABELS[rows], minlength=4).tolist()


def test_shares_by_hand():
    """64, 16, 16, 4: as they are, by square roots 8, 4, 4, 2, alike; halfway: the mean of first and last, not a root."""
    sizes = np.array([64, 16, 16, 4])
    assert class_shares(sizes, 1).tolist() == [0.64, 0.16, 0.16, 0.04]
    assert class_shares(sizes, 0.5) == pytest.approx(np.array([8, 4, 4, 2]) / 18)
    assert class_shares(sizes, 0).tolist() == [0.25] * 4
    assert progressive_shares(sizes, 5, 10) == pytest.approx([0.445, 0.205, 0.205, 0.145])
    assert progressive_shares(sizes, 0, 10) == pytest.approx([0.64, 0.16, 0.16, 0.04])


def test_a_balanced_batch_has_every_class_alike_and_repeats_only_what_is_used_up():
    for step in range(20):
        rows = balanced_batch(LABELS, 24, 0, step)
        assert counts(rows) == [6, 6, 6, 6]
        times = np.bincount(rows, minlength=100)
        assert times[LABELS != 3].max() == 1
        assert sorted(times[LABELS == 3].tolist()) == [1, 1, 2, 2]
        assert len(set(LABELS[rows[:6]].tolist())) > 1  # not class after class


def test_shares_are_met_on_average_where_they_are_no_whole_numbers():
    """5 pictures of 4 classes: one class has 2, and each as often; by square roots 5 * 2 / 18 of the smallest."""
    balanced = np.mean([counts(balanced_batch(LABELS, 5, 0, step)) for step in range(2_000)], axis=0)
    assert balanced == pytest.approx([1.25] * 4, abs=0.04)
    rooted = np.mean([counts(square_root_batch(LABELS, 5, 0, step)) for step in range(2_000)], axis=0)
    assert rooted == pytest.approx(5 * np.array([8, 4, 4, 2]) / 18, abs=0.06)
    each = np.bincount(np.concatenate([balanced_batch(LABELS, 5, 1, step) for step in range(4_000)]), minlength=100)
    assert each[LABELS == 0].std() < 3 * np.sqrt(5_000 / 64)
    assert each[LABELS == 3].min() > 1_000


def test_progressive_ends():
    assert counts(progressive_batch(LABELS, 100, 0, 0, 10)) == [64, 16, 16, 4]
    assert counts(progressive_batch(LABELS, 100, 0, 10, 10)) == [25] * 4


def test_batches_are_functions_of_seed_and_step_and_more_classes_than_pictures_are_fine():
    prepared = class_rows(LABELS)
    assert (balanced_batch(prepared, 8, 3, 7) == balanced_batch(LABELS, 8, 3, 7)).all()
    assert (balanced_batch(LABELS, 8, 3, 7) != balanced_batch(LABELS, 8, 3, 8)).any()
    assert (balanced_batch(LABELS, 8, 3, 7) != balanced_batch(LABELS, 8, 4, 7)).any()
    many = np.repeat(np.arange(50), 2)
    rows = balanced_batch(many, 20, 0, 0)
    assert len(set(many[rows].tolist())) == 20
    neighbours = [{0, 1} <= set(many[balanced_batch(many, 20, 0, step)].tolist()) for step in range(200)]
    assert 10 < sum(neighbours) < 60  # 0.4 * 19 / 49 of them; in a fixed order classes side by side never come together
    gaps = np.array([0, 0, 7, 7])  # labels of a subset of classes
    assert sorted(gaps[balanced_batch(gaps, 4, 0, 0)].tolist()) == [0, 0, 7, 7]


def test_no_pictures_are_refused():
    with pytest.raises(DataError, match="at least one picture"):
        balanced_batch(np.array([], np.int64), 4, 0, 0)

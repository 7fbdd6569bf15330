"""Folds that keep groups and copies together and spread classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modicum.classifiers.folds import ALWAYS_TRAINING, assign_folds, measurable, merge, possible_folds, units_per_class


def test_units_are_merged_transitively() -> None:
    """Pictures 0 and 2 share a group, 2 and 3 a digest, so 0, 2 and 3 are one unit; unknown values match nothing."""
    groups = ["anna", None, "anna", None, "ben", None]
    digests = ["a", "", "b", "b", "c", ""]
    assert merge(groups, digests).tolist() == [0, 1, 0, 0, 2, 3]


def test_a_class_of_two_units_is_spread_over_two_folds() -> None:
    """Twenty classes of two pictures and one of 200: stratification by luck would leave some class in one fold."""
    labels = np.r_[np.repeat(np.arange(20), 2), np.full(200, 20)]
    for seed in range(5):
        folds = assign_folds(labels, np.arange(240), 21, 5, seed)
        assert measurable(labels, folds, 21).all()
        assert np.ptp(np.bincount(folds[labels == 20], minlength=5)) == 0


def test_groups_that_span_classes_leave_every_class_in_two_folds_where_that_is_possible() -> None:
    """Unit A: classes 0 and 1, B: 0 and 2, C: 1 and 2. Two folds: one of A, B, C is alone; each class is split but one."""
    labels = np.array([0, 1, 0, 2, 1, 2])
    units = np.array([0, 0, 1, 1, 2, 2])
    assert measurable(labels, assign_folds(labels, units, 3, 3, 0), 3).all()
    assert measurable(labels, assign_folds(labels, units, 3, 2, 0), 3).sum() == 2


def test_classes_with_one_unit_stay_in_training() -> None:
    labels = np.array([0, 0, 1, 1, 2, 3, 3])
    units = np.array([0, 1, 2, 3, 4, 5, 5])  # class 2: one picture, class 3: one group
    folds = assign_folds(labels, units, 4, 2, 0)
    assert (folds[4:] == ALWAYS_TRAINING).all()
    assert measurable(labels, folds, 4).tolist() == [True, True, False, False]
    assert units_per_class(labels, units, 4).tolist() == [2, 2, 1, 1]


def test_fewer_folds_where_classes_are_small() -> None:
    assert possible_folds(np.array([0, 0, 1, 1]), np.arange(4), 2, 5) == 2
    assert possible_folds(np.array([0, 1]), np.arange(2), 2, 5) == 1
    assert possible_folds(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]), 2, 5) == 2


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=2, max_size=60), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_a_unit_lies_in_one_fold(pictures: list[tuple[int, int]], n_folds: int) -> None:
    labels, units = (np.array(column) for column in zip(*pictures, strict=True))
    folds = assign_folds(labels, units, 5, n_folds, 0)
    assert all(len(set(folds[units == unit])) == 1 for unit in set(units.tolist()))
    counts = units_per_class(labels, units, 5)
    assert all(folds[labels == c].max() >= 0 for c in range(5) if counts[c] > 1)


def test_sizes_are_even_and_the_seed_decides_who_goes_where() -> None:
    labels, units = np.arange(200) % 4, np.arange(200) // 2
    first = assign_folds(labels, units, 4, 5, 0)
    assert np.bincount(first).tolist() == [40] * 5
    assert (first == assign_folds(labels, units, 4, 5, 0)).all()
    assert (first != assign_folds(labels, units, 4, 5, 1)).any()


@pytest.mark.parametrize("n_folds", [2, 5])
def test_a_long_tail_in_groups(n_folds: int) -> None:
    """Every class of a long tail held by 60 senders has a tenth of its pictures or more outside any fold."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), [400, 200, 100, 50, 20, 10])
    units = rng.integers(0, 60, len(labels))
    folds = assign_folds(labels, units, 6, n_folds, 0)
    for c in range(6):
        assert np.bincount(folds[labels == c], minlength=n_folds).max() <= 0.8 * (labels == c).sum()

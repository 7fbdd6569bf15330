"""Long tails by formula: published totals, ends, what is kept of data that is no longer balanced."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.data.long_tail import class_ranks, long_tail_counts, long_tail_rows
from modicum.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("classes", "largest", "factor", "total"),
    [(100, 500, 100, 10_847), (100, 500, 50, 12_608), (100, 500, 10, 19_573), (10, 5_000, 100, 12_406)],
)
def test_totals_of_the_published_long_tails(classes: int, largest: int, factor: int, total: int):
    """CIFAR-100-LT and CIFAR-10-LT (Cao et al. 2019): numbers are cut; rounded ones would give 10,899 for the first."""
    counts = long_tail_counts(classes, largest, factor)
    assert counts.sum() == total
    assert counts[[0, -1]].tolist() == [largest, largest // factor]


def test_exponential_by_hand():
    """Four classes, factor 8: halves. Factor 27 of 54: thirds."""
    assert long_tail_counts(4, 80, 8).tolist() == [80, 40, 20, 10]
    assert long_tail_counts(4, 54, 27).tolist() == [54, 18, 6, 2]
    assert long_tail_counts(3, 5, 100).tolist() == [5, 1, 1]
    assert long_tail_counts(1, 5, 100).tolist() == [5]


def test_pareto_by_hand():
    """Power 2, factor 9: x = 1, 2, 3, so 1, 1/4, 1/9; the exponential one would give a third in the middle."""
    assert long_tail_counts(3, 180, 9, "pareto", power=2).tolist() == [180, 45, 20]
    assert long_tail_counts(3, 180, 9).tolist() == [180, 60, 20]
    assert long_tail_counts(50, 500, 100, "pareto")[[0, -1]].tolist() == [500, 5]
    steep = long_tail_counts(50, 500, 100, "pareto", power=1e7)
    assert np.abs(steep - long_tail_counts(50, 500, 100)).max() <= 1


def test_rows_have_the_counts_and_are_of_all_classes():
    labels = np.repeat(np.arange(4), 80)
    rows = long_tail_rows(labels, 8)
    assert np.bincount(labels[rows]).tolist() == [80, 40, 20, 10]
    assert (np.diff(rows) > 0).all()
    places = [set((rows[labels[rows] == c] - 80 * c).tolist()) for c in range(4)]
    assert not places[3] <= places[1]  # each class by a draw of its own
    assert long_tail_rows(labels, 1).tolist() == list(range(320))


def test_a_larger_factor_takes_from_a_smaller_one_and_a_seed_changes_pictures_only():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 60))
    small, large, other = (long_tail_rows(labels, f, seed=s) for f, s in ((5, 3), (30, 3), (30, 4)))
    assert set(large.tolist()) < set(small.tolist())
    assert set(large.tolist()) != set(other.tolist())
    assert (np.bincount(labels[large]) == np.bincount(labels[other])).all()


def test_data_with_a_head_keeps_it_and_small_classes_keep_all():
    """Sizes 10, 100, 40, 4 rank 2, 0, 1, 3: factor 8 asks for 25, 100, 50, 12 and gets what is there."""
    labels = np.repeat(np.arange(4), [10, 100, 40, 4])
    assert class_ranks(np.array([10, 100, 40, 4])).tolist() == [2, 0, 1, 3]
    assert np.bincount(labels[long_tail_rows(labels, 8)]).tolist() == [10, 100, 40, 4]
    assert np.bincount(labels[long_tail_rows(labels, 100)]).tolist() == [4, 100, 21, 1]
    by_index = long_tail_rows(labels, 100, ranks=np.arange(4))
    assert np.bincount(labels[by_index]).tolist() == [10, 21, 4, 1]


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"imbalance: expected 1 or more .* found 0.5"):
        long_tail_counts(3, 5, 0.5)
    with pytest.raises(ConfigError, match="imbalance_kind: unknown 'zipf'"):
        long_tail_counts(3, 5, 2, "zipf")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"every class 0..2, found none of 1"):
        long_tail_rows(np.array([0, 2, 2]), 2)

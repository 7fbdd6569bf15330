"""Intervals: cases by hand, and coverage by simulation with fixed seeds."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from modicum.errors import DataError
from modicum.evaluation.intervals import (
    balanced_accuracy_interval,
    effective_count,
    excludes_zero,
    jeffreys,
    mean_interval,
    paired_interval,
    student_quantile,
)


def test_both_radii_of_a_mean() -> None:
    """Values 0, 1: sd over T - 1 is 0.7071, so stderr is 0.5 (over T it would be 0.354); t(1) = 12.706."""
    found = mean_interval([0.0, 1.0], "two draws")
    assert found.mean == 0.5
    assert found.stderr == pytest.approx(0.5, abs=1e-15)
    assert found.ci95 == pytest.approx(6.3531, abs=1e-4)
    assert (found.count, found.over) == (2, "two draws")


def test_student_quantiles() -> None:
    assert student_quantile(2) == pytest.approx(4.30265, abs=1e-5)
    assert student_quantile(10**7) == pytest.approx(1.95996, abs=1e-5)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(DataError, match="at least 2"):
        mean_interval([0.5], "one task")
    with pytest.raises(DataError, match="finite"):
        mean_interval([0.5, math.nan], "tasks")


def test_pairs_see_a_difference_that_means_hide() -> None:
    """Tasks differ far more than methods do; on the same tasks the second is always 0.01 to 0.02 better."""
    tasks = np.linspace(0.2, 0.9, 20)
    first, second = tasks + np.where(np.arange(20) % 2, 0.01, 0.02), tasks
    difference = paired_interval(first, second, "draws of tasks")
    assert difference.mean == pytest.approx(0.015)
    assert excludes_zero(difference)
    assert mean_interval(first, "").ci95 > 0.015
    assert not excludes_zero(paired_interval(second, second, ""))
    with pytest.raises(DataError, match="same tasks"):
        paired_interval([1, 2], [1, 2, 3], "")


def test_jeffreys_interval_of_a_proportion() -> None:
    """7 of 10: Beta(7.5, 3.5); values of Brown, Cai, DasGupta's formula by scipy.stats."""
    from scipy.stats import beta

    assert jeffreys(0.7, 10) == pytest.approx(beta(7.5, 3.5).ppf([0.025, 0.975]), abs=1e-12)
    assert jeffreys(1.0, 4)[1] == 1.0
    assert jeffreys(0.0, 4)[0] == 0.0


def test_effective_number_of_pictures_by_hand() -> None:
    """Two classes: 3 of 4 and 1 of 2 right. BA = 0.625, BA (1 - BA) = 0.234375.

    v_1 = (4 * 0.1875 + 2 * 0.234375) / 5 = 0.24375; v_2 = (2 * 0.25 + 0.46875) / 3 = 0.322917
    V = (0.24375 / 4 + 0.322917 / 2) / 4 = 0.0555990; N* = 0.234375 / V = 4.21546
    """
    true, right = [0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 1, 0]
    assert effective_count(true, right) == pytest.approx(4.21546, abs=1e-5)


def test_all_right_counts_the_small_classes_most() -> None:
    """BA = 1: N* = C^2 / sum 1 / n_c = 4 / (1 / 2 + 1 / 100), not 102."""
    true = np.repeat([0, 1], [2, 100])
    assert effective_count(true, np.ones(102)) == pytest.approx(4 / 0.51)
    interval = balanced_accuracy_interval(true, true, 2)
    assert (interval.value, interval.upper) == (1.0, 1.0)
    assert interval.lower == pytest.approx(jeffreys(1.0, 4 / 0.51)[0])
    assert 0.7 < interval.lower < 0.75  # 102 pictures that count alike would give 0.976
    assert interval.radius == pytest.approx(1 - interval.lower)


def test_copies_add_nothing() -> None:
    """Every picture ten times over, copies grouped: the interval is at least as wide as without them."""
    true, right = np.repeat([0, 1], 30), np.random.default_rng(0).random(60) < 0.7
    tenfold = [np.repeat(x, 10) for x in (true, right, np.arange(60))]
    alone = effective_count(true, right)
    assert effective_count(tenfold[0], tenfold[1]) > 9 * alone
    assert effective_count(*tenfold) == pytest.approx(alone, rel=0.12)


def _right(rng: np.random.Generator, recall: npt.NDArray[np.float64], group: npt.NDArray[np.int64], tied: float):
    """Right or wrong with P(right) = recall; pictures of a group share the draw with probability `tied`."""
    shared = rng.random(group.max() + 1)[group]
    return np.where(rng.random(len(group)) < tied, shared, rng.random(len(group))) < recall


CASES = {
    # classes x pictures, recalls, pictures per group (1: no groups), share of pictures tied to their group
    "two pictures a class, 5 classes": ([2] * 5, 0.8, 1, 0.0),
    "two pictures a class, 100 classes": ([2] * 100, 0.95, 1, 0.0),
    "long tail": ([2] * 5 + [300] * 12, np.linspace(0.4, 0.9, 17), 1, 0.0),
    "small classes good": ([2] * 5 + [100] * 5, [0.9] * 5 + [0.5] * 5, 1, 0.0),
    "small classes bad": ([2] * 5 + [100] * 5, [0.2] * 5 + [0.95] * 5, 1, 0.0),
    "many pictures": ([100] * 4, 0.7, 1, 0.0),
    "groups of 4, half tied": ([40] * 10, 0.8, 4, 0.7),
    "groups of 10, tied": ([40] * 10, 0.8, 10, 0.9),
    "few groups": ([10] * 2, 0.8, 5, 0.7),
}


@pytest.mark.parametrize("case", CASES)
def test_coverage_by_simulation(case: str) -> None:
    """In 400 seeded repetitions the interval holds the true balanced accuracy at least 92 % of the time.

    The standard error of a share of 0.95 over 400 repetitions is 1.1 %.
    """
    counts, recall, size, tied = CASES[case]
    true = np.repeat(np.arange(len(counts)), counts)
    recalls = np.broadcast_to(np.asarray(recall, float), len(counts))
    group = np.cumsum(np.r_[0, (np.diff(true) != 0) | (np.arange(1, len(true)) % size == 0)]).astype(np.int64)
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        right = _right(rng, recalls[true], group, tied)
        guess = np.where(right, true, (true + 1) % len(counts))
        found = balanced_accuracy_interval(true, guess, len(counts), None if size == 1 else group)
        held += found.lower <= recalls.mean() <= found.upper
    assert held / 400 >= 0.92


def test_without_groups_the_same_data_would_be_called_too_sure() -> None:
    """Groups of 10 whose pictures share their fate: ignoring groups, the interval holds the truth far too seldom."""
    true, group = np.repeat(np.arange(10), 40), np.arange(400) // 10
    rng, held = np.random.default_rng(2), np.zeros(2)
    for _ in range(200):
        right = _right(rng, np.full(400, 0.8), group, 1.0)
        guess = np.where(right, true, (true + 1) % 10)
        for index, groups in enumerate((None, group)):
            found = balanced_accuracy_interval(true, guess, 10, groups)
            held[index] += found.lower <= 0.8 <= found.upper
    assert held[0] / 200 < 0.6
    assert held[1] / 200 >= 0.92


def test_an_interval_says_what_it_is_over() -> None:
    assert "new pictures of these 2 classes" in balanced_accuracy_interval([0, 1], [0, 0], 3).over
    assert "new groups" in balanced_accuracy_interval([0, 1], [0, 0], 2, [5, 7]).over
    with pytest.raises(DataError, match="found none"):
        balanced_accuracy_interval([], [], 2)

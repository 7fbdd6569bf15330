"""Nearest pictures and the rate of rejection."""

import math

import numpy as np
import pytest

from modicum.classifiers.novelty import known_scores, neighbours, threshold


def test_neighbours_by_hand_and_ties_by_id() -> None:
    """The query points along (1, 0): b and d are equally near (cosine 0.6), b comes first; length does not count."""
    support = np.array([[0, 1], [3, 4], [1, 0], [1.5, -2]], np.float32)
    ((first, second, third),) = neighbours(np.array([[2, 0]], np.float32), support, "abcd", "wxyz", 3)
    assert (first.id, first.label, first.similarity) == ("c", "y", 1.0)
    assert (second.id, third.id) == ("b", "d")
    assert second.similarity == pytest.approx(0.6)


def test_similarities_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    support, query = (rng.normal(size=(n, 77)).astype(np.float32) for n in (200, 30))
    ids = [f"{i:03d}" for i in range(200)]
    together = neighbours(query, support, ids, ids, 5)
    assert together == [neighbours(query[i : i + 1], support, ids, ids, 5)[0] for i in range(30)]


def test_a_known_score_leaves_out_the_own_unit() -> None:
    """Picture 0 and its copy 1 are one unit: the nearest other picture is 2 at cosine 0.8, not the copy at 1."""
    support = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1]], np.float32)
    scores = known_scores(support, np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]), np.array([True, False]))
    assert scores == pytest.approx([0.8, 0.8, 0.8])  # class 1 has one unit and gives no score


def test_threshold_is_the_conformal_quantile() -> None:
    """10 scores 0.1 ... 1.0: rate 0.2 allows floor(0.2 * 11) = 2, so what lies below the second, 0.2, is rejected."""
    scores = np.arange(1, 11) / 10
    assert threshold(scores, 0.2) == 0.2
    assert threshold(scores, 0.05) == -math.inf  # floor(0.55) = 0: ten pictures say nothing about 5 %
    assert threshold(scores, 0.999) == 1.0
    assert threshold(np.zeros(0), 0.5) == -math.inf


def test_at_most_the_rate_is_rejected_among_new_pictures_of_known_classes() -> None:
    """300 repetitions with 40 known pictures; the mean rate is 0.1 at most, and not far below."""
    rng = np.random.default_rng(0)
    rejected = []
    for _ in range(300):
        x = rng.normal(size=(140, 8)).astype(np.float32) + 1
        scores = known_scores(x[:40], np.zeros(40, int), np.arange(40), np.array([True]))
        near = neighbours(x[40:], x[:40], ["id"] * 40, ["label"] * 40, 1)
        rejected.append(np.mean([row[0].similarity < threshold(scores, 0.1) for row in near]))
    assert 0.07 < np.mean(rejected) < 0.115

"""modicum.similarity: worked cases, the kernel against numpy to the bit, independence of batch and position."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modicum import similarity
from modicum.errors import DataError
from modicum.similarity import cosine_similarities, dot_similarities, kernel_available


def rows(n: int, columns: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    scale = 10.0 ** generator.integers(-6, 7, size=(n, 1))
    return (generator.standard_normal((n, columns)) * scale).astype(np.float32)


def slow_dot(a: np.ndarray, b: np.ndarray) -> float:
    """The documented order, one addition at a time."""
    lane = [0.0] * 8
    for d in range(len(a)):
        lane[d % 8] += float(a[d]) * float(b[d])
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))


def test_worked_by_hand():
    """(3, 4) against (4, 3), (-3, -4), (0, 0): dots 24, -25, 0; cosines 0.96, -1, 0 (not NaN)."""
    query, keys = [[3.0, 4.0]], [[4.0, 3.0], [-3.0, -4.0], [0.0, 0.0]]
    assert dot_similarities(query, keys).tolist() == [[24.0, -25.0, 0.0]]
    assert cosine_similarities(query, keys).tolist() == [[0.96, -1.0, 0.0]]


def test_the_order_of_additions_shows():
    """2^60 + 1 - 2^60 in one lane loses the 1; in other lanes the joins decide: lane 0 + lane 4 = 0 first."""
    big = np.float32(2.0**30)
    same_lane = np.zeros((1, 24), np.float32)
    same_lane[0, [0, 8, 16]] = big, 1.0, -big
    other = np.zeros((1, 24), np.float32)
    other[0, [0, 8, 16]] = big, 1.0, big
    assert dot_similarities(same_lane, other)[0, 0] == 0.0
    joined = np.zeros((1, 8), np.float32)
    joined[0, [0, 1, 4]] = big, 1.0, -big
    against = np.zeros((1, 8), np.float32)
    against[0, [0, 1, 4]] = big, 1.0, big
    assert dot_similarities(joined, against)[0, 0] == 1.0


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 64, 131])
def test_both_paths_equal_the_slow_loop_to_the_bit(columns):
    query, keys = rows(3, columns, 1), rows(5, columns, 2)
    expected = np.array([[slow_dot(a, b) for b in keys] for a in query])
    assert np.array_equal(similarity._dots_numpy(query, keys), expected)
    assert np.array_equal(dot_similarities(query, keys), expected)


@pytest.mark.skipif(not kernel_available(), reason="this installation was made without a compiler: no kernel to compare")
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (40, 64), (33, 640), (7, 2561)])
def test_kernel_equals_numpy_to_the_bit(n, columns, monkeypatch):
    query, keys = rows(9, columns, 3), rows(n, columns, 4)
    compiled = cosine_similarities(query, keys)
    monkeypatch.setattr(similarity, "_library", lambda: None)
    assert np.array_equal(cosine_similarities(query, keys), compiled)


@pytest.mark.parametrize("kernel", [True, False])
def test_dots_of_chosen_rows_are_those_of_all_rows(kernel, monkeypatch):
    """Three queries that choose 2, 0 and 3 of 17 rows, one of them twice."""
    if not kernel:
        monkeypatch.setattr(similarity, "_library", lambda: None)
    query, keys = rows(3, 45, 12), rows(17, 45, 13)
    whole = dot_similarities(query, keys)
    chosen = similarity.row_dots(query, keys, np.array([0, 2, 2, 5]), np.array([16, 3, 0, 0, 9]))
    assert np.array_equal(chosen, [whole[0, 16], whole[0, 3], whole[2, 0], whole[2, 0], whole[2, 9]])
    assert np.array_equal(similarity.squared_lengths(keys), np.diag(dot_similarities(keys, keys)))


def test_numpy_blocks_do_not_change_results(monkeypatch):
    query, keys = rows(13, 70, 5), rows(6, 70, 6)
    whole = similarity._dots_numpy(query, keys)
    monkeypatch.setattr(similarity, "_BLOCK", 1)
    assert np.array_equal(similarity._dots_numpy(query, keys), whole)


@pytest.mark.parametrize("kernel", [True, False])
def test_results_do_not_depend_on_batch_or_position(kernel, monkeypatch):
    """Every entry equals the one computed for its two rows alone, and for shuffled rows."""
    if not kernel:
        monkeypatch.setattr(similarity, "_library", lambda: None)
    query, keys = rows(5, 100, 7), rows(17, 100, 8)
    whole = cosine_similarities(query, keys)
    alone = [[cosine_similarities(query[i : i + 1], keys[j : j + 1])[0, 0] for j in range(17)] for i in range(5)]
    order = np.random.default_rng(0).permutation(17)
    assert np.array_equal(whole, np.array(alone))
    assert np.array_equal(cosine_similarities(query, keys[order]), whole[:, order])
    assert np.array_equal(cosine_similarities(keys, query), whole.T)


def test_cosines_agree_with_exact_sums():
    query, keys = rows(4, 300, 9), rows(4, 300, 10)

    def exact(a: np.ndarray, b: np.ndarray) -> float:
        return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))

    expected = [[exact(a, b) / math.sqrt(exact(a, a) * exact(b, b)) for b in keys] for a in query]
    np.testing.assert_allclose(cosine_similarities(query, keys), expected, rtol=0, atol=1e-14)


def test_cosine_of_a_row_with_itself_is_at_most_one():
    x = rows(200, 37, 11)
    assert cosine_similarities(x, x).max() <= 1.0


@pytest.mark.parametrize(("query", "keys"), [(np.zeros((2, 3)), np.zeros((2, 4))), (np.zeros(3), np.zeros((1, 3)))])
def test_shapes_that_do_not_fit_are_named(query, keys):
    with pytest.raises(DataError, match="query and keys"):
        cosine_similarities(query, keys)


def test_no_rows_give_no_rows():
    assert cosine_similarities(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0, 2)
    assert cosine_similarities(np.zeros((2, 3)), np.zeros((0, 3))).shape == (2, 0)

"""Exact search against a plain loop over all rows: equal to the bit for every batch, position, metric and kind of row."""

from __future__ import annotations

import numpy as np
import pytest

from modicum import similarity
from modicum.memory import exact, ranking
from modicum.memory.exact import nearest
from modicum.memory.ranking import prepared
from modicum.memory.segments import NO_ID, make_segment
from modicum.similarity import cosine_similarities, dot_similarities, squared_lengths

METRICS = ("cosine", "l2")


@pytest.fixture(params=[True, False], ids=["kernel", "numpy"])
def either(request, monkeypatch):
    """With the compiled kernels, and without."""
    if not request.param:
        monkeypatch.setattr(similarity, "_library", lambda: None)
        monkeypatch.setattr(exact, "_library", lambda: None)
        monkeypatch.setattr(ranking, "_library", lambda: None)


def rows(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Clustered rows; the later half stands near the earlier one, and some are the same to the bit."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, dim)).astype(np.float32)
    x[n // 2 :] = x[: n - n // 2] + 0.05 * x[n // 2 :]
    x[n // 3 : n // 3 + 9] = x[3]
    return x


def segment_of(x: np.ndarray, metric: str, ids: np.ndarray | None = None, alive: np.ndarray | None = None):
    ids = np.random.default_rng(1).permutation(len(x)).astype(np.int64) * 7 if ids is None else ids
    return make_segment(metric, x, ids, squared_lengths(x), np.ones(len(x), bool) if alive is None else alive)


def plain(segment, query: np.ndarray, k: int):
    """All similarities one by one, sorted by similarity descending and id ascending."""
    live = np.flatnonzero(segment.alive)
    keys = segment.vectors[live]
    if segment.metric == "cosine":
        values = cosine_similarities(query, keys)
    else:
        values = 2 * dot_similarities(query, keys) - (squared_lengths(query)[:, None] + squared_lengths(keys)[None])
        values = np.minimum(values, 0)
    order = [sorted(range(len(live)), key=lambda i: (-row[i], segment.ids[live[i]]))[:k] for row in values]
    return np.take_along_axis(values, np.array(order), 1), segment.ids[live[np.array(order)]], live[np.array(order)]


def check(segment, query, k):
    for ours, expected in zip(nearest(segment, prepared(query, segment.metric), k), plain(segment, query, k), strict=True):
        assert np.array_equal(ours, expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("queries", [1, 3, 7, 40])
def test_equal_to_a_plain_loop(metric, queries, either, monkeypatch):
    """1,500 rows in parts of 512, 37 columns, k = 30, among them equal rows; queries are rows, near rows, and others."""
    monkeypatch.setattr(exact, "PART", 512)
    monkeypatch.setattr(exact, "SCORES", 1)
    x = rows(1500, 37)
    query = np.concatenate([x[3:4], x[5:25] + np.float32(0.01), rows(40, 37, 9)])[:queries]
    check(segment_of(x, metric), query, 30)


def test_worked_by_hand(either):
    """Keys (1, 0), (0, 2), (3, 3), (1, 0): cosine with (2, 0) is 1, 0, sqrt(1/2), 1; squared distances 1, 8, 10, 1."""
    x = np.array([[1, 0], [0, 2], [3, 3], [1, 0]], np.float32)
    ids = np.array([40, 30, 20, 10])
    query = np.array([[2, 0]], np.float32)
    found = nearest(segment_of(x, "cosine", ids), prepared(query, "cosine"), 3)
    assert [part.tolist() for part in found] == [[[1.0, 1.0, 6 / (2 * np.sqrt(18))]], [[10, 40, 20]], [[3, 0, 2]]]
    found = nearest(segment_of(x, "l2", ids), prepared(query, "l2"), 4)
    assert [part.tolist() for part in found] == [[[-1.0, -1.0, -8.0, -10.0]], [[10, 40, 30, 20]], [[3, 0, 1, 2]]]


@pytest.mark.parametrize("metric", METRICS)
def test_results_do_not_depend_on_batch_or_position(metric, either):
    """Each query alone, in batches of 7 and all 200 together; and all rows in another order: the same bits and ids."""
    x, ids = rows(900, 24), np.arange(900, dtype=np.int64)
    query = np.concatenate([x[:100], rows(100, 24, 5)])
    segment = segment_of(x, metric, ids)
    whole = nearest(segment, prepared(query, metric), 10)
    for size in (1, 7):
        parts = [nearest(segment, prepared(query[i : i + size], metric), 10) for i in range(0, 200, size)]
        for one, all_ in zip((np.concatenate(p) for p in zip(*parts, strict=True)), whole, strict=True):
            assert np.array_equal(one, all_)
    order = np.random.default_rng(3).permutation(900)
    moved = nearest(segment_of(x[order], metric, ids[order]), prepared(query, metric), 10)
    assert np.array_equal(moved[0], whole[0])
    assert np.array_equal(moved[1], whole[1])


@pytest.mark.parametrize("metric", METRICS)
def test_removed_rows_are_as_if_they_never_were(metric, either):
    x, ids = rows(700, 16), np.arange(700, dtype=np.int64) * 3
    query = x[:20]
    keep = np.random.default_rng(2).random(700) < 0.6
    removed = segment_of(x, metric, ids).without(np.flatnonzero(~keep))
    never = segment_of(np.ascontiguousarray(x[keep]), metric, ids[keep])
    found, expected = (nearest(s, prepared(query, metric), 25) for s in (removed, never))
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert removed.live == never.live == keep.sum()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-42, 1e-25, 1e-13, 1.0, 1e13, 1e30])
def test_rows_and_queries_that_float32_products_lose(metric, scale, either):
    """Rows of very different lengths, some beyond what float32 products hold, and such queries: still the plain loop."""
    x = rows(300, 12)
    x[::3] *= np.float32(scale)
    query = np.concatenate([x[:6], x[1:3] * np.float32(scale), np.zeros((1, 12), np.float32)])
    check(segment_of(x, metric), query, 20)


@pytest.mark.parametrize("queries", [1, 8])
def test_queries_whose_distances_are_beyond_float32(queries, either):
    """Rows of length 1e11 and queries of 1e31 under l2: float32 scores are infinite or NaN, so none of them may decide."""
    x = rows(200, 12) * np.float32(1e11)
    check(segment_of(x, "l2"), (x[:queries] * np.float32(1e20)).astype(np.float32), 5)


def test_more_ties_than_places(either):
    """3,000 equal rows: too many candidates to keep, so all are compared; ids decide."""
    x = np.ones((3000, 5), np.float32)
    check(segment_of(x, "cosine"), np.eye(2, 5, dtype=np.float32), 4)


def test_fewer_rows_than_asked_for(either):
    x = rows(30, 8)
    alive = np.zeros(30, bool)
    alive[[4, 20]] = True
    similarity_, ids, places = nearest(segment_of(x, "cosine", np.arange(30), alive), prepared(x[4:5], "cosine"), 5)
    assert ids.tolist() == [[4, 20, NO_ID, NO_ID, NO_ID]]
    assert places.tolist() == [[4, 20, -1, -1, -1]]
    assert np.isneginf(similarity_[0, 2:]).all()
    assert nearest(segment_of(x[:0], "cosine"), prepared(x[:2], "cosine"), 3)[1].tolist() == [[NO_ID] * 3] * 2
    assert nearest(segment_of(x, "cosine"), prepared(x[:0], "cosine"), 3)[1].shape == (0, 3)


def test_the_bound_covers_the_errors_of_float32():
    """Scores by a matrix product of 768 columns differ from the exact similarities, by less than half the slack."""
    x, query = rows(400, 768), rows(20, 768, 4)
    segment, asked = segment_of(x, "cosine"), prepared(query, "cosine")
    scores = (asked.multiplied @ x.T) * segment.scale
    error = np.abs(scores - cosine_similarities(query, x)).max()
    assert 0 < error < exact.slack(segment, asked)[0] / 2 < 1e-4


def test_rows_from_the_middle_of_a_segment():
    x, ids = rows(500, 9), np.arange(500, dtype=np.int64)
    part = segment_of(x, "cosine", ids).since(123)
    check(part, x[:5], 12)
    assert part.ids[0] == 123

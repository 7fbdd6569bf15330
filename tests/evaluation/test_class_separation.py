"""Class-separation figures of whole data sets: equal to the losses, chunked, honest about degenerate features."""

import numpy as np
import pytest
import torch

from modicum.errors import DataError
from modicum.evaluation import class_separation as module
from modicum.evaluation.class_separation import class_separation, class_spreads, clustering_whole
from modicum.losses.feature_clustering import feature_clustering


def _blobs(classes: int = 5, each: int = 30, dims: int = 8, apart: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, dims)) * apart
    return (centres[labels] + rng.normal(size=(len(labels), dims))).astype(np.float32), labels


def test_whole_equals_the_loss_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = (torch.as_tensor(part) for part in _blobs())
    x, labels = x[:-7] + 1000, labels[:-7]  # unequal counts; far from 0, where float32 sums would lose digits
    expected = feature_clustering(x.double(), labels).item()
    assert clustering_whole(x, labels) == pytest.approx(expected, rel=1e-9)
    before = class_separation(x, labels, pairs=50)
    monkeypatch.setattr(module, "NUMBERS", 24)
    assert clustering_whole(x, labels) == pytest.approx(expected, rel=1e-9)
    assert class_separation(x, labels, pairs=50).clustering.mean == pytest.approx(before.clustering.mean, rel=1e-12)


def test_spreads_by_hand() -> None:
    """(0,0), (2,0): mean (1,0), variance 1 (over n; over n - 1 it would be 2)."""
    spreads = class_spreads(torch.tensor([[0.0, 0], [7, 7], [2, 0]]), torch.tensor([0, 4, 0]))
    assert spreads.means.tolist() == [[1, 0], [7, 7]]
    assert spreads.variances.tolist() == [1, 0]
    assert spreads.counts.tolist() == [2, 1]


def test_pairs_by_hand_for_two_classes_of_two_pictures() -> None:
    """Every draw is one of the labellings of the pair: R_FC 8/17 in all; R_HV by which x stands with which y."""
    x, labels = np.array([[0.0, 0], [2, 0], [0, 3], [0, 5]]), np.array([0, 0, 1, 1])
    found = class_separation(x, labels, pairs=4000)
    assert found.clustering.mean == pytest.approx(8 / 17)
    assert found.clustering.ci95 == pytest.approx(0, abs=1e-12)
    assert found.clustering_whole == pytest.approx(8 / 17)
    straight = 8**0.5 / (3 + 29**0.5)  # x1-y1 = (0,-3), x2-y2 = (2,-5)
    crossed = 8**0.5 / (5 + 13**0.5)  # x1-y2 = (0,-5), x2-y1 = (2,-3)
    assert found.variation.mean == pytest.approx((straight + crossed) / 2, abs=0.002)
    assert found.variation_squared.mean == pytest.approx(2 * (straight**2 + crossed**2), abs=0.01)


def test_scale_and_shift_change_nothing_and_separation_lowers_every_figure() -> None:
    x, labels = _blobs()
    near, far = class_separation(x, labels, pairs=300), class_separation(_blobs(apart=9)[0], labels, pairs=300)
    moved = class_separation(5 * x.astype(np.float64) - 2, labels, pairs=300)
    for name in ("clustering", "variation", "variation_squared"):
        assert getattr(far, name).mean < getattr(near, name).mean
        assert getattr(moved, name).mean == pytest.approx(getattr(near, name).mean, rel=1e-6)
    assert far.clustering_whole < near.clustering_whole
    assert "300 random class pairs" in near.clustering.over


def test_shuffled_labels_give_the_values_of_features_that_know_nothing() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(200, 3000)), np.repeat(np.arange(10), 20)
    found = class_separation(x, labels, pairs=500)
    assert found.clustering.mean == pytest.approx(4, abs=0.05)
    assert found.variation.mean == pytest.approx(0.5**0.5, abs=0.01)
    assert found.variation_squared.mean == pytest.approx(2, abs=0.03)


def test_degenerate_features_are_refused() -> None:
    labels = np.repeat([0, 1], 3)
    with pytest.raises(DataError, match="same mean"):
        class_separation(np.full((6, 2), 0.1), labels)
    with pytest.raises(DataError, match="finite"):
        class_separation(np.full((6, 2), np.nan), labels)
    with pytest.raises(DataError, match="at least 2 classes"):
        class_separation(np.eye(6), np.zeros(6, int))
    with pytest.raises(DataError, match="expected \\(n, D\\)"):
        class_separation(np.eye(6), labels[:4])

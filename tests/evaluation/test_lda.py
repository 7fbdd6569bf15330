"""LDA of three classes in the plane."""

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.evaluation.lda import lda_plane


def _three(n: int = 40, dims: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Classes apart along feature 0 and 1, with a loud feature 5 that says nothing."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], n)
    x = rng.normal(size=(3 * n, dims))
    x[:, 5] *= 100
    x[:, 0] += np.array([0.0, 8.0, 0.0])[labels]
    x[:, 1] += np.array([0.0, 0.0, 8.0])[labels]
    return x, labels


def test_separates_classes_that_a_principal_plane_would_not() -> None:
    x, labels = _three()
    points = lda_plane(x, labels)
    centres = np.stack([points[labels == c].mean(0) for c in range(3)])
    nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() > 0.97


def test_signs_are_fixed_and_order_of_pictures_does_not_matter() -> None:
    x, labels = _three()
    points = lda_plane(x, labels)
    assert points[labels == 0, 0].mean() > 0
    assert points[labels == 1, 1].mean() > 0
    order = np.random.default_rng(1).permutation(len(x))
    assert lda_plane(x[order], labels[order]) == pytest.approx(points[order], abs=1e-8)


def test_more_features_than_pictures_do_not_fake_separation() -> None:
    """Noise alone: plain LDA on 500 features would put 60 pictures into three perfect clumps."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    points = lda_plane(rng.normal(size=(60, 500)), labels)
    within = np.mean([points[labels == c].std(0) for c in range(3)])
    assert within > 0.5  # in units of LDA, where clumps of plain LDA shrink to about 1e-7 of their distance
    spread = np.stack([points[labels == c].mean(0) for c in range(3)]).std(0).max()
    assert spread < 10 * within


def test_two_classes_lie_on_a_line_and_others_are_refused() -> None:
    x, labels = _three()
    points = lda_plane(x[labels < 2], labels[labels < 2])
    assert np.ptp(points[:, 1]) == 0
    assert np.ptp(points[:, 0]) > 5
    with pytest.raises(DataError, match="2 or 3 classes"):
        lda_plane(x, np.arange(len(x)))

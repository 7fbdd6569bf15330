"""Temperature scaling, reliability bins, calibration error."""

import numpy as np
import pytest

from modicum.errors import DataError
from modicum.evaluation.calibration import (
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    softmax,
)


def _drawn(temperature: float, n: int = 20_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, classes)) * 3
    cumulative = softmax(logits, temperature).cumsum(1)
    return logits, (rng.random((n, 1)) > cumulative).sum(1)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = _drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)
    assert fit_temperature(logits * 1e4, labels) == pytest.approx(temperature * 1e4, rel=0.03)


def test_the_temperature_minimises_the_loss() -> None:
    logits, labels = _drawn(2.0, n=50_000)
    best = fit_temperature(logits, labels)
    losses = [negative_log_likelihood(logits, labels, best * factor) for factor in (0.98, 1.0, 1.02)]
    assert losses[1] == min(losses)


def test_two_pictures_both_right_do_not_make_certain() -> None:
    """Two classes, logits +-1 / 2, n = 2: the targets are 5 / 6 and 1 / 6, so 1 / T = log 5; unsmoothed T would be 0."""
    logits = [[0.5, -0.5], [-0.5, 0.5]]
    assert 1 / fit_temperature(logits, [0, 1]) == pytest.approx(np.log(5), rel=1e-9)


def test_logits_that_mislead_or_say_nothing_give_flat_probabilities() -> None:
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]] * 10)
    wrong = np.array([1, 0] * 10)
    assert softmax(logits, fit_temperature(logits, wrong)) == pytest.approx(0.5, abs=1e-3)
    assert fit_temperature(np.ones((3, 2)), [0, 1, 0]) == 1.0


def test_classes_that_do_not_compete_get_nothing() -> None:
    logits = np.array([[0.0, 1.0, -np.inf], [2.0, 1.0, 0.0]] * 20)
    labels = np.array([1, 0] * 20)
    assert softmax(logits)[0, 2] == 0.0
    assert 0 < fit_temperature(logits, labels) < 1
    with pytest.raises(DataError, match="finite logit"):
        fit_temperature(logits, np.array([2, 0] * 20))


def test_calibration_error_by_hand() -> None:
    """Confidences 0.9, 0.9 (one right) and 0.6 (right): ECE = 2/3 |0.5 - 0.9| + 1/3 |1 - 0.6| = 0.4.

    Averaging over bins instead of pictures would also give 0.4 here, so a fourth picture (0.6, wrong) tells them apart:
    2/4 * 0.4 + 2/4 * |0.5 - 0.6| = 0.25.
    """
    p = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]
    assert calibration_error(p[:3], [0, 1, 0]) == pytest.approx(0.4)
    assert calibration_error(p, [0, 1, 0, 0]) == pytest.approx(0.25)
    assert np.isnan(calibration_error(np.zeros((0, 2)), []))


def test_bins_are_closed_above() -> None:
    """1/3 is the upper end of bin 5 of 15 (index 4); certainty lies in the last bin."""
    table = reliability([[1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]], [0, 0])
    assert np.flatnonzero(table.pictures).tolist() == [4, 14]
    assert table.confidence[4] == pytest.approx(1 / 3)
    assert table.accuracy[14] == 1.0
    assert np.isnan(table.accuracy[0])


def test_temperature_repairs_overconfidence() -> None:
    logits, labels = _drawn(3.0)
    before = calibration_error(softmax(logits), labels)
    after = calibration_error(softmax(logits, fit_temperature(logits, labels)), labels)
    assert before > 0.15
    assert after < 0.02

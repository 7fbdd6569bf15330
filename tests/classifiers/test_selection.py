"""Nested cross-validation: honest where plain cross-validation is not, and right at the edges."""

import numpy as np
import pytest

from modicum.classifiers.candidates import Search, grid, narrowed
from modicum.classifiers.folds import merge
from modicum.classifiers.margins import MARGINS
from modicum.classifiers.rules import Settings, fit_rule
from modicum.classifiers.selection import Labelled, choose, estimate, outputs
from modicum.evaluation.accuracy import balanced_accuracy, confusion_counts
from modicum.evaluation.calibration import calibration_error

ALL = narrowed(100, 10, 3, 5, "auto")


def _blobs(counts: list[int], dims: int = 8, apart: float = 2.0, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), dims)) * apart
    features = (centres[labels] + rng.normal(size=(len(labels), dims))).astype(np.float32)
    return Labelled(features, labels, np.arange(len(labels)), len(counts))


def _score(data: Labelled, rows: np.ndarray, probabilities: np.ndarray) -> float:
    return balanced_accuracy(confusion_counts(data.labels[rows], probabilities.argmax(1), data.n_classes))


def test_outputs_in_a_search_are_those_of_the_fitted_rule() -> None:
    data, other = _blobs([9, 5, 3]), _blobs([4, 4, 4], seed=1)
    for index, logits in outputs(data, other.features, ALL.candidates):
        rule = fit_rule(data.features, data.labels, 3, ALL.candidates[index])
        expected = rule.logits(other.features)
        if ALL.candidates[index].head in MARGINS:  # solved less exactly in a search
            assert logits == pytest.approx(expected, abs=0.05 * np.abs(expected).max())
        elif rule.unit is False and ALL.candidates[index].head == "protonet":
            assert np.diff(logits) == pytest.approx(np.diff(expected), abs=1e-4)
        else:
            assert logits == pytest.approx(expected, abs=1e-4)


def test_choosing_on_noise_is_optimistic_and_the_nested_estimate_is_not() -> None:
    """Labels that no feature predicts: the best of 48 candidates looks better than guessing, nested it does not."""
    best, honest = [], []
    cheap = Search(grid("protonet") + grid("cosine") + grid("ridge"), 4)
    for seed in range(12):
        data = _blobs([12, 12], apart=0.0, seed=seed)
        best.append(choose(data, cheap.candidates, 4, seed).score)
        found = estimate(data, cheap, 4, seed)
        honest.append(_score(data, found.rows, found.probabilities))
    assert np.mean(best) > 0.56
    assert abs(np.mean(honest) - 0.5) < 0.06


def test_pictures_of_a_group_are_not_told_by_their_group() -> None:
    """Every group has a look of its own and one label at random: known groups give 100 %, new groups guessing."""
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(40, 64)) * 5
    group = np.repeat(np.arange(40), 4)
    labels = rng.permutation(np.arange(40) % 2)[group]
    features = (looks[group] + rng.normal(size=(160, 64)) * 0.1).astype(np.float32)
    scores = []
    for units in (np.arange(160), merge([str(g) for g in group])):
        data = Labelled(features, labels, units, 2)
        found = estimate(data, ALL, 5, 0)
        scores.append(_score(data, found.rows, found.probabilities))
    assert scores[0] > 0.95
    assert abs(scores[1] - 0.5) < 0.2


def test_calibration_is_measured_on_pictures_that_took_no_part() -> None:
    data = _blobs([300] * 4, apart=0.6)
    found = estimate(data, ALL, 5, 0)
    assert found.calibrated
    assert calibration_error(found.probabilities, data.labels[found.rows]) < 0.06


def test_a_long_tail_is_better_served_by_equal_weights() -> None:
    """400, 40 and 10 overlapping pictures: the choice by balanced accuracy does not neglect the small classes."""
    data = _blobs([400, 40, 10], apart=0.5)
    choice = choose(data, grid("ridge"), 5, 0)
    assert choice.settings.balanced
    plain = choose(data, tuple(s for s in grid("ridge") if not s.balanced), 5, 0)
    assert choice.score > plain.score + 0.05


def test_equal_scores_go_to_the_simplest() -> None:
    data = _blobs([10, 10], apart=20.0)
    assert choose(data, ALL.candidates, 5, 0).settings == ALL.candidates[0] == Settings("protonet", "l2")


def test_one_candidate_is_not_chosen_but_calibrated() -> None:
    trained = Settings("r2d2", "none", penalty=7.0, relative=False)
    choice = choose(_blobs([20, 20]), (trained,), 5, 0)
    assert choice.settings is trained
    assert choice.temperature is not None


@pytest.mark.parametrize("counts", [[1, 1], [1, 1, 1]])
def test_nothing_measurable_gives_the_first_candidate_and_no_numbers(counts: list[int]) -> None:
    data = _blobs(counts)
    choice, found = choose(data, ALL.candidates, 5, 0), estimate(data, ALL, 5, 0)
    assert (choice.settings, choice.temperature, len(choice.rows)) == (ALL.candidates[0], None, 0)
    assert (len(found.rows), found.calibrated, found.measured.any()) == (0, False, False)


def test_two_pictures_a_class_are_measured_but_not_calibrated() -> None:
    data = _blobs([2, 2], apart=10.0)
    found = estimate(data, ALL, 5, 0)
    assert sorted(found.rows.tolist()) == [0, 1, 2, 3]
    assert not found.calibrated
    assert _score(data, found.rows, found.probabilities) == 1.0


def test_a_class_with_one_picture_competes_in_every_fold() -> None:
    """The lone picture of class 2 sits among class 0, so some of class 0 is called 2 in held-out folds."""
    data = _blobs([40, 40, 1], apart=3.0)
    data.features[80] = data.features[:40].mean(0)
    found = estimate(data, narrowed(81, 8, 3, 5, "protonet"), 5, 0)
    assert found.measured.tolist() == [True, True, False]
    assert 80 not in found.rows
    assert (found.probabilities[:40].argmax(1) == 2).any()

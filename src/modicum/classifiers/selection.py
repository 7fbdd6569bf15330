"""Head and settings by cross-validation, and an honest estimate of what that gives, by nested cross-validation.

For every outer fold k: on the pictures outside k an inner cross-validation scores every candidate by balanced accuracy
(equal scores: the simpler one, which stands first), and fits a temperature to the inner out-of-fold logits of the
winner; the winner, fitted on all pictures outside k, is applied to fold k. So no picture takes part in choosing, fitting
or calibrating what is applied to it (Varma, Simon, "Bias in error estimation when using cross-validation for model
selection", BMC Bioinformatics 2006). The classifier itself uses the winner over the outer folds of all pictures, and
the temperature of that winner's out-of-fold logits.

What is searched, and in which order, says `modicum.classifiers.candidates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modicum.classifiers.candidates import Search
from modicum.classifiers.folds import assign_folds, measurable, possible_folds
from modicum.classifiers.learned import LearnedLength
from modicum.classifiers.margins import MARGINS, MarginPath
from modicum.classifiers.rules import (
    RIDGES,
    RidgePath,
    Rows,
    Settings,
    class_means,
    fit_rule,
    one_hot,
    preparation,
    row_weights,
    unit_rows,
)
from modicum.evaluation.accuracy import Floats, Ints, balanced_accuracy, confusion_counts
from modicum.evaluation.calibration import fit_temperature, softmax
from modicum.runtime import Progress


class Labelled(NamedTuple):
    """Support as arrays: features (n, D) float32, labels (n,) in 0..n_classes-1, units (n,) held out as one.

    learned: the lengths that the head mct needs; they come from a run and not from these pictures. seen (n,): pictures that
    the encoder was trained on; their embeddings serve to choose and to fit, but measure and calibrate nothing.
    """

    features: Rows
    labels: Ints
    units: Ints
    n_classes: int
    learned: LearnedLength | None = None
    seen: np.ndarray | None = None

    def at(self, keep: np.ndarray) -> Labelled:
        """The pictures of a mask or index; classes and units keep their numbers."""
        seen = None if self.seen is None else self.seen[keep]
        return Labelled(self.features[keep], self.labels[keep], self.units[keep], self.n_classes, self.learned, seen)

    def new(self, rows: Ints) -> Ints:
        """Those of rows (m,) that the encoder has not seen."""
        return rows if self.seen is None else rows[~self.seen[rows]]


def _nearest_mean_outputs(settings: Settings, x: Floats, labels: Ints, n_classes: int, other: Floats) -> Floats:
    means, _ = class_means(x, labels, n_classes)
    if settings.head == "protonet":
        outputs: Floats = 2 * other @ means.T - (means * means).sum(1)
        return outputs
    cosines: Floats = unit_rows(other).astype(np.float64) @ unit_rows(means).astype(np.float64).T
    return cosines


def outputs(train: Labelled, other: Rows, candidates: Sequence[Settings]) -> Iterator[tuple[int, Floats]]:
    """(index of candidate, its logits (m, N) for other features (m, D)), -inf for classes that `train` lacks."""
    absent = np.bincount(train.labels, minlength=train.n_classes) == 0
    for phi in dict.fromkeys(s.phi for s in candidates if s.head != "mct"):
        prepare = preparation(train.features, phi)
        x, z = (prepare(part).astype(np.float64) for part in (train.features, other))
        for i, found in _prepared_outputs(x, train, z, [(i, s) for i, s in enumerate(candidates) if s.phi == phi]):
            yield i, np.where(absent, -np.inf, candidates[i].scale * found)
    for i, s in enumerate(candidates):
        if s.head == "mct":
            yield i, fit_rule(train.features, train.labels, train.n_classes, s, train.learned).logits(other)


def _prepared_outputs(
    x: Floats, train: Labelled, z: Floats, candidates: Sequence[tuple[int, Settings]]
) -> Iterator[tuple[int, Floats]]:
    """(index, outputs (m, N) before the scale) of numbered candidates on prepared features x (n, D) for others z (m, D)."""
    for i, s in candidates:
        if s.head in ("protonet", "cosine"):
            yield i, _nearest_mean_outputs(s, x, train.labels, train.n_classes, z)
    for balanced in dict.fromkeys(s.balanced for _, s in candidates if s.head in (*RIDGES, *MARGINS)):
        weights = row_weights(train.labels, train.n_classes, balanced)
        mine = [(i, s) for i, s in candidates if s.balanced == balanced]
        if some := [(i, s) for i, s in mine if s.head in RIDGES]:
            path = RidgePath(x, one_hot(train.labels, train.n_classes), weights)
            yield from zip((i for i, _ in some), path.outputs(z, [path.penalty(s) for _, s in some]), strict=True)
        for relative in dict.fromkeys(s.relative for _, s in mine if s.head in MARGINS):
            margins = MarginPath(x, train.labels, train.n_classes, weights, relative=relative)
            for i, s in mine:
                if s.head in MARGINS and s.relative == relative:
                    weight, bias = margins.solve(s.head, s.c, exact=False)
                    yield i, z @ weight + bias


@dataclass(frozen=True, eq=False)
class Choice:
    """The best candidate of a cross-validation with its score, and its out-of-fold logits.

    logits (m, N) of the held-out pictures `rows` (m,), those of measurable classes that the encoder has not seen;
    temperature None where there are none. Where nothing could be held out, score is NaN, the first candidate stands and
    n_folds is 0.
    """

    settings: Settings
    score: float
    rows: Ints
    logits: Floats
    temperature: float | None
    n_folds: int


def _no_choice(data: Labelled, candidates: Sequence[Settings]) -> Choice:
    return Choice(candidates[0], float("nan"), np.zeros(0, np.int64), np.zeros((0, data.n_classes)), None, 0)


def choose(data: Labelled, candidates: Sequence[Settings], n_folds: int, seed: int) -> Choice:
    """The best of candidates by cross-validated balanced accuracy over up to n_folds folds."""
    n_folds = possible_folds(data.labels, data.units, data.n_classes, n_folds)
    if n_folds < 2:
        return _no_choice(data, candidates)
    folds = assign_folds(data.labels, data.units, data.n_classes, n_folds, seed)
    measured = measurable(data.labels, folds, data.n_classes)
    if not measured.any():
        return _no_choice(data, candidates)
    guess = np.zeros((len(candidates), len(folds)), np.int64)
    best = 0
    if len(candidates) > 1:
        for fold in range(n_folds):
            held = folds == fold
            for index, logits in outputs(data.at(~held), data.features[held], candidates):
                guess[index, held] = logits.argmax(1)
        rows = np.flatnonzero(measured[data.labels] & (folds >= 0))
        scores = [balanced_accuracy(confusion_counts(data.labels[rows], g[rows], data.n_classes)) for g in guess]
        best = int(np.argmax(np.round(scores, 12)))
    return _held_out(data, candidates[best], folds, measured)


def _held_out(data: Labelled, settings: Settings, folds: Ints, measured: np.ndarray) -> Choice:
    """Out-of-fold logits of one candidate, their score and temperature."""
    logits = np.full((len(folds), data.n_classes), -np.inf)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        if held.any():
            ((_, found),) = outputs(data.at(~held), data.features[held], (settings,))
            logits[held] = found
    rows = np.flatnonzero(measured[data.labels] & (folds >= 0))
    score = balanced_accuracy(confusion_counts(data.labels[rows], logits[rows].argmax(1), data.n_classes))
    rows = data.new(rows)
    fits = rows[np.isfinite(logits[rows, data.labels[rows]])]
    temperature = fit_temperature(logits[fits], data.labels[fits]) if len(fits) else None
    return Choice(settings, score, rows, logits[rows], temperature, int(folds.max()) + 1)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Nested cross-validation: what choosing, fitting and calibrating like this gives on pictures not seen.

    rows (m,): pictures held out, of measured classes. probabilities (m, N): calibrated ones, or softmax of raw logits
    where an outer fold had too few pictures to calibrate (`calibrated` False). chosen: the settings of each outer fold.
    """

    rows: Ints
    probabilities: Floats
    measured: np.ndarray
    calibrated: bool
    chosen: tuple[Settings, ...]
    n_folds: int


def estimate(data: Labelled, search: Search, n_folds: int, seed: int, progress: Progress | None = None) -> Estimate:
    """The nested estimate over up to n_folds outer folds; no rows where no class can be measured."""
    nothing = np.zeros(data.n_classes, bool)
    n_folds = possible_folds(data.labels, data.units, data.n_classes, n_folds)
    if n_folds < 2:
        return Estimate(np.zeros(0, np.int64), np.zeros((0, data.n_classes)), nothing, False, (), 0)
    folds = assign_folds(data.labels, data.units, data.n_classes, n_folds, seed)
    measured = measurable(data.labels, folds, data.n_classes)
    probabilities = np.zeros((len(folds), data.n_classes))
    chosen, calibrated = [], True
    for fold in range(n_folds):
        held = folds == fold
        train = data.at(~held)
        choice = choose(train, search.candidates, search.inner_folds, seed)
        rule = fit_rule(train.features, train.labels, train.n_classes, choice.settings, train.learned)
        probabilities[held] = softmax(rule.logits(data.features[held]), choice.temperature or 1.0)
        calibrated &= choice.temperature is not None
        chosen.append(choice.settings)
        if progress is not None:
            progress(fold + 1, n_folds + 1)
    rows = data.new(np.flatnonzero(measured[data.labels] & (folds >= 0)))
    measured = np.bincount(data.labels[rows], minlength=data.n_classes) > 0
    return Estimate(rows, probabilities[rows], measured, calibrated, tuple(chosen), n_folds)

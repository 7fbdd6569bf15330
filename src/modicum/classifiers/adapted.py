"""A classifier whose encoder a gradient learner has adapted to the support pictures, and an honest estimate of it.

The learner takes its steps on all pictures at once, in order of id. What it leaves is kept: the encoder, with the frozen
statistics of batch norm as its running ones, and as rule the last layer itself, logits = z W + b.

An encoder that has seen a picture embeds it nearer to its class than a new one. So nothing is measured on the adapted
encoder's embeddings: for every fold the learner starts again from where its training left it, and adapts to the pictures
outside the fold alone. As in `modicum.classifiers.selection` an inner cross-validation, of `INNER_FOLDS` folds, gives the
temperature that is applied to a fold; the classifier's own temperature and its known similarities come from the outer folds.
With F folds that is F (1 + INNER_FOLDS) + 1 adaptations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.ridge import LinearClassifier
from modicum.backbones.encoder import Encoder
from modicum.classifiers.classifier import Classifier, Request, label_numbers
from modicum.classifiers.fitting import reference
from modicum.classifiers.folds import ALWAYS_TRAINING, assign_folds, measurable, possible_folds
from modicum.classifiers.rules import LinearRule, Preparation, Rows, Settings, unit_rows
from modicum.classifiers.seen import units_of
from modicum.classifiers.selection import Estimate
from modicum.classifiers.support import of_pictures
from modicum.data.picture_set import PictureSet
from modicum.episodes.cutting import gather
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError
from modicum.evaluation.accuracy import Floats, Ints
from modicum.evaluation.calibration import fit_temperature, softmax
from modicum.models import embed
from modicum.runtime import Progress

INNER_FOLDS = 3
Tick = Callable[[], None]


class Network(NamedTuple):
    """An adapted encoder and the rule on its embeddings."""

    encoder: Encoder
    rule: LinearRule

    def look(self, pixels: np.ndarray) -> tuple[Rows, Floats]:
        """Embeddings (n, D) and logits (n, N) of pictures (n, H, W, C)."""
        features = embed(self.encoder, pixels)
        return features, self.rule.logits(features)


class Pictures(NamedTuple):
    """Pixels (n, H, W, C) in order of id, labels (n,) in 0..n_classes-1, units (n,) that are held out as one."""

    pixels: np.ndarray
    labels: Ints
    units: Ints
    n_classes: int

    def at(self, keep: np.ndarray) -> Pictures:
        """The pictures of a mask; classes and units keep their numbers."""
        return Pictures(self.pixels[keep], self.labels[keep], self.units[keep], self.n_classes)


def adapted_network(learner: GradientLearner, pictures: Pictures) -> Network:
    """The learner's network after its steps on these pictures; classes without any get logits of -inf.

    `ConfigError` for another number of classes than the learner takes, `TrainingError` where the steps diverge.
    """
    there = np.bincount(pictures.labels, minlength=pictures.n_classes) > 0
    x = gather(pictures.pixels, np.arange(len(pictures.labels)))
    support = LabelledSet(x, torch.from_numpy(pictures.labels))
    mask = None if there.all() else torch.from_numpy(there)
    single = learner.adapt(support, pictures.n_classes, mask).single()
    assert isinstance(single.predictor, LinearClassifier)
    weight = single.predictor.weight.mT.float().cpu().numpy()
    bias = np.where(there, single.predictor.bias.double().cpu().numpy(), -np.inf)
    rule = LinearRule(Preparation(None, False), np.ascontiguousarray(weight, np.float32), bias, False, 1.0)
    return Network(single.encoder.cpu().eval(), rule)


class HeldOut(NamedTuple):
    """A cross-validation by networks that have not seen what they are asked about.

    folds (n,); logits (n, N); similarity (n,) to the nearest picture of the training part; measured (N,) classes.
    """

    folds: Ints
    logits: Floats
    similarity: Floats
    measured: np.ndarray

    def rows(self, labels: Ints) -> Ints:
        """The pictures held out, of measured classes."""
        return np.flatnonzero(self.measured[labels] & (self.folds >= 0))

    def temperature(self, labels: Ints) -> float | None:
        """That of the logits held out; None where there are none."""
        rows = self.rows(labels)
        rows = rows[np.isfinite(self.logits[rows, labels[rows]])]
        return fit_temperature(self.logits[rows], labels[rows]) if len(rows) else None


def held_out(learner: GradientLearner, data: Pictures, n_folds: int, seed: int, tick: Tick) -> HeldOut:
    """Up to n_folds adaptations, each without one fold; no folds where no class can be measured."""
    n, n_classes = len(data.labels), data.n_classes
    folds = np.full(n, ALWAYS_TRAINING, np.int64)
    logits, similarity = np.full((n, n_classes), -np.inf), np.full(n, -np.inf)
    n_folds = possible_folds(data.labels, data.units, n_classes, n_folds)
    if n_folds >= 2:
        folds = assign_folds(data.labels, data.units, n_classes, n_folds, seed)
    for fold in range(int(folds.max(initial=ALWAYS_TRAINING)) + 1):
        held = folds == fold
        network = adapted_network(learner, data.at(~held))
        features, logits[held] = network.look(data.pixels[held])
        known = embed(network.encoder, data.pixels[~held])
        similarity[held] = (unit_rows(features).astype(np.float64) @ unit_rows(known).astype(np.float64).T).max(1)
        tick()
    return HeldOut(folds, logits, similarity, measurable(data.labels, folds, n_classes))


def _estimate(
    learner: GradientLearner, data: Pictures, outer: HeldOut, settings: Settings, seed: int, tick: Tick
) -> Estimate:
    """Each fold's logits under the temperature of a cross-validation among the others."""
    probabilities, calibrated = np.zeros(outer.logits.shape), True
    n_folds = int(outer.folds.max(initial=ALWAYS_TRAINING)) + 1
    for fold in range(n_folds):
        held = outer.folds == fold
        rest = data.at(~held)
        temperature = held_out(learner, rest, INNER_FOLDS, seed, tick).temperature(rest.labels)
        probabilities[held] = softmax(outer.logits[held], temperature or 1.0)
        calibrated &= temperature is not None
    rows = outer.rows(data.labels)
    return Estimate(rows, probabilities[rows], outer.measured, calibrated and n_folds > 0, (settings,) * n_folds, n_folds)


def _require(learner: GradientLearner, pictures: PictureSet, n_classes: int, name: str) -> None:
    """Raise `ConfigError` where these pictures cannot be what the learner adapts to."""
    if learner.batch_norm == "batch":
        raise ConfigError(
            "batch_norm: in the mode batch an answer depends on the other pictures of a call, so it makes no classifier; "
            "take support or running"
        )
    if n_classes != learner.n_out and not learner.traits.any_n_out:
        raise ConfigError(
            f"support: has {n_classes} classes, but {name or 'the run'} was trained on tasks of {learner.n_out} and its "
            f"last layer has as many outputs. Give {learner.n_out} classes, train with --method proto-maml, which takes any "
            "number, or use the encoder it began from: `modicum fit DIR --encoder RUN`"
        )
    size = learner.encoder.spec.size
    if pictures.pixels.shape[1:3] != (size, size):
        raise ConfigError(f"support: expected pictures of {size}x{size} pixels, found {pictures.pixels.shape[1:3]}")


def _ticks(total: int, progress: Progress | None) -> Tick:
    """Counts adaptations; `total` is the most there can be."""
    done = 0

    def tick() -> None:
        """One adaptation more."""
        nonlocal done
        done = min(done + 1, total)
        if progress is not None:
            progress(done, total)

    return tick


def adapt_classifier(
    pictures: PictureSet,
    learner: GradientLearner,
    *,
    method: str,
    name: str = "",
    folds: int = 5,
    seed: int = 0,
    thumbnails: bool = True,
    progress: Progress | None = None,
) -> tuple[Classifier, Encoder]:
    """The classifier of a network adapted to pictures of the encoder's size and channels, and the adapted encoder.

    method: what the learner is called in results; name: where it comes from. All adaptations are those of a function of the
    set of pictures. `ConfigError` for another number of classes than the learner was trained for, unless it takes any.
    """
    n_classes = len(np.unique(pictures.labels))
    _require(learner, pictures, n_classes, name)
    order = np.array(sorted(range(len(pictures.ids)), key=pictures.ids.__getitem__), np.int64)
    blank = of_pictures(pictures, np.zeros((len(order), 1)), thumbnails=thumbnails)
    labels = label_numbers(blank)
    data = Pictures(np.asarray(pictures.pixels[order]), labels, units_of(blank), n_classes)
    most = 1 + (1 + INNER_FOLDS) * possible_folds(labels, data.units, n_classes, folds)
    tick = _ticks(most, progress)
    network = adapted_network(learner, data)
    tick()
    settings = Settings(method, "none")
    outer = held_out(learner, data, folds, seed, tick)
    honest = _estimate(learner, data, outer, settings, seed, tick)
    features, _ = network.look(data.pixels)
    if progress is not None:
        progress(most, most)
    support = of_pictures(pictures, features[np.argsort(order)], thumbnails=thumbnails)
    made = reference(network.encoder, f"{name or learner.encoder.name}, adapted")
    classifier = Classifier(
        support, Request("auto", folds, seed), replace(made, seen=support.ids), settings, network.rule,
        outer.temperature(labels), honest, np.sort(outer.similarity[honest.rows]), tried=(method,),
    )  # fmt: skip
    return classifier, network.encoder

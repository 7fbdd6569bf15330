"""What a classifier's result files say: one row of numbers, and the arrays a report draws from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modicum.classifiers.seen import units_of
from modicum.evaluation.accuracy import Ints, confusion_counts, recalls
from modicum.evaluation.calibration import calibration_error, reliability
from modicum.evaluation.intervals import Interval, balanced_accuracy_interval, jeffreys
from modicum.registry import GRADIENT_METHODS

if TYPE_CHECKING:
    from modicum.classifiers.classifier import Classifier

SHOWN = 20
"""Pictures a side, right and wrong."""
LDA_CLASSES, LDA_PICTURES = 3, 100


def held_out(classifier: Classifier) -> tuple[Ints, Ints]:
    """True and predicted labels (m,) of the pictures of the nested cross-validation, as indices into `classes`."""
    honest = classifier.estimate
    return classifier.labels[honest.rows], honest.probabilities.argmax(1).astype(np.int64)


def accuracy(classifier: Classifier) -> Interval | None:
    """Balanced accuracy of the nested cross-validation with its interval; None where nothing could be measured."""
    true, predicted = held_out(classifier)
    if len(true) == 0:
        return None
    units = units_of(classifier.support)[classifier.estimate.rows]
    alone = len(np.unique(units)) == len(units)
    found = balanced_accuracy_interval(true, predicted, len(classifier.classes), None if alone else units)
    grouped = any(group is not None for group in classifier.support.groups)
    what = "new groups of pictures" if grouped else "new pictures"
    count = len(np.unique(true))
    return found._replace(over=f"{what} of these {count} classes, training pictures as they are")


def not_measurable(classifier: Classifier) -> tuple[str, ...]:
    """Classes with one picture or group, of which none can be held out."""
    return tuple(name for name, known in zip(classifier.classes, classifier.estimate.measured, strict=True) if not known)


def per_class(classifier: Classifier) -> dict[str, dict[str, Any]]:
    """For every measurable class its pictures `n`, how many were `right`, `recall` and its `interval` [lower, upper].

    The interval counts every picture of a class as independent.
    """
    true, predicted = held_out(classifier)
    confusion = confusion_counts(true, predicted, len(classifier.classes))
    found = {}
    for index, (name, recall) in enumerate(zip(classifier.classes, recalls(confusion), strict=True)):
        if classifier.estimate.measured[index]:
            n, right = int(confusion[index].sum()), int(confusion[index, index])
            found[name] = {"n": n, "right": right, "recall": float(recall), "interval": list(jeffreys(float(recall), n))}
    return found


def bins(classifier: Classifier) -> list[dict[str, float]]:
    """Reliability of held-out probabilities: `n`, mean `confidence`, `accuracy` and its interval per bin that holds any."""
    table = reliability(classifier.estimate.probabilities, held_out(classifier)[0])
    found = []
    for n, confidence, right in zip(*table, strict=True):
        if n > 0:
            lower, upper = jeffreys(float(right), float(n))
            found.append(
                {"n": int(n), "confidence": float(confidence), "accuracy": float(right), "lower": lower, "upper": upper}
            )
    return found


def how_measured(classifier: Classifier) -> str:
    """What has to be known about an estimate where the encoder was adapted to pictures; else, and without estimate, ""."""
    seen = len(set(classifier.encoder.seen))
    if not seen:
        return ""
    if classifier.settings.head in GRADIENT_METHODS:
        return "adapted anew for each fold, without the pictures held out" if classifier.estimate.n_folds else ""
    others = len(classifier.support) - len(set(classifier.encoder.seen) & set(classifier.support.ids))
    return f"on the {others} pictures that the encoder was not adapted to; it has seen the other {seen}"


def result_row(classifier: Classifier) -> dict[str, Any]:
    """The row of `fit --json`: fractions in [0, 1], null where not measured.

    ci95 is the radius of the 95 % interval (its longer arm), `interval` the interval itself, [lower, upper].
    """
    honest, found = classifier.estimate, accuracy(classifier)
    true, _ = held_out(classifier)
    return {
        "balanced_accuracy": None if found is None else found.value,
        "ci95": None if found is None else found.radius,
        "interval": None if found is None else [found.lower, found.upper],
        "interval_over": None if found is None else found.over,
        "head": classifier.settings.head,
        "settings": classifier.settings.words(),
        "encoder": classifier.encoder.name,
        "encoder_saw": len(classifier.encoder.seen),
        "measured": how_measured(classifier),
        "only_new_measured": bool(classifier.encoder.seen) and classifier.settings.head not in GRADIENT_METHODS,
        "per_class": per_class(classifier),
        "ece": calibration_error(honest.probabilities, true) if classifier.calibrated else None,
        "reliability": bins(classifier) if classifier.calibrated else [],
        "not_measurable": list(not_measurable(classifier)),
        "calibrated": classifier.calibrated,
        "temperature": classifier.temperature,
        "folds": honest.n_folds,
        "folds_wanted": classifier.request.folds,
        "chosen": [f"{settings.head}: {settings.words()}" for settings in honest.chosen],
        "search": classifier.note or "whole grid",
        "tried": list(classifier.tried),
        "pictures": len(classifier.support),
        "classes": len(classifier.classes),
    }


def _shown(classifier: Classifier, keep: np.ndarray) -> dict[str, np.ndarray]:
    """Up to SHOWN held-out pictures, evenly spread over those of a mask (m,)."""
    thumbnails = classifier.support.thumbnails
    assert thumbnails is not None
    place = np.flatnonzero(keep)
    place = place[np.linspace(0, len(place) - 1, min(SHOWN, len(place))).round().astype(int)] if len(place) else place
    true, predicted = held_out(classifier)
    return {"pixels": thumbnails[classifier.estimate.rows[place]], "labels": true[place], "predictions": predicted[place]}


def _plane(classifier: Classifier) -> dict[str, np.ndarray]:
    """Prepared features (m, D) of the three classes with most pictures, up to LDA_PICTURES each."""
    labels = classifier.labels
    counts = np.bincount(labels, minlength=len(classifier.classes))
    largest = [int(c) for c in np.argsort(-counts, kind="stable")[:LDA_CLASSES] if counts[c] > 1]
    rows = [np.flatnonzero(labels == c)[:LDA_PICTURES] for c in largest]
    if len(largest) < 2:
        return {}
    return {
        "lda_features": classifier.prepared[np.concatenate(rows)],
        "lda_labels": np.repeat(np.arange(len(largest)), [len(row) for row in rows]),
        "lda_classes": np.array([classifier.classes[c] for c in largest]),
    }


def artifacts(classifier: Classifier) -> dict[str, np.ndarray]:
    """Arrays for a report: `classes`, `confusion` (N, N), lda_* (features of three classes) and, unless private, up to 20
    thumbnails of right and of wrong held-out pictures: {right,wrong}_{pixels,labels,predictions}."""
    true, predicted = held_out(classifier)
    found: dict[str, np.ndarray] = {
        "classes": np.array(classifier.classes),
        "confusion": confusion_counts(true, predicted, len(classifier.classes)),
        **_plane(classifier),
    }
    if classifier.support.thumbnails is not None:
        for side, keep in (("right", true == predicted), ("wrong", true != predicted)):
            found |= {f"{side}_{name}": array for name, array in _shown(classifier, keep).items()}
    return found

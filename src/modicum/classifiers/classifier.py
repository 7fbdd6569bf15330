"""A classifier as a value: a pure function of its encoder, of what was asked for, and of a SET of labelled embeddings.

Everything is made from the support set in order of id: folds, choice of head and settings, rule, temperature, estimate of
accuracy, reject scores. So `extend` is a fit on the union and `forget` a fit on what is left, to the bit, in whatever order
pictures came; the encoder is not trained and no picture is read again.

A prediction depends on the picture alone, to the bit, not on the batch it comes in: logits and similarities are summed in
a fixed order (`modicum.similarity`).

An encoder that was itself adapted to pictures (`modicum.classifiers.adapted`) knows which: they measure nothing, and cannot
be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import numpy.typing as npt

from modicum.classifiers.candidates import SCALES, narrowed, search_of
from modicum.classifiers.folds import units_per_class
from modicum.classifiers.learned import LearnedLength
from modicum.classifiers.novelty import Neighbour, known_scores, neighbours, threshold
from modicum.classifiers.rules import LinearRule, Rows, Settings, fit_rule
from modicum.classifiers.seen import require_unseen, seen_by, units_of
from modicum.classifiers.selection import Estimate, Labelled, choose, estimate
from modicum.classifiers.support import Support
from modicum.errors import ConfigError, DataError
from modicum.evaluation.accuracy import Floats, Ints
from modicum.evaluation.calibration import softmax
from modicum.registry import suggest
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

CALIBRATION_PICTURES = 20
"""Held-out pictures from which on probabilities are called calibrated."""
REFUSED = {
    "mct-transductive": "it moves its prototypes by the other pictures of a call, so an answer would depend on them; take "
    "mct, the same learned lengths without that",
    "fine-tune": "it trains the encoder on your pictures, and forgetting one could not equal never having had it; measure "
    "it by `modicum evaluate RUN --head fine-tune`, or take linear, which fits the last layer alone",
}
"""Heads that can be trained or evaluated but make no classifier, and why."""


@dataclass(frozen=True)
class Request:
    """What was asked for. head: a name or "auto"; trained: settings that are taken as they are, without any choice;
    learned: the lengths of a run trained with mct, which the head mct needs."""

    head: str = "auto"
    folds: int = 5
    seed: int = 0
    trained: Settings | None = None
    learned: LearnedLength | None = None

    def __post_init__(self) -> None:
        if self.head in REFUSED:
            raise ConfigError(f"head: {self.head} makes no classifier: {REFUSED[self.head]}")
        if self.head not in SCALES and self.head != "auto":
            known = ", ".join(["auto", *SCALES])
            raise ConfigError(f"head: unknown {self.head!r}{suggest(self.head, [*SCALES, 'auto'])}; known: {known}")
        if self.head == "mct" and self.learned is None:
            raise ConfigError(
                "head: mct has learned lengths, which only a run trained with it holds; give that run (`modicum fit "
                "--encoder RUN`, `modicum adapt RUN`), or take another head"
            )
        if self.folds < 2:
            raise ConfigError(f"folds: expected at least 2, found {self.folds}")


@dataclass(frozen=True)
class EncoderReference:
    """Which encoder made the embeddings: a name for people, and the fingerprint; both "" for plain embeddings.

    seen: ids of the pictures that it was adapted to, sorted.
    """

    name: str = ""
    fingerprint: str = ""
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", tuple(self.seen))  # a list, where it was read from a file


class Prediction(NamedTuple):
    """One picture's answer: `label` None for "none of these", then probability is None too; `top` labels, best first."""

    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...]
    neighbours: tuple[Neighbour, ...]


@final
@dataclass(frozen=True, eq=False)
class Classifier:
    """Support set in, predictions out. Make one with `fit_classifier`, `build_classifier` or `load`.

    classes: names, sorted; the columns of probabilities. temperature: None where no picture could be held out.
    calibrated: whether probabilities deserve the name. estimate: nested cross-validation over `support`. known: sorted
    similarities of known pictures (m,), for rejection. note: how the search was narrowed, "" for the whole grid. tried: the
    heads that were tried, simplest first.
    """

    support: Support
    request: Request
    encoder: EncoderReference
    settings: Settings
    rule: LinearRule
    temperature: float | None
    estimate: Estimate
    known: Floats
    note: str = ""
    tried: tuple[str, ...] = ()

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return self.support.classes

    @cached_property
    def prepared(self) -> Rows:
        """The support's features (n, D) as the rule and the similarities see them."""
        return self.rule.prepare(self.support.features)

    @property
    def calibrated(self) -> bool:
        """Whether probabilities are calibrated, on at least CALIBRATION_PICTURES pictures held out; else they only rank."""
        return self.temperature is not None and self.estimate.calibrated and len(self.estimate.rows) >= CALIBRATION_PICTURES

    @property
    def labels(self) -> Ints:
        """Labels (n,) of the support set as indices into `classes`."""
        return label_numbers(self.support)

    def probabilities(self, features: npt.ArrayLike) -> Floats:
        """Probabilities (or scores, where not `calibrated`) (q, N) of embeddings (q, D); rows sum to 1."""
        return softmax(self.rule.logits(self._checked(features)), self.temperature or 1.0)

    def predict(
        self, features: npt.ArrayLike, *, top: int = 3, reject: float | None = None, count: int = 3
    ) -> list[Prediction]:
        """An answer for each of the embeddings (q, D): `top` labels, `count` nearest support pictures.

        reject: call a picture "none of these" so that at most this share of pictures of known classes is, in 0..1.
        """
        if top < 1 or count < 0:
            raise ConfigError(f"top and neighbours: expected at least 1 and 0, found {top} and {count}")
        x = self._checked(features)
        limit = self.reject_below(reject)
        near = self.neighbours(x, max(count, 1))
        classes = self.classes
        found = []
        for p, nearest in zip(self.probabilities(x), near, strict=True):
            best = [(classes[i], float(p[i])) for i in np.argsort(-p, kind="stable")[:top]]
            known = nearest[0].similarity >= limit
            label, probability = best[0] if known else (None, None)
            found.append(Prediction(label, probability, tuple(best), nearest[:count]))
        return found

    def neighbours(self, features: npt.ArrayLike, count: int) -> list[tuple[Neighbour, ...]]:
        """The nearest support pictures of embeddings (q, D) by cosine of prepared features, equal ones in order of id."""
        query = self.rule.prepare(self._checked(features))
        return neighbours(query, self.prepared, self.support.ids, self.support.labels, count)

    def reject_below(self, rate: float | None) -> float:
        """The similarity to the nearest support picture below which a picture is "none of these"; -inf for None."""
        if rate is None:
            return -np.inf
        if not 0 <= rate < 1:
            raise ConfigError(f"reject: expected a rate from 0 up to, but not including, 1; found {rate}")
        return threshold(self.known, rate)

    def extended(self, more: Support, progress: Progress | None = None) -> Classifier:
        """The classifier of the union of the support sets."""
        return build_classifier(self.support.joined(more), self.request, self.encoder, progress)

    def forgetting(
        self, ids: Sequence[str] = (), class_name: str | None = None, progress: Progress | None = None
    ) -> Classifier:
        """The classifier that never had these pictures or this class."""
        left = self.support.without(ids, class_name)
        require_unseen(self.encoder.seen, self.support, left)
        return build_classifier(left, self.request, self.encoder, progress)

    def save(self, folder: Path | str, encoder: Encoder | None = None) -> Path:
        """Write the classifier's folder, the encoder with it where one is given; `modicum.classifiers.storage` says what."""
        from modicum.classifiers.storage import save_classifier

        return save_classifier(self, folder, encoder)

    @staticmethod
    def load(folder: Path | str) -> Classifier:
        """The classifier of a folder; `FileFormatError` where it is none, damaged, or of another version."""
        from modicum.classifiers.storage import load_classifier

        return load_classifier(folder)

    def _checked(self, features: npt.ArrayLike) -> Rows:
        x = np.ascontiguousarray(features, np.float32)
        width = self.support.features.shape[1]
        if x.ndim != 2 or x.shape[1] != width:
            raise DataError(f"features: expected (q, {width}), found {x.shape}; use the classifier's own encoder")
        if not np.isfinite(x).all():
            raise DataError("features: expected finite numbers, found NaN or infinity")
        return x


def label_numbers(support: Support) -> Ints:
    """Labels (n,) as indices into the sorted class names."""
    place = {name: index for index, name in enumerate(support.classes)}
    return np.array([place[name] for name in support.labels], np.int64)


def build_classifier(
    support: Support, request: Request, encoder: EncoderReference, progress: Progress | None = None
) -> Classifier:
    """The classifier of a support set; `DataError` for fewer than 2 classes."""
    n_classes = len(support.classes)
    if n_classes < 2:
        raise DataError(f"classes: expected at least 2 to tell apart, found {n_classes}: {', '.join(support.classes)}")
    labels, units = label_numbers(support), units_of(support)
    seen = seen_by(encoder.seen, support)
    data = Labelled(support.features, labels, units, n_classes, request.learned, seen)
    search = search_of(request.trained, request.folds) or narrowed(
        len(support), support.features.shape[1], n_classes, request.folds, request.head
    )
    honest = estimate(data, search, request.folds, request.seed, progress)
    choice = choose(data, search.candidates, request.folds, request.seed)
    rule = fit_rule(support.features, labels, n_classes, choice.settings, request.learned)
    several = units_per_class(labels, units, n_classes) > 1
    known = known_scores(rule.prepare(support.features), labels, units, several, seen)
    if progress is not None:
        progress(honest.n_folds + 1, honest.n_folds + 1)
    settings, temperature = choice.settings, choice.temperature
    return Classifier(support, request, encoder, settings, rule, temperature, honest, known, search.note, search.heads)

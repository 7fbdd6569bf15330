"""`FewShotClassifier`: a classifier as a scikit-learn estimator, on embeddings or, with an encoder, on pictures.

It is the same classifier as that of `modicum fit`: heads and settings by nested cross-validation, calibrated
probabilities, `partial_fit` with new classes and `forget` without retraining, both equal to a fit on what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from modicum.classifiers.classifier import Classifier, EncoderReference, Request, build_classifier
from modicum.classifiers.learned import LearnedLength
from modicum.classifiers.rules import Settings
from modicum.classifiers.seen import require_unseen
from modicum.classifiers.support import Support, in_order, support_of

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

_RECORD = "estimator.json"


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Few-shot classifier of embeddings X (n, D), or of pictures where an encoder is given.

    Parameters
    ----------
    head : "auto" | "protonet" | "cosine" | "ridge" | "linear" | "svm" | "metaoptnet-svm" | "metaoptnet-rr" | "r2d2"
        "auto" lets cross-validation choose; a name fixes the head, and its settings are still chosen. "mct" comes from a
        run alone (`modicum adapt`), whose folder `load` reads.
    folds : int
        Outer and inner folds of the nested cross-validation; fewer where classes are small.
    seed : int
        Of the folds.
    encoder : None | str | Path | Encoder
        None: X holds embeddings. Else X holds pictures, uint8 arrays (n, H, W) or (n, H, W, C), or a sequence of paths or
        PIL images; a name is loaded as `modicum.load_encoder` does.

    Attributes
    ----------
    classes_ : labels, sorted. classifier_ : `modicum.Classifier`, whose `estimate` holds the cross-validation.
    n_features_in_ : features of X (embeddings only).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = FewShotClassifier(head="protonet").fit(X[:60], y[:60])
    >>> bool(model.score(X[60:], y[60:]) > 0.7)
    True
    """

    _support: Support
    _labels: dict[str, Any]
    _rows: int
    _trained: Settings | None
    _learned: LearnedLength | None
    _seen: tuple[str, ...]

    def __init__(
        self, head: str = "auto", *, folds: int = 5, seed: int = 0, encoder: str | Path | Encoder | None = None
    ) -> None:
        self.head = head
        self.folds = folds
        self.seed = seed
        self.encoder = encoder

    def fit(self, X: Any, y: Any, *, ids: Sequence[Any] | None = None, groups: Sequence[Any] | None = None) -> Self:
        """Fit to X with labels y (n,). ids (n,): unique names for `forget` (default: row numbers). groups (n,): pictures
        that must be held out together, None or NaN for one that stands alone. `ValueError` for fewer than 2 classes."""
        for name in ("_support", "_labels", "_rows", "_trained", "_learned", "_seen"):
            self.__dict__.pop(name, None)
        self._add(X, y, ids, groups, reset=True)
        if len(self._labels) < 2:
            raise ValueError(f"y: expected at least 2 classes to tell apart, found 1 class: {next(iter(self._labels))}")
        return self._build()

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        ids: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Self:
        """Add pictures, of known classes or new ones; equals `fit` on all of them. classes: if given, labels allowed in y.

        Predictions need 2 classes; rows are numbered on from those already there.
        """
        if classes is not None and not np.isin(np.unique(y), classes).all():
            raise ValueError(f"y: holds labels that classes does not list: {np.setdiff1d(y, classes)[:5]}")
        self._add(X, y, ids, groups, reset=not hasattr(self, "_support"))
        return self._build() if len(self._labels) > 1 else self

    def forget(self, ids: Sequence[Any] = (), *, label: Any = None) -> Self:
        """Remove pictures by id (row numbers, where no ids were given) or a whole class; equals a fit without them.

        `DataError`, and nothing changes, for an unknown id or class, fewer than 2 left, or one the encoder was adapted to.
        """
        check_is_fitted(self, "classifier_")
        left = self._support.without([_id(id_) for id_ in ids], None if label is None else str(label))
        require_unseen(getattr(self, "_seen", ()), self._support, left)
        self._support = left
        self._labels = {name: value for name, value in self._labels.items() if name in self._support.classes}
        return self._build()

    def predict(self, X: Any) -> np.ndarray:
        """Labels (q,) of X."""
        features = self._features(X)
        best = self.classifier_.probabilities(features).argmax(1)
        values = np.array([self._labels[name] for name in self.classifier_.classes], self.classes_.dtype)
        labels: np.ndarray = values[best]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (q, N) in the order of `classes_`; they only rank where `classifier_.calibrated` is False."""
        features = self._features(X)
        return self.classifier_.probabilities(features)[:, self._columns]

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits (q, N) in the order of `classes_`; for two classes their difference (q,), positive for the second."""
        features = self._features(X)
        logits = self.classifier_.rule.logits(features)[:, self._columns]
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def save(self, folder: Path | str) -> Path:
        """Write the folder of a classifier, which `load` and `modicum predict` read; returns it."""
        from modicum.classifiers.storage import save_classifier
        from modicum.files import write_json

        check_is_fitted(self, "classifier_")
        target = save_classifier(self.classifier_, folder, self._encoder())
        kind = "object" if self.classes_.dtype == object else self.classes_.dtype.str
        write_json(target / _RECORD, {"kind": "estimator", "labels": kind, "rows": self._rows})
        return target

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The estimator of a folder that `save` or `modicum fit` wrote (labels are then class names)."""
        from modicum.classifiers.storage import load_classifier, load_encoder_of
        from modicum.files import read_json

        classifier = load_classifier(folder)
        record: dict[str, Any] = {"labels": "object", "rows": 0}
        if (Path(folder) / _RECORD).is_file():
            record = read_json(Path(folder) / _RECORD)
        encoder = load_encoder_of(folder, classifier) if classifier.encoder.fingerprint else None
        request = classifier.request
        found = cls(request.head, folds=request.folds, seed=request.seed, encoder=encoder)
        kind = np.dtype(record["labels"])
        found._support, found._rows = classifier.support, record["rows"]
        found._trained, found._learned, found._seen = request.trained, request.learned, classifier.encoder.seen
        found._labels = {name: _parsed(name, kind) for name in classifier.classes}
        if encoder is None:
            found.n_features_in_ = classifier.support.features.shape[1]
        return found._adopt(classifier)

    def _add(self, X: Any, y: Any, ids: Any, groups: Any, *, reset: bool) -> None:
        """Check rows and join them to the support set."""
        if self.encoder is None:
            X, y = validate_data(self, X, y, dtype=[np.float32, np.float64], reset=reset)
        else:
            X, y = self._embed(X), column_or_1d(y)
        check_classification_targets(y)
        start = 0 if reset else self._rows
        names = [_id(i) for i in range(start, start + len(y))] if ids is None else [_id(i) for i in ids]
        labels = {str(value): value for value in np.unique(y)}
        together = () if groups is None else [_group(value) for value in groups]
        more = support_of(X, [str(value) for value in y], names, (), together)
        self._support = in_order(more if reset else self._support.joined(more))
        self._labels = labels if reset else {**self._labels, **labels}
        self._rows = start + len(y)

    def _build(self) -> Self:
        asked = getattr(self, "_trained", None), getattr(self, "_learned", None)
        request = Request(self.head, self.folds, self.seed, *asked)
        encoder = replace(self._reference(), seen=getattr(self, "_seen", ()))
        return self._adopt(build_classifier(self._support, request, encoder))

    def _adopt(self, classifier: Classifier) -> Self:
        self.classifier_ = classifier
        self.classes_ = np.unique(np.array([self._labels[name] for name in classifier.classes]))
        place = {name: column for column, name in enumerate(classifier.classes)}
        self._columns = [place[str(value)] for value in self.classes_]
        return self

    def _features(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "classifier_")
        if self.encoder is None:
            checked: np.ndarray = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
            return checked
        return self._embed(X)

    def _encoder(self) -> Encoder | None:
        """The encoder itself; a name is loaded once."""
        if self.encoder is None:
            return None
        if not isinstance(self.encoder, str | Path):
            return self.encoder
        if getattr(self, "_loaded", ("", None))[0] != str(self.encoder):
            from modicum.models import load_encoder

            self._loaded = (str(self.encoder), load_encoder(self.encoder))
        encoder: Encoder = self._loaded[1]
        return encoder

    def _reference(self) -> EncoderReference:
        from modicum.classifiers.fitting import reference

        encoder = self._encoder()
        if encoder is None:
            return EncoderReference()
        return reference(encoder, str(self.encoder) if isinstance(self.encoder, str | Path) else encoder.name)

    def _embed(self, pictures: Any) -> np.ndarray:
        from modicum.classifiers.picture_input import pixels_of
        from modicum.models import embed

        encoder = self._encoder()
        assert encoder is not None
        return embed(encoder, pixels_of(pictures, encoder.spec.size, encoder.spec.channels))


def _id(value: Any) -> str:
    """Row numbers are padded, so that their order as text is their order as numbers."""
    return f"{value:08d}" if isinstance(value, int | np.integer) else str(value)


def _group(value: Any) -> str | None:
    """The name of a group; None for None, NaN and pandas' NA, which are no group."""
    try:
        return None if value is None or bool(value != value) else str(value)  # NaN differs from itself
    except TypeError:  # pandas' NA, which does not say whether it does
        return None


def _parsed(name: str, kind: np.dtype[Any]) -> Any:
    """A label from the name of its class."""
    if kind.kind in "OUS":
        return name
    return kind.type({"True": True, "False": False}.get(name, name)) if kind.kind == "b" else kind.type(name)

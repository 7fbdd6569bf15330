"""The scikit-learn face: scikit-learn's own checks, and equality with the classifier behind it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.classifiers.classifier import EncoderReference, Request, build_classifier
from modicum.classifiers.storage import load_classifier
from modicum.classifiers.support import support_of
from modicum.errors import ConfigError, DataError
from modicum.estimator import FewShotClassifier


@parametrize_with_checks([FewShotClassifier()])
def test_scikit_learns_checks(estimator: FewShotClassifier, check) -> None:
    check(estimator)


def _digits(n: int = 60, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return x[start : start + n], y[start : start + n]


def test_predictions_are_those_of_the_classifier() -> None:
    (x, y), (query, _) = _digits(), _digits(20, 100)
    model = FewShotClassifier(folds=3, seed=4).fit(x, y)
    support = support_of(x, [str(v) for v in y], [f"{i:08d}" for i in range(60)])
    classifier = build_classifier(support, Request("auto", 3, 4), EncoderReference())
    assert (model.predict_proba(query) == classifier.probabilities(query)).all()
    assert [str(label) for label in model.predict(query)] == [p.label for p in classifier.predict(query)]


def test_new_classes_arrive_and_pictures_are_forgotten_as_if_they_had_never_been() -> None:
    (x, y), (query, _) = _digits(), _digits(20, 100)
    few = y < 5
    kept = FewShotClassifier("protonet").fit(x[few], y[few])
    model = FewShotClassifier("protonet").partial_fit(x[few], y[few])
    assert model.classes_.tolist() == [0, 1, 2, 3, 4]
    before = model.predict_proba(query)
    model.partial_fit(x[~few], y[~few])
    assert model.classes_.tolist() == list(range(10))
    whole = FewShotClassifier("protonet").fit(np.r_[x[few], x[~few]], np.r_[y[few], y[~few]])
    assert (model.predict_proba(query) == whole.predict_proba(query)).all()
    model.forget(range(few.sum(), 60))  # by row number
    assert (model.predict_proba(query) == kept.predict_proba(query)).all()
    assert (before == kept.predict_proba(query)).all()
    model.forget(label=3)
    assert model.classes_.tolist() == [0, 1, 2, 4]
    with pytest.raises(DataError, match="no picture '99'"):
        model.forget(["99"])


def test_one_class_first_and_another_later() -> None:
    x, y = _digits()
    model = FewShotClassifier("cosine").partial_fit(x[y == 7], y[y == 7])
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(x[:1])
    model.partial_fit(x[y == 1], y[y == 1])
    assert set(model.predict(x)) <= {1, 7}
    with pytest.raises(ValueError, match="classes does not list"):
        model.partial_fit(x[:10], y[:10], classes=[1, 7])
    with pytest.raises(ValueError, match="at least 2 classes"):
        FewShotClassifier().fit(x[y == 7], y[y == 7])


@pytest.mark.parametrize("labels", [np.arange(3), np.array(["b", "a", "c"]), np.array([10.0, 2.0, 30.0]), [3, 20, 100]])
def test_labels_keep_their_type_and_order_through_a_file(labels: np.ndarray, tmp_path: Path) -> None:
    """Classes of a classifier are sorted as text ("100" before "20"), those of an estimator as what they are."""
    rng = np.random.default_rng(0)
    y = np.asarray(labels)[np.arange(30) % 3]
    x = rng.normal(size=(30, 4)) + 5 * np.eye(4)[np.arange(30) % 3]
    model = FewShotClassifier("protonet").fit(x, y)
    assert model.classes_.tolist() == sorted(set(y.tolist()))
    assert (model.predict(x) == y).all()
    assert (model.classes_[model.predict_proba(x).argmax(1)] == y).all()
    again = FewShotClassifier.load(model.save(tmp_path / "classifier"))
    assert again.classes_.dtype == model.classes_.dtype
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert (again.partial_fit(x[:1] + 1, y[:1]).classifier_.support.ids[-1]) == "00000030"


def test_groups_are_held_out_together() -> None:
    """Every label-mate of a picture shares its group, so nothing can be measured; without groups all could."""
    x, y = _digits()
    assert FewShotClassifier("protonet").fit(x, y).classifier_.estimate.measured.all()
    grouped = FewShotClassifier("protonet").fit(x, y, groups=y)
    assert not grouped.classifier_.estimate.measured.any()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_encoder("conv4-32", ImageSpec(28, 1)).eval()


def test_pictures_as_arrays_paths_and_images_are_the_same_to_the_bit(encoder: Encoder, tmp_path: Path) -> None:
    from PIL import Image

    x, y = _digits(30)
    pixels = (x.reshape(-1, 8, 8) * 15.9).astype(np.uint8)
    images = [Image.fromarray(picture) for picture in pixels]
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for path, image in zip(paths, images, strict=True):
        image.save(path)
    model = FewShotClassifier("protonet", encoder=encoder).fit(pixels, y)
    expected = model.predict_proba(pixels)
    for same in (pixels[..., None], paths, [str(path) for path in paths], images, list(pixels)):
        assert (model.predict_proba(same) == expected).all()
    assert (model.predict(pixels) == y).mean() > 0.7
    target = model.save(tmp_path / "classifier")
    assert (FewShotClassifier.load(target).predict_proba(paths) == expected).all()
    assert load_classifier(target).encoder.fingerprint


def test_what_is_no_picture_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    model = FewShotClassifier(encoder=encoder)
    with pytest.raises(DataError, match="expected uint8 pictures"):
        model.fit(np.zeros((4, 64)), [0, 0, 1, 1])
    with pytest.raises(DataError, match="found int"):
        model.fit([1, 2], [0, 1])
    with pytest.raises(DataError, match="no such file"):
        model.fit([tmp_path / "missing.png", tmp_path / "missing.png"], [0, 1])


def test_a_trained_head_is_kept_when_its_classifier_grows(tmp_path: Path) -> None:
    from modicum.classifiers.rules import Settings

    (x, y), trained = _digits(), Settings("r2d2", "none", penalty=9.0, relative=False)
    support = support_of(x[:40], [str(v) for v in y[:40]], [f"{i:08d}" for i in range(40)])
    build_classifier(support, Request("r2d2", trained=trained), EncoderReference()).save(tmp_path / "adapted")
    model = FewShotClassifier.load(tmp_path / "adapted").partial_fit(x[40:], [str(v) for v in y[40:]], ids=range(40, 60))
    assert model.classifier_.settings == trained
    assert len(model.classifier_.support) == 60


def test_the_lengths_of_mct_are_kept_and_refused_without_a_run(tmp_path: Path) -> None:
    """Loaded from a classifier's folder, mct grows and forgets; from nothing it cannot be fitted."""
    from modicum.adaptation.mct import MCTHead
    from modicum.classifiers.learned import learned_length

    (x, y), learned = _digits(), learned_length(MCTHead(64).metric)
    support = support_of(x[:50], [str(v) for v in y[:50]], [f"{i:08d}" for i in range(50)])
    build_classifier(support, Request("mct", learned=learned), EncoderReference()).save(tmp_path / "adapted")
    model = FewShotClassifier.load(tmp_path / "adapted")
    before = model.classifier_.rule.logits(x[:5])
    assert (model.forget([49]).classifier_.rule.logits(x[:5]) != before).any()
    again = model.partial_fit(x[49:50], y[49:50].astype(str), ids=[49])
    assert (again.classifier_.rule.logits(x[:5]) == before).all()
    with pytest.raises(ConfigError, match="only a run trained with it holds"):
        FewShotClassifier("mct").fit(x[:50], y[:50])


def test_no_group_is_not_a_group() -> None:
    x, y = _digits()
    some = ["g" if i < 4 else None for i in range(60)]
    alone = [float("nan"), np.float64("nan"), np.float32("nan"), None]
    model = FewShotClassifier("protonet", folds=2).fit(x, y, groups=some)
    assert model.classifier_.support.groups == ("g",) * 4 + (None,) * 56
    numbers = np.array([7.0] * 4 + [np.nan] * 56)
    other = FewShotClassifier("protonet", folds=2).fit(x, y, groups=numbers)
    assert other.classifier_.support.groups == ("7.0",) * 4 + (None,) * 56
    plain = FewShotClassifier("protonet", folds=2).fit(x, y, groups=[alone[i % 4] for i in range(60)])
    assert plain.classifier_.support.groups == (None,) * 60
    assert (
        plain.classifier_.estimate.n_folds == FewShotClassifier("protonet", folds=2).fit(x, y).classifier_.estimate.n_folds
    )

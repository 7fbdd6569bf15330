"""Classifiers of adapted networks: the same logits, an estimate without hindsight, what extend and forget do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.methods import gradient_learner, moving
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import AbstractStart, PrototypeStart, SharedStart
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.classifiers.adapted import Pictures, adapt_classifier, adapted_network, held_out
from modicum.classifiers.classifier import Classifier
from modicum.classifiers.fitting import extend_classifier
from modicum.classifiers.results import held_out as measured_by
from modicum.classifiers.results import result_row
from modicum.classifiers.storage import _packed, load_classifier, load_encoder_of, save_classifier
from modicum.commands.fitted import show
from modicum.configs import BatchNorm, Train
from modicum.data.picture_set import PictureSet
from modicum.episodes.cutting import gather
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError
from modicum.estimator import FewShotClassifier
from modicum.models import embed, fingerprint


def learner(
    ways: int = 3, mode: BatchNorm = "support", start: AbstractStart | None = None, rate: float = 0.3, steps: int = 2
) -> GradientLearner:
    torch.manual_seed(0)
    network = LinearNetwork(build_encoder("conv4-32", ImageSpec(16, 1, strokes="light")), ways)
    moves, rule = moving(network, "all"), PlainRule(rate)
    return GradientLearner(network, start or SharedStart(), rule, moves, ways, steps=steps, batch_norm=mode)


def handwriting(counts: dict[int, int], first: int = 0) -> PictureSet:
    """So many pictures of each digit, from the `first` on, enlarged to 16 x 16."""
    bunch, pixels, labels, ids = load_digits(), [], [], []
    for place, (digit, count) in enumerate(sorted(counts.items())):
        chosen = np.flatnonzero(bunch.target == digit)[first : first + count]
        pixels.append((bunch.images[chosen] * 15.9).astype(np.uint8).repeat(2, 1).repeat(2, 2)[..., None])
        labels += [place] * count
        ids += [f"{digit}/{i:04d}" for i in chosen]
    return PictureSet(np.concatenate(pixels), np.array(labels), tuple(map(str, sorted(counts))), tuple(ids), name="digits")


def adapted_logits(by: GradientLearner, pictures: PictureSet, queries: np.ndarray) -> np.ndarray:
    """What the adapted network itself says, in one pass."""
    support = LabelledSet(gather(pictures.pixels, np.arange(len(pictures))), torch.from_numpy(pictures.labels))
    found = by.adapt(support, len(pictures.classes))(gather(queries, np.arange(len(queries))))
    return found.detach().numpy()


PICTURES = handwriting({0: 5, 1: 5, 2: 5})
NEW = handwriting({0: 4, 1: 4, 2: 4}, first=20)


@pytest.fixture(scope="module")
def made() -> tuple[Classifier, object]:
    """A classifier of five pictures of three digits, and its encoder."""
    return adapt_classifier(PICTURES, learner(), method="maml", name="run", folds=2)


@pytest.mark.parametrize("mode", ["support", "running"])
def test_logits_are_those_of_the_adapted_network(mode: BatchNorm, tmp_path: Path) -> None:
    """Also after saving; and the meta-learned start is not what it predicts with."""
    by = learner(mode=mode)
    before = fingerprint(by.encoder)
    classifier, encoder = adapt_classifier(PICTURES, by, method="maml", folds=2)
    assert fingerprint(by.encoder) == before != fingerprint(encoder)
    save_classifier(classifier, tmp_path / "made", encoder)
    loaded = load_classifier(tmp_path / "made")
    logits = loaded.rule.logits(embed(load_encoder_of(tmp_path / "made", loaded), NEW.pixels))
    assert logits == pytest.approx(adapted_logits(by, PICTURES, NEW.pixels), abs=1e-4)
    assert (logits == classifier.rule.logits(embed(encoder, NEW.pixels))).all()
    assert loaded.encoder.seen == tuple(sorted(PICTURES.ids))


@pytest.mark.parametrize("method", ["maml++", "meta-sgd", "anil", "boil", "l2f", "alfa", "reptile"])
def test_the_network_of_every_method_becomes_encoder_and_rule(method: str) -> None:
    """Also where batch norm has parameters of its own for each step."""
    config = Train(data="", out="", method=method, ways=3, inner_steps=2, inner_rate=0.1)
    torch.manual_seed(0)
    by = gradient_learner(config, LinearNetwork(build_encoder("conv4-32", ImageSpec(16, 1, strokes="light")), 3), 3)
    if by.norms is not None:
        for rows in by.norms.parameters():
            torch.nn.init.uniform_(rows, 0.5, 1.5)
    network = adapted_network(by, Pictures(PICTURES.pixels, PICTURES.labels, np.arange(15), 3))
    expected = adapted_logits(by, PICTURES, NEW.pixels)
    assert network.look(NEW.pixels)[1] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_order_of_pictures_does_not_matter(made: tuple[Classifier, object]) -> None:
    order = np.random.default_rng(0).permutation(len(PICTURES))
    shuffled = replace(
        PICTURES, pixels=PICTURES.pixels[order], labels=PICTURES.labels[order], ids=tuple(PICTURES.ids[i] for i in order)
    )
    (mine, record), (theirs, other) = (
        _packed(c) for c in (made[0], adapt_classifier(shuffled, learner(), method="maml", name="run", folds=2)[0])
    )
    assert record == other
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_every_fold_is_adapted_anew_without_its_pictures() -> None:
    """Reference: one adaptation by hand for every fold; the class with one picture competes and is never held out."""
    pictures, by = handwriting({0: 4, 1: 4, 2: 1}), learner()
    data = Pictures(pictures.pixels, pictures.labels, np.arange(9), 3)
    found = held_out(by, data, 2, 0, lambda: None)
    assert found.folds[8] == -1
    assert found.measured.tolist() == [True, True, False]
    for fold in range(2):
        held = found.folds == fold
        expected = adapted_logits(by, pictures.subset(~held), pictures.pixels[held])
        assert found.logits[held] == pytest.approx(expected, abs=1e-4)


def test_a_class_that_a_fold_takes_away_entirely_is_out_of_competition_there() -> None:
    """Two pictures of one group are the whole of class 2: held out with a picture of class 0, nothing of class 2 is left."""
    pictures, by = handwriting({0: 3, 1: 3, 2: 2}), learner()
    units = np.array([0, 1, 2, 3, 4, 0, 5, 0])  # picture 7 of class 2 goes with pictures 0 and 5
    found = held_out(by, Pictures(pictures.pixels, pictures.labels, units, 3), 2, 0, lambda: None)
    both = found.folds[6] == found.folds[7]
    gone = found.logits[found.folds == found.folds[7], 2]
    assert (gone == -np.inf).all() == both


def test_the_estimate_of_labels_drawn_by_lot_is_chance_though_the_network_knows_its_pictures_by_heart() -> None:
    """Heads measured on the adapted embeddings would call it good: that estimate is printed by nobody."""
    rng = np.random.default_rng(3)
    pictures = handwriting({0: 8, 1: 8})
    pictures = replace(pictures, labels=rng.permutation(pictures.labels))
    classifier, _ = adapt_classifier(pictures, learner(2, rate=0.1, steps=20), method="maml", folds=2)
    assert (classifier.probabilities(classifier.support.features).argmax(1) == classifier.labels).mean() > 0.95
    true, predicted = measured_by(classifier)
    assert len(true) == 16
    assert (true == predicted).mean() < 0.7
    assert classifier.known.max() < 1 - 1e-6  # no picture is its own neighbour


def test_one_picture_of_each_class_makes_a_classifier_that_claims_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    classifier, encoder = adapt_classifier(handwriting({0: 1, 1: 1, 2: 1}), learner(), method="maml")
    assert len(classifier.predict(embed(encoder, NEW.pixels))) == 12
    assert (classifier.temperature, classifier.calibrated, len(classifier.known)) == (None, False, 0)
    show(result_row(classifier))
    shown = " ".join(capsys.readouterr().out.split())
    assert "unknown: no class has two pictures (or groups) of which one could be held out probabilities" in shown
    assert "not measurable (one picture or group only; the classifier" in shown


def test_extend_keeps_the_encoder_and_measures_on_what_it_has_not_seen(made: tuple[Classifier, object]) -> None:
    classifier, encoder = made
    assert result_row(classifier)["measured"] == "adapted anew for each fold, without the pictures held out"
    more = handwriting({1: 4, 5: 4}, first=30)
    wider = extend_classifier(classifier, more, encoder)  # type: ignore[arg-type]
    assert wider.classes == ("0", "1", "2", "5")
    assert wider.encoder == classifier.encoder
    assert {wider.support.ids[i] for i in wider.estimate.rows} == set(more.ids)
    row = result_row(wider)
    assert row["measured"] == "on the 8 pictures that the encoder was not adapted to; it has seen the other 15"
    assert row["not_measurable"] == ["0", "2"]
    assert len(wider.known) == 8
    assert not wider.calibrated


def test_a_seen_picture_cannot_be_forgotten_a_new_one_can(made: tuple[Classifier, object], tmp_path: Path) -> None:
    classifier, encoder = made
    for wanted in ({"ids": [PICTURES.ids[0]]}, {"class_name": "1"}):
        with pytest.raises(DataError, match=r"the encoder was adapted to \d of these pictures .* Adapt anew"):
            classifier.forgetting(**wanted)  # type: ignore[arg-type]
    more = handwriting({5: 2}, first=30)
    wider = extend_classifier(classifier, more, encoder)  # type: ignore[arg-type]
    less = wider.forgetting(more.ids[:1])
    assert set(less.support.ids) == {*PICTURES.ids, more.ids[1]}
    save_classifier(classifier, tmp_path / "made", encoder)  # type: ignore[arg-type]
    estimator = FewShotClassifier.load(tmp_path / "made")
    with pytest.raises(DataError, match="nothing was forgotten"):
        estimator.forget([PICTURES.ids[0]])
    assert len(estimator.classifier_.support) == 15
    extended = estimator.partial_fit(more.pixels, ["5", "5"], ids=more.ids)
    assert {extended.classifier_.support.ids[i] for i in extended.classifier_.estimate.rows} == set(more.ids)


def test_another_number_of_classes_is_refused_by_number_unless_the_learner_takes_any() -> None:
    pictures = handwriting({0: 3, 1: 3})
    with pytest.raises(ConfigError, match=r"has 2 classes, but run was trained on tasks of 3 .* proto-maml.* fit DIR"):
        adapt_classifier(pictures, learner(3), method="maml", name="run")
    by = learner(3, start=PrototypeStart())
    classifier, encoder = adapt_classifier(pictures, by, method="proto-maml", folds=2)
    two = handwriting({0: 4, 1: 4}, first=20)
    logits = classifier.rule.logits(embed(encoder, two.pixels))
    assert logits == pytest.approx(adapted_logits(by, pictures, two.pixels), abs=1e-3)
    with pytest.raises(ConfigError, match="depends on the other pictures"):
        adapt_classifier(pictures, learner(2, mode="batch"), method="maml")

"""A classifier is a pure function of a SET of pictures; predictions, rejection, calibration."""

import numpy as np
import pytest

from modicum.classifiers.classifier import Classifier, EncoderReference, Request, build_classifier
from modicum.classifiers.learned import learned_length
from modicum.classifiers.results import result_row
from modicum.classifiers.rules import Settings
from modicum.classifiers.storage import _packed
from modicum.classifiers.support import Support
from modicum.errors import ConfigError, DataError

NO_ENCODER = EncoderReference()


def _built(support: Support, request: Request | None = None) -> Classifier:
    return build_classifier(support, request or Request(folds=3), NO_ENCODER)


def _same(a: Classifier, b: Classifier) -> bool:
    """Equal to the bit in everything that is saved."""
    (mine, record), (theirs, other) = _packed(a), _packed(b)
    equal = all(np.array_equal(mine[name], theirs[name]) and mine[name].dtype == theirs[name].dtype for name in mine)
    return mine.keys() == theirs.keys() and record == other and equal


def _shuffled(support: Support, seed: int) -> Support:
    """The same pictures handed over in another order."""
    from modicum.classifiers.support import support_of

    order = np.random.default_rng(seed).permutation(len(support))
    thumbnails = None if support.thumbnails is None else support.thumbnails[order]
    columns = [[column[i] for i in order] for column in (support.labels, support.ids, support.digests, support.groups)]
    return support_of(support.features[order], *columns, thumbnails)


def test_the_order_of_pictures_does_not_matter(support) -> None:
    pictures = support([8, 6, 5])
    assert _same(_built(pictures), _built(_shuffled(pictures, 1)))


@pytest.mark.parametrize("grouped", [0, 2])
def test_extend_equals_a_fit_on_the_union(support, grouped: int) -> None:
    """More pictures of old classes and a new class, in two steps and in either order."""
    first = support([8, 6, 0], pictures_per_group=grouped)
    second = support([3, 0, 5], seed=1, start=100, pictures_per_group=grouped)
    third = support([0, 1, 0], seed=2, start=200, pictures_per_group=grouped)
    whole = _built(first.joined(second).joined(third))
    assert _same(_built(first).extended(second).extended(third), whole)
    assert _same(_built(first).extended(_shuffled(third, 3)).extended(_shuffled(second, 4)), whole)
    assert _same(whole.extended(third), whole)  # what is there already changes nothing


def test_forget_equals_never_had(support) -> None:
    first, second = support([8, 6, 4]), support([3, 0, 0, 5], seed=1, start=100)
    plain, more = _built(first), _built(first.joined(second))
    assert _same(more.forgetting(second.ids), plain)
    assert _same(
        more.forgetting(class_name="c3").forgetting([id_ for id_ in second.ids if id_ in more.support.ids][:3]), plain
    )
    assert _same(_built(support([8, 6, 4])).forgetting(class_name="c1"), _built(first.without(class_name="c1")))


@pytest.mark.parametrize("head", ["linear", "svm", "metaoptnet-svm", "metaoptnet-rr"])
def test_extend_and_forget_with_every_head(support, head: str) -> None:
    """To the bit, in whatever order pictures came: solvers that stop at a tolerance see rows in order of id."""
    request = Request(head, 2)
    first, second = support([7, 6, 4]), support([3, 0, 0, 4], seed=1, start=100)
    plain, both = _built(first, request), _built(first.joined(second), request)
    assert _same(plain.extended(_shuffled(second, 1)), both)
    assert _same(both.forgetting(second.ids), plain)
    assert {s.head for s in both.estimate.chosen} == {head} == set(both.tried)


@pytest.mark.parametrize("head", ["linear", "svm", "metaoptnet-svm", "mct"])
def test_no_head_sees_the_batch(support, mct, head: str) -> None:
    learned = learned_length(mct(130).metric) if head == "mct" else None
    classifier = _built(support([9, 7, 5], dims=130), Request(head, 2, learned=learned))
    query = support([20, 20, 20], dims=130, seed=5).features
    together = classifier.predict(query, reject=0.1)
    assert together == [classifier.predict(query[i : i + 1], reject=0.1)[0] for i in range(60)]


def test_the_lengths_of_mct_are_the_runs_and_stay(support, mct) -> None:
    """They are no part of the support: extend and forget keep them, and give the bits of a fit."""
    request = Request("mct", 2, learned=learned_length(mct(6).metric))
    first, second = support([7, 6, 4]), support([3, 0, 0, 4], seed=1, start=100)
    plain, both = _built(first, request), _built(first.joined(second), request)
    assert _same(plain.extended(second), both)
    assert _same(both.forgetting(second.ids), plain)
    lengths = np.sqrt((both.prepared.astype(np.float64) ** 2).sum(1))
    assert np.ptp(lengths) > 0.05
    means = np.stack([both.support.features[both.labels == k].mean(0) for k in range(4)])
    phi = both.request.learned
    assert phi is not None
    expected = -((phi(second.features)[:, None] - phi(means)[None]) ** 2).sum(2)
    found = both.rule.logits(second.features)
    assert np.diff(found) == pytest.approx(np.diff(expected), abs=1e-4)


def test_forgetting_reaches_every_number(support) -> None:
    """One picture less changes folds, rule, estimate and reject scores, and its bytes are nowhere left."""
    old = _built(support([8, 6, 5]))
    gone = old.support.ids[3]
    new = old.forgetting([gone])
    needle = old.support.features[3].tobytes()
    arrays, record = _packed(new)
    assert gone not in str(record)
    assert not any(needle in array.tobytes() for array in arrays.values())
    assert old.support.thumbnails[3].tobytes() not in arrays["thumbnails"].tobytes()
    assert len(new.known) == len(old.known) - 1


def test_a_prediction_does_not_depend_on_its_batch(support) -> None:
    classifier, query = _built(support([9, 7, 5], dims=130)), support([20, 20, 20], dims=130, seed=5).features
    together = classifier.predict(query, reject=0.1)
    assert together == [classifier.predict(query[i : i + 1], reject=0.1)[0] for i in range(60)]
    assert together[::-1] == classifier.predict(query[::-1], reject=0.1)


def test_answers(support) -> None:
    classifier = _built(support([9, 7, 5], apart=6.0))
    known = classifier.support
    answer = classifier.predict(known.features[:1], top=5, count=2)[0]
    assert answer.label == "c0" == answer.top[0][0]
    assert answer.probability == answer.top[0][1]
    assert sum(p for _, p in answer.top) == pytest.approx(1)
    assert [p for _, p in answer.top] == sorted((p for _, p in answer.top), reverse=True)
    assert answer.neighbours[0].id == known.ids[0]  # itself is in the support and is not left out
    assert answer.neighbours[0].similarity == pytest.approx(1)
    assert answer.neighbours[1].label == "c0"
    assert classifier.predict(known.features[:1], count=0)[0].neighbours == ()


def test_none_of_these(support) -> None:
    """Pictures along a direction that no class has; at rate 0.1 few of the known ones are called so."""
    classifier = _built(support([40, 40, 40], dims=8, apart=3.0))
    strange = -10 * np.sum([classifier.support.features[i * 40] for i in range(3)], axis=0, keepdims=True)
    assert classifier.predict(strange, reject=0.1)[0].label is None
    assert classifier.predict(strange, reject=0.1)[0].probability is None
    assert classifier.predict(strange)[0].label is not None
    new = support([200, 200, 200], dims=8, apart=3.0, seed=7).features
    assert np.mean([answer.label is None for answer in classifier.predict(new, reject=0.1)]) < 0.16
    assert classifier.reject_below(0.001) == -np.inf


def test_calibrated_probabilities_are_right_as_often_as_they_say(support) -> None:
    classifier = _built(support([60, 60, 60], apart=0.8))
    new = support([1000, 1000, 1000], apart=0.8, seed=3)
    p = classifier.probabilities(new.features)
    right = np.array([classifier.classes[i] for i in p.argmax(1)]) == np.array(new.labels)
    assert classifier.calibrated
    assert p.max(1).mean() == pytest.approx(right.mean(), abs=0.05)


def test_the_estimate_is_that_of_new_pictures(support) -> None:
    """Balanced accuracy on 3,000 new pictures lies in the interval of the nested cross-validation."""
    classifier = _built(support([40, 30, 20], apart=0.8))
    new = support([1000, 1000, 1000], apart=0.8, seed=3)
    guess = np.array([answer.label for answer in classifier.predict(new.features, count=0)])
    row = result_row(classifier)
    lower, upper = row["interval"]
    assert lower < np.mean(guess == np.array(new.labels)) < upper
    assert row["balanced_accuracy"] + row["ci95"] >= upper
    assert row["tried"] == ["protonet", "cosine", "ridge", "linear", "svm", "metaoptnet-svm"]


@pytest.mark.parametrize(("counts", "calibrated"), [([2, 2], False), ([1, 5, 5], False), ([1, 1], False), ([12, 12], True)])
def test_few_pictures(support, counts: list[int], calibrated: bool) -> None:
    classifier = _built(support(counts, apart=6.0))
    assert classifier.calibrated is calibrated
    assert [a.label for a in classifier.predict(classifier.support.features)] == list(classifier.support.labels)
    row = result_row(classifier)
    assert (row["balanced_accuracy"] is None) == (counts == [1, 1])
    assert row["folds"] == {(2, 2): 2, (1, 5, 5): 3, (1, 1): 0, (12, 12): 3}[tuple(counts)]  # 3 wanted, fewer if need be
    assert (row["ece"] is None) == (not calibrated)
    assert row["not_measurable"] == [f"c{i}" for i, n in enumerate(counts) if n == 1]
    assert set(row["per_class"]) == {f"c{i}" for i, n in enumerate(counts) if n > 1}


def test_a_trained_head_is_taken_as_it_is(support) -> None:
    trained = Settings("r2d2", "none", penalty=3.0, relative=False, scale=7.0)
    classifier = _built(support([8, 6, 5]), Request("r2d2", 3, trained=trained))
    assert classifier.settings is trained
    assert set(classifier.estimate.chosen) == {trained}


def test_wrong_use_is_refused_with_a_hint(support) -> None:
    classifier = _built(support([3, 3]), Request("protonet"))
    with pytest.raises(ConfigError, match=r"head: unknown 'protonett' \(did you mean 'protonet'\?\)"):
        Request("protonett")
    with pytest.raises(ConfigError, match="head: mct has learned lengths, which only a run trained with it holds"):
        Request("mct")
    with pytest.raises(ConfigError, match=r"head: mct-transductive makes no classifier: .* take mct"):
        Request("mct-transductive")
    with pytest.raises(ConfigError, match=r"head: fine-tune makes no classifier: .*evaluate RUN --head fine-tune"):
        Request("fine-tune")
    with pytest.raises(ConfigError, match="folds: expected at least 2"):
        Request(folds=1)
    with pytest.raises(DataError, match=r"expected \(q, 6\)"):
        classifier.predict(np.zeros((1, 7)))
    with pytest.raises(DataError, match="NaN"):
        classifier.predict(np.full((1, 6), np.nan))
    with pytest.raises(ConfigError, match="reject: expected a rate"):
        classifier.predict(np.zeros((1, 6)), reject=1.0)
    with pytest.raises(ConfigError, match="top"):
        classifier.predict(np.zeros((1, 6)), top=0)
    with pytest.raises(DataError, match="at least 2 to tell apart, found 1"):
        _built(support([5]))

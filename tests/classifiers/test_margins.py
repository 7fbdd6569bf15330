"""The heads that minimise a loss: against an independent solver, against the loss itself, and at the edges."""

import numpy as np
import pytest

from modicum.classifiers import margins
from modicum.classifiers.margins import MARGINS, MarginPath
from modicum.classifiers.rules import row_weights


def _data(n: int = 30, dims: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    return rng.normal(size=(n, dims)) + labels[:, None] * 0.3, labels


def _objective(head: str, x: np.ndarray, labels: np.ndarray, s: np.ndarray, c: float, w: np.ndarray, b: np.ndarray) -> float:
    """The module's formulas, picture by picture."""
    total = 0.5 * ((w * w).sum() + (b * b).sum())
    for row, y, weight in zip(x, labels, s, strict=True):
        o = row @ w + b
        if head == "linear":
            total += c * weight * (np.log(np.exp(o).sum()) - o[y])
        elif head == "svm":
            total += c * weight * sum(max(0.0, 1 - (1 if k == y else -1) * v) ** 2 for k, v in enumerate(o))
        else:
            total += c * weight * max((k != y) + v - o[y] for k, v in enumerate(o))
    return float(total)


@pytest.mark.parametrize("head", MARGINS)
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("dims", [6, 50])  # more pictures than features, and fewer
@pytest.mark.parametrize("c", [0.1, 10.0])
def test_no_other_weights_are_better(head: str, balanced: bool, dims: int, c: float) -> None:
    """The problems are convex: a minimum along 40 random directions, at two lengths each, is the minimum."""
    x, labels = _data(dims=dims)
    weights = row_weights(labels, 3, balanced)
    s = np.ones(len(x)) if weights is None else weights
    w, b = MarginPath(x, labels, 3, weights).solve(head, c, exact=True)
    best, rng = _objective(head, x, labels, s, c, w, b), np.random.default_rng(1)
    assert best < 0.98 * _objective(head, x, labels, s, c, 0 * w, 0 * b)
    for _ in range(40):
        dw, db = rng.normal(size=w.shape), rng.normal(size=b.shape) * (head != "metaoptnet-svm")
        for length in (1e-3, 0.1):
            assert _objective(head, x, labels, s, c, w + length * dw, b + length * db) > best - 1e-7 * best


@pytest.mark.parametrize("classes", [2, 3])
def test_they_are_scikit_learns(classes: int) -> None:
    """With a constant column for the intercept, which both of ours penalise."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    x, labels = _data(classes=classes)
    ones = np.c_[x, np.ones(len(x))]
    w, b = MarginPath(x, labels, classes).solve("svm", 2.0, exact=True)
    svm = LinearSVC(C=2.0, fit_intercept=False, dual=False, tol=1e-10, max_iter=100_000).fit(ones, labels)
    theirs = svm.coef_ if classes > 2 else np.concatenate([-svm.coef_, svm.coef_])
    assert np.c_[w.T, b] == pytest.approx(theirs, abs=1e-4)
    w, b = MarginPath(x, labels, classes).solve("linear", 2.0, exact=True)
    c = 2.0 if classes > 2 else 4.0  # two weight vectors +-v/2 cost half of what one v does
    logistic = LogisticRegression(C=c, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(ones, labels).coef_
    assert np.c_[w.T, b] == pytest.approx(logistic if classes > 2 else np.concatenate([-logistic, logistic]) / 2, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_large_features_of_classes_that_overlap_are_solved_to_the_end(
    classes: int, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Where LIBLINEAR stops early, the optimum is found all the same; where classes are weighted, the stop is said."""
    x, labels = _data(classes=classes)
    expected = MarginPath(x, labels, classes).solve("metaoptnet-svm", 1.0, exact=True)[0]
    monkeypatch.setattr(margins, "_MOST_PASSES", 3)
    found = MarginPath(x, labels, classes).solve("metaoptnet-svm", 1.0, exact=True)[0]
    assert found == pytest.approx(expected, abs=1e-4)
    MarginPath(x, labels, classes).solve("metaoptnet-svm", 1.0, exact=False)
    assert not recwarn.list
    weights = np.where(labels == 0, 2.0, 1.0)
    with pytest.warns(UserWarning, match="metaoptnet-svm: stopped before its optimum at C 1"):
        MarginPath(x, labels, classes, weights).solve("metaoptnet-svm", 1.0, exact=True)


@pytest.mark.parametrize("head", MARGINS)
def test_a_search_decides_as_the_exact_weights_do(head: str) -> None:
    x, labels = _data(200, 20, 4)
    path = MarginPath(x[:100], labels[:100], 4)
    for c in (0.1, 1.0, 10.0):
        (w, b), (v, e) = path.solve(head, c, exact=True), path.solve(head, c, exact=False)
        assert ((x @ w + b).argmax(1) == (x @ v + e).argmax(1)).mean() > 0.97


@pytest.mark.parametrize("head", MARGINS)
def test_edges(head: str) -> None:
    """One class, features that are all zero, the same picture over and over, and a class that has nobody."""
    x, labels = _data()
    w, b = MarginPath(x, np.zeros(30, np.int64), 3).solve(head, 1.0, exact=True)
    assert not w.any()
    assert not b.any()
    w, _ = MarginPath(0 * x, labels, 3).solve(head, 1.0, exact=True)
    assert np.abs(w).max() == 0
    w, b = MarginPath(np.repeat(x[:1], 6, 0), np.arange(6) % 3, 3).solve(head, 1.0, exact=True)
    assert np.ptp(x[:1] @ w + b) == pytest.approx(0, abs=1e-5)
    skipped, three = MarginPath(x, labels + (labels > 0), 4), MarginPath(x, labels, 3)
    w, b = skipped.solve(head, 1.0, exact=True)
    assert not w[:, 1].any()
    assert b[1] == 0
    assert w[:, [0, 2, 3]] == pytest.approx(three.solve(head, 1.0, exact=True)[0], abs=1e-12)

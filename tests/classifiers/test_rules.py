"""Rules against the heads of `modicum.adaptation`, and the properties predictions rest on."""

import numpy as np
import pytest
import torch

from modicum.adaptation.cosine import CosineHead
from modicum.adaptation.metaoptnet import MetaOptNetRRHead, MetaOptNetSVMHead
from modicum.adaptation.probes import LinearProbeHead, SVMProbeHead
from modicum.adaptation.protonet import ProtoNetHead
from modicum.adaptation.ridge import RidgeHead
from modicum.adaptation.solvers.ridge import ridge_weights
from modicum.classifiers.margins import MARGINS
from modicum.classifiers.rules import (
    RidgePath,
    Settings,
    fit_rule,
    one_hot,
    preparation,
    row_weights,
    unit_rows,
)
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError


def _support(n: int = 30, dims: int = 12, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    features = rng.normal(size=(n, dims)).astype(np.float32) + 2
    return features, labels, rng.normal(size=(9, dims)).astype(np.float32) + 2


@pytest.mark.parametrize(
    ("settings", "head"),
    [
        (Settings("protonet", "none", scale=1.0), ProtoNetHead()),
        (Settings("cosine", "none", scale=10.0), CosineHead()),
        (Settings("ridge", "none", penalty=5.0, relative=False, scale=10.0), RidgeHead(penalty=5.0)),
        (Settings("metaoptnet-rr", "none", penalty=5.0, relative=False, scale=6.0), MetaOptNetRRHead(5.0, scale=3.0)),
        (Settings("metaoptnet-svm", "none", c=0.1, relative=False, scale=3.0), MetaOptNetSVMHead(0.1, scale=3.0)),
        (Settings("linear", "none", c=0.5, relative=False, scale=2.0), LinearProbeHead(0.5, scale=2.0)),
        (Settings("svm", "none", c=0.5, relative=False, scale=2.0), SVMProbeHead(0.5, scale=2.0)),
    ],
)
@pytest.mark.parametrize("dims", [12, 50])  # more pictures than features, and fewer
def test_probabilities_are_those_of_the_head(settings: Settings, head: torch.nn.Module, dims: int) -> None:
    features, labels, query = _support(dims=dims)
    rule = fit_rule(features, labels, 4, settings)
    adapted = head.fit(LabelledSet(torch.from_numpy(features), torch.from_numpy(labels)), 4)
    expected = adapted(torch.from_numpy(query)).softmax(-1).detach().numpy()
    logits = rule.logits(query)
    found = np.exp(logits - logits.max(1, keepdims=True))
    assert found / found.sum(1, keepdims=True) == pytest.approx(expected, abs=1e-4)


def test_protonet_by_hand() -> None:
    """Support (0,0),(2,0) | (0,3),(0,5), query (1,0): distances 0 and 17; without the square it would be 4.12."""
    features = np.array([[0, 0], [2, 0], [0, 3], [0, 5]], np.float32)
    logits = fit_rule(features, np.array([0, 0, 1, 1]), 2, Settings("protonet", "none")).logits(np.array([[1.0, 0.0]]))
    assert logits[0, 0] - logits[0, 1] == 17.0


@pytest.mark.parametrize("dims", [6, 40])
def test_one_decomposition_gives_every_ridge_solution(dims: int) -> None:
    features, labels, query = _support(dims=dims)
    x, targets = features.astype(np.float64), one_hot(labels, 4)
    weights = row_weights(labels, 4, True)
    path = RidgePath(x, targets, weights)
    penalties = [0.01, 1.0, 100.0]
    for penalty, output in zip(penalties, path.outputs(query.astype(np.float64), penalties), strict=True):
        expected = ridge_weights(torch.from_numpy(x), torch.from_numpy(targets), penalty, torch.from_numpy(weights)).numpy()
        assert path.weight(penalty) == pytest.approx(expected, rel=1e-7, abs=1e-9)
        assert output == pytest.approx(query @ expected, rel=1e-7, abs=1e-9)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    labels = np.array([0, 0, 0, 0, 2, 2, 3])  # class 1 has nobody
    assert row_weights(labels, 4, True) == pytest.approx(compute_sample_weight("balanced", labels))
    assert row_weights(labels, 4, False) is None


def test_a_relative_penalty_does_not_see_the_scale_of_features() -> None:
    features, labels, query = _support()
    settings = Settings("ridge", "none", penalty=0.1)
    large = fit_rule(features * 64, labels, 4, settings).logits(query * 64)
    assert large == pytest.approx(fit_rule(features, labels, 4, settings).logits(query), abs=1e-5)


@pytest.mark.parametrize("head", MARGINS)
def test_a_relative_c_does_not_see_the_scale_of_features(head: str) -> None:
    features, labels, query = _support()
    settings = Settings(head, "none", c=3.0)
    large = fit_rule(features * 64, labels, 4, settings).logits(query * 64)
    found = fit_rule(features, labels, 4, settings).logits(query)
    assert large == pytest.approx(found, abs=1e-4)
    absolute = Settings(head, "none", c=3.0, relative=False)
    assert np.abs(fit_rule(features * 64, labels, 4, absolute).logits(query * 64) - found).max() > 0.5


def test_settings_that_make_no_sense_are_refused() -> None:
    for c in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="C: expected more than 0 for the head linear, found"):
            Settings("linear", c=c)
    with pytest.raises(ConfigError, match="penalty: expected more than 0 for the head r2d2, found 0"):
        Settings("r2d2")


def test_a_relative_penalty_by_hand() -> None:
    """Two pictures (2, 0), (0, 1): eigenvalues 4 and 1, mean 2.5; rho = 2 is lambda 5, so W = diag(2 / 9, 1 / 6)."""
    rule = fit_rule(np.array([[2, 0], [0, 1]], np.float32), np.array([0, 1]), 2, Settings("ridge", "none", penalty=2.0))
    assert np.abs(rule.weight.T - np.diag([2 / 9, 1 / 6])).max() < 1e-7


def test_preparations() -> None:
    """Centring comes before the scaling to length 1, not after: (3, 4), (1, 4) -> centre (2, 4) -> (1, 0), (-1, 0)."""
    features = np.array([[3, 4], [1, 4]], np.float32)
    assert preparation(features, "centre-l2")(features) == pytest.approx(np.array([[1, 0], [-1, 0]]))
    assert preparation(features, "l2")(features)[0] == pytest.approx([0.6, 0.8])
    assert (preparation(features, "none")(features) == features).all()
    assert (unit_rows(np.zeros((1, 3))) == 0).all()


@pytest.mark.parametrize("phi", ["none", "l2", "centre-l2"])
@pytest.mark.parametrize("head", ["protonet", "cosine", "ridge", "linear", "svm", "metaoptnet-svm"])
def test_a_row_does_not_depend_on_its_batch(head: str, phi: str) -> None:
    """To the bit, alone, in a batch, and in another place; a matrix product would differ in the last bits."""
    features, labels, _ = _support(dims=131)
    query = np.random.default_rng(3).normal(size=(67, 131)).astype(np.float32)
    rule = fit_rule(features, labels, 4, Settings(head, phi, penalty=0.1, c=1.0))
    together = rule.logits(query)
    assert all((rule.logits(query[i : i + 1])[0] == together[i]).all() for i in range(67))
    assert (rule.logits(query[::-1])[::-1] == together).all()


def test_classes_without_support_get_nothing() -> None:
    features, _, query = _support()
    for head in ("protonet", "cosine", "ridge", "linear", "svm", "metaoptnet-svm"):
        logits = fit_rule(features, np.arange(30) % 2 * 2, 4, Settings(head, penalty=1.0, c=1.0)).logits(query)
        assert np.isneginf(logits[:, [1, 3]]).all()
        assert np.isfinite(logits[:, [0, 2]]).all()

"""Linear probes: worked by hand, against scikit-learn, and on the sets that break solvers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from modicum.adaptation.probes import LinearProbeHead, SVMProbeHead, class_signs
from modicum.adaptation.solvers import newton_systems
from modicum.adaptation.solvers.logistic import logistic_residual, logistic_weights
from modicum.adaptation.solvers.squared_hinge import squared_hinge_residual, squared_hinge_weights
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError, DataError

HEADS = [LinearProbeHead, SVMProbeHead]
SHAPES = [(5, 1, 64), (5, 5, 40), (2, 30, 7), (20, 1, 60), (20, 3, 12), (3, 15, 64)]


def features(ways: int, shots: int, width: int, tasks: tuple[int, ...] = ()) -> LabelledSet:
    y = torch.arange(ways).repeat_interleave(shots).expand(*tasks, -1)
    centre = torch.randn(*tasks, ways, width, dtype=torch.float64)
    x = centre.gather(-2, y.unsqueeze(-1).expand(*y.shape, width))
    return LabelledSet(x + torch.randn(*tasks, ways * shots, width, dtype=torch.float64), y)


def test_logistic_regression_by_hand() -> None:
    """Pictures at +2 and -2 on a line. By symmetry W = (w, -w), b = 0, and w = 4 c / (1 + e^(4 w)).

    The mean of the losses instead of their sum would give half the c; penalising ||W||^2 without the 1/2, too.
    """
    w = 0.0
    for _ in range(200):
        w += 0.1 * (4 * 0.5 / (1 + math.exp(4 * w)) - w)
    support = LabelledSet(torch.tensor([[2.0], [-2.0]], dtype=torch.float64), torch.tensor([0, 1]))
    adapted = LinearProbeHead(probe_c=0.5).fit(support, 2)
    assert adapted.weight[0].tolist() == pytest.approx([w, -w], abs=1e-9)
    assert adapted.bias.abs().max() < 1e-12


def test_squared_hinge_by_hand() -> None:
    """Pictures at +1 and -1, c = 1: min w^2 / 2 + 2 (1 - w)^2 gives w = 4/5; the plain hinge would give 1.

    Both on the same side, at 1 (class 0) and 3 (class 1), c = 1/2, without a constant feature: the gradient
    w - (1 - w) - 3 (-1 - 3 w) for class 0 is 0 at w = -2/11, where both pictures are within their margins.
    """
    support = LabelledSet(torch.tensor([[1.0], [-1.0]], dtype=torch.float64), torch.tensor([0, 1]))
    adapted = SVMProbeHead().fit(support, 2)
    assert adapted.weight[0].tolist() == pytest.approx([0.8, -0.8], abs=1e-12)
    z, signs = torch.tensor([[1.0], [3.0]]).double(), torch.tensor([[1.0], [-1.0]]).double()
    assert squared_hinge_weights(z, signs, 0.5).item() == pytest.approx(-2 / 11, abs=1e-12)


def test_the_active_set_leaves_out_what_lies_beyond_the_margin() -> None:
    """Pictures at 1, -1 and 10 (class 0): the third is beyond its margin at w = 4/5, so it changes nothing."""
    z, signs = torch.tensor([[1.0], [-1.0], [10.0]]).double(), torch.tensor([[1.0], [-1.0], [1.0]]).double()
    assert squared_hinge_weights(z, signs, 1.0).item() == pytest.approx(0.8, abs=1e-12)


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_logistic_regression_is_that_of_scikit_learn(shape: tuple[int, int, int], c: float) -> None:
    support, query = features(*shape), torch.randn(9, shape[2], dtype=torch.float64)
    logits = LinearProbeHead(probe_c=c).fit(support, shape[0])(query).detach().numpy()
    constant = [np.pad(part.numpy(), ((0, 0), (0, 1)), constant_values=1.0) for part in (support.x, query)]
    own_c = 2 * c if shape[0] == 2 else c  # two classes: one vector w of penalty w^2 / 2 there, +-w/2 of w^2 / 4 here
    peer = LogisticRegression(C=own_c, fit_intercept=False, tol=1e-11, max_iter=5_000, solver="newton-cg")
    expected = peer.fit(constant[0], support.y.numpy()).predict_log_proba(constant[1])
    found = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_svm_is_that_of_scikit_learn(shape: tuple[int, int, int], c: float) -> None:
    support, query = features(*shape), torch.randn(9, shape[2], dtype=torch.float64)
    logits = SVMProbeHead(probe_c=c).fit(support, shape[0])(query).detach().numpy()
    peer = LinearSVC(C=c, tol=1e-11, max_iter=500_000, dual=True).fit(support.x.numpy(), support.y.numpy())
    expected = peer.decision_function(query.numpy())
    found = logits if shape[0] > 2 else logits[:, 1]
    assert np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("shape", [(5, 1, 600), (5, 30, 64), (20, 5, 100), (2, 400, 500), (2, 400, 1_000), (20, 20, 30)])
def test_gradient_at_the_solution(shape: tuple[int, int, int], size: float) -> None:
    """At most 1e-9 of that at W = 0, from features of norm below 1 to some hundreds, as encoders give them.

    The shapes reach every kind of system: small sets, larger ones with more features than pictures and the other way
    round, and classes with factors of their own.
    """
    support = features(*shape, tasks=(2,) if shape[1] < 100 else (1,))
    z, t = support.x * size, F.one_hot(support.y, shape[0]).double()
    assert logistic_residual(z, t, 1.0, logistic_weights(z, t, 1.0)).max() < 1e-9
    signs = class_signs(t, None)
    assert squared_hinge_residual(z, signs, 1.0, squared_hinge_weights(z, signs, 1.0)).max() < 1e-9


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("ways", [2, 5])
def test_identical_pictures_and_zero_features(head: type[LinearProbeHead], ways: int) -> None:
    """Nothing tells the classes apart: every class gets the same logit, and the kernel matrix has rank 1 or 0."""
    y = torch.arange(ways).repeat_interleave(3)
    for x in (torch.rand(1, 4).expand(3 * ways, 4), torch.zeros(3 * ways, 8), torch.rand(1, 100).expand(3 * ways, 100)):
        z = x.double().clone().requires_grad_()
        logits = head().fit(LabelledSet(z, y), ways)(x.double())
        assert (logits.amax() - logits.amin()).item() < 1e-9
        logits.square().sum().backward()
        assert torch.isfinite(z.grad).all()


def test_pictures_twice_weigh_as_double_c() -> None:
    support, query = features(3, 2, 9), torch.randn(4, 9, dtype=torch.float64)
    twice = LabelledSet(support.x.repeat(2, 1), support.y.repeat(2))
    for head in HEADS:
        assert torch.allclose(head(1.0).fit(twice, 3)(query), head(2.0).fit(support, 3)(query), atol=1e-9)


def test_soft_labels_are_those_of_weighted_pictures() -> None:
    """A picture that is 0.25 class 0 and 0.75 class 1 counts as both, with these weights; the svm takes none."""
    support, query = features(2, 2, 6), torch.randn(4, 6, dtype=torch.float64)
    soft = torch.tensor([[0.25, 0.75], [1.0, 0], [0, 1.0], [0, 0.5]], dtype=torch.float64)
    found = LinearProbeHead().fit(support._replace(soft=soft), 2)(query).detach()
    x = np.pad(support.x.numpy(), ((0, 0), (0, 1)), constant_values=1.0)
    peer = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-12, max_iter=5_000, solver="newton-cg")
    peer.fit(np.concatenate([x, x]), np.repeat([0, 1], 4), sample_weight=soft.T.reshape(-1).numpy())
    expected = peer.decision_function(np.pad(query.numpy(), ((0, 0), (0, 1)), constant_values=1.0))
    assert np.abs((found[:, 1] - found[:, 0]).numpy() - expected).max() < 1e-6
    with pytest.raises(ConfigError, match="svm takes one class for each picture"):
        SVMProbeHead().fit(support._replace(soft=soft), 2)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 4, 3)])
def test_gradients_by_finite_differences_in_both_spaces(head: type[LinearProbeHead], shape: tuple[int, int, int]) -> None:
    support, query = features(*shape, tasks=(2,)), torch.randn(2, 3, shape[2], dtype=torch.float64)
    x = support.x.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head().fit(LabelledSet(x, support.y), 3)(query), (x,))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shape", [(3, 4, 20), (3, 4, 3)])
def test_gradients_do_not_depend_on_how_systems_are_solved(
    head: type[LinearProbeHead], shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights and gradients from factored systems and from those of large sets."""
    support, query = features(*shape), torch.randn(3, shape[2], dtype=torch.float64)
    found = []
    for small in (newton_systems.SMALL, 0):
        monkeypatch.setattr(newton_systems, "SMALL", small)
        x = support.x.clone().requires_grad_()
        logits = head().fit(LabelledSet(x, support.y), 3)(query)
        found.append((logits.detach(), *torch.autograd.grad(logits.square().sum(), x)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-10)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-8)


def test_gradients_with_respect_to_soft_labels() -> None:
    support, query = features(3, 2, 8), torch.randn(3, 8, dtype=torch.float64)
    soft = torch.rand(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: LinearProbeHead().fit(support._replace(soft=s), 3)(query), (soft,))


def test_float32_features_give_float32_logits_near_the_exact_ones() -> None:
    support, query = features(5, 5, 64), torch.randn(4, 64, dtype=torch.float64)
    for head in HEADS:
        exact = head().fit(support, 5)(query)
        found = head().fit(support._replace(x=support.x.float()), 5)(query.float())
        assert found.dtype == torch.float32
        assert (found.double() - exact).abs().max() < 1e-4


def test_clear_errors() -> None:
    for head in HEADS:
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(ConfigError, match="probe_c: expected a number above 0"):
                head(probe_c=value)
        support = features(3, 9, 2)
        with pytest.raises(DataError, match="too large for float64; divide them by their norm"):
            head().fit(support._replace(x=1e200 * support.x), 3)

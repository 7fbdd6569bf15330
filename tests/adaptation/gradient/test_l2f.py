"""L2F: attenuation of the start; with gamma = 1 it is MAML."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.adaptation.gradient.l2f import AttenuatedStart, attenuated
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import meta_gradients
from modicum.adaptation.gradient.starts import SharedStart, Support

from .small import N, make, pictures, shaken


class Parabola(Support):
    """L = sum w^2 / 2 + sum v, so the gradient is (w, 1); counts how often it was asked."""

    lead = 0
    targets = None
    calls = 0

    def loss(self, parameters: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        return parameters["w"].square().sum() / 2 + parameters["v"].sum()

    def features(self, parameters: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError


def identity(start: AttenuatedStart) -> AttenuatedStart:
    """An MLP that gives back what it gets, where that is positive."""
    first, _, last = start.attenuator
    for layer in (first, last):
        layer.weight.data = torch.eye(2)
        layer.bias.data = torch.zeros(2)
    return start


def test_equation_by_hand() -> None:
    """tau = (mean (1, 3), 1) = (2, 1), gamma = sigmoid of it; a tensor that does not move stays whole."""
    parameters = {"w": torch.tensor([1.0, 3.0]), "still": torch.ones(1), "v": torch.tensor([2.0])}
    began = identity(AttenuatedStart({"w": parameters["w"], "v": parameters["v"]}))(parameters, ("w", "v"), Parabola())
    gamma = torch.tensor([2.0, 1.0]).sigmoid()
    assert torch.allclose(began.record["gamma"], gamma)
    assert torch.allclose(began.parameters["w"], gamma[0] * parameters["w"])
    assert torch.allclose(began.parameters["v"], gamma[1] * parameters["v"])
    assert torch.equal(began.parameters["still"], parameters["still"])


@pytest.mark.parametrize(("detach", "second_order"), [(False, True), (True, True), (False, False)])
def test_gamma_is_differentiated_through_the_gradient_in_second_order(detach: bool, second_order: bool) -> None:
    """d (gamma w)/dw of one number w = 2 with tau = w: gamma + gamma (1 - gamma) w, or gamma alone."""
    w = torch.tensor([2.0], requires_grad=True)
    parameters = {"w": w, "v": torch.zeros(1)}
    support = Parabola()
    support.second_order = second_order
    start = identity(AttenuatedStart(parameters, detach=detach))
    began = start(parameters, ("w", "v"), support).parameters["w"]
    (found,) = torch.autograd.grad(began.sum(), w)
    gamma = torch.tensor(2.0).sigmoid()
    expected = gamma + gamma * (1 - gamma) * 2 * (second_order and not detach)
    assert found.item() == pytest.approx(expected.item())
    assert support.calls == 1


def test_gradients_by_func_are_those_by_autograd() -> None:
    """Also inside vmap and grad, where autograd cannot be called."""
    start = identity(AttenuatedStart({"w": torch.ones(1), "v": torch.ones(1)}))
    w = torch.tensor([[1.0], [2.0], [-1.0]])

    def began(w: Tensor, transform: str) -> Tensor:
        support = Parabola()
        support.transform = transform
        return start({"w": w, "v": torch.zeros(1)}, ("w", "v"), support).parameters["w"].sum()

    inside = torch.func.vmap(torch.func.grad(lambda one: began(one, "func")))(w)
    for e in range(3):
        leaf = w[e].clone().requires_grad_()
        (outside,) = torch.autograd.grad(began(leaf, "autograd"), leaf)
        torch.testing.assert_close(inside[e], outside)


def test_works_where_gradients_are_off() -> None:
    parameters = {"w": torch.tensor([1.0, 3.0]), "v": torch.tensor([2.0])}
    start = identity(AttenuatedStart(parameters))
    with torch.no_grad():
        began = start(parameters, ("w", "v"), Parabola())
    assert torch.allclose(began.record["gamma"], torch.tensor([2.0, 1.0]).sigmoid())
    assert not any(value.requires_grad for value in began.parameters.values())


def test_each_task_has_its_own_gamma() -> None:
    parameters = {"w": torch.ones(3, 2, 2), "v": torch.ones(3, 4)}
    gamma = torch.tensor([[0.1, 1.0], [0.2, 1.0], [0.3, 0.5]])
    new = attenuated(parameters, ("w", "v"), gamma, 1)
    assert new["w"][:, 0, 0].tolist() == gamma[:, 0].tolist()
    assert new["v"][2].tolist() == [0.5] * 4


@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_gamma_of_1_is_maml(strategy: str) -> None:
    """An attenuator whose last bias is 50: sigmoid is 1 in float64, and the outputs and meta-gradients are MAML's."""
    learner, _, _ = make(start="l2f", strategy=strategy)
    assert isinstance(learner.start, AttenuatedStart)
    learner.start.attenuator[-1].weight.data.zero_()
    learner.start.attenuator[-1].bias.data.fill_(50)
    maml = GradientLearner(
        learner.model, SharedStart(), learner.rule, learner.moves, N, steps=learner.steps, strategy=learner.strategy
    )
    episode = pictures()
    found = []
    for one in (learner, maml):
        one.zero_grad()
        outcome = meta_gradients(one, episode)
        found.append((outcome.outputs, [value.grad.clone() for value in one.model.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)
    adapted = [one.adapt(episode.support, N)(episode.query.x) for one in (learner, maml)]
    torch.testing.assert_close(adapted[0], adapted[1], rtol=1e-12, atol=1e-14)


def test_gradients_of_the_attenuator() -> None:
    w = torch.tensor([1.0, 3.0], dtype=torch.float64)
    start = AttenuatedStart({"w": w, "v": w}).double()
    shaken(start, 0.5)
    names = [name for name, _ in start.named_parameters()]

    def began(w: Tensor, v: Tensor, *learned: Tensor) -> Tensor:
        own = dict(zip(names, learned, strict=True))
        given = {"w": w, "v": v}
        out: Tensor = torch.func.functional_call(start, own, (given, ("w", "v"), Parabola())).parameters["w"]
        return out

    learned = [value.detach().clone().requires_grad_() for value in start.parameters()]
    inputs = (w.clone().requires_grad_(), w.clone().requires_grad_(), *learned)
    assert torch.autograd.gradcheck(began, inputs)

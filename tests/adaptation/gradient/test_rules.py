"""Rules without a generator, by hand; their numbers in full are compared in test_inner_loop.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modicum.adaptation.gradient.rules import LayerStepRule, ParameterRule, PlainRule
from modicum.errors import ConfigError

THETA = {"w": torch.tensor([1.0, 2.0]), "b": torch.tensor([4.0])}
G = {"w": torch.tensor([4.0, -4.0]), "b": torch.tensor([8.0])}


def lists(tensors: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in tensors.items()}


def test_plain() -> None:
    assert lists(PlainRule(0.25)(0, THETA, G, 0).parameters) == {"w": [0.0, 3.0], "b": [2.0]}


def test_layer_step_rates_differ_by_step_and_tensor_and_stay_after_the_last() -> None:
    rule = LayerStepRule(THETA, 2, 0.25)
    assert rule.rates.tolist() == [[0.25, 0.25], [0.25, 0.25]]
    rule.rates.data = torch.tensor([[0.25, 0.0], [0.5, 0.125]])
    assert lists(rule(0, THETA, G, 0).parameters) == {"w": [0.0, 3.0], "b": [4.0]}
    assert lists(rule(1, THETA, G, 0).parameters) == {"w": [-1.0, 4.0], "b": [3.0]}
    assert lists(rule(9, THETA, G, 0).parameters) == lists(rule(1, THETA, G, 0).parameters)
    assert rule(1, THETA, G, 0).record["alpha"].tolist() == [0.5, 0.125]


def test_parameter_rates_differ_within_a_tensor() -> None:
    rule = ParameterRule(THETA, 0.25)
    assert [rates.tolist() for rates in rule.rates] == [[0.25, 0.25], [0.25]]
    rule.rates[0].data = torch.tensor([0.25, 1.0])
    update = rule(3, THETA, G, 0)
    assert lists(update.parameters) == {"w": [0.0, 6.0], "b": [2.0]}
    assert update.record["alpha"].tolist() == [0.625, 0.25]


@pytest.mark.parametrize("kind", [LayerStepRule, ParameterRule])
def test_stacked_tasks_equal_single_ones(kind: type) -> None:
    rule = kind(THETA, 2, 0.25) if kind is LayerStepRule else kind(THETA, 0.25)
    theta, g = ({name: torch.randn(3, *value.shape) for name, value in each.items()} for each in (THETA, G))
    together = rule(1, theta, g, 1)
    for e in range(3):
        alone = rule(1, {k: v[e] for k, v in theta.items()}, {k: v[e] for k, v in g.items()}, 0)
        assert all(torch.equal(together.parameters[k][e], v) for k, v in alone.parameters.items())
        assert torch.equal(together.record["alpha"][e], alone.record["alpha"])


@pytest.mark.parametrize("rate", [0.0, -0.1, float("inf"), float("nan")])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    for make in (lambda: PlainRule(rate), lambda: LayerStepRule(THETA, 2, rate), lambda: ParameterRule(THETA, rate)):
        with pytest.raises(ConfigError, match="inner_rate: expected a number above 0"):
            make()

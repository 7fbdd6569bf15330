"""Published methods from options: parts, what moves, orders of derivatives, and options that contradict each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modicum.adaptation.gradient.alfa import ALFARule
from modicum.adaptation.gradient.l2f import AttenuatedStart
from modicum.adaptation.gradient.methods import gradient_learner, moving
from modicum.adaptation.gradient.rules import LayerStepRule, ParameterRule, PlainRule
from modicum.adaptation.gradient.starts import PrototypeStart, SharedStart
from modicum.configs import Train
from modicum.errors import ConfigError

from .small import conv_network, mlp_network

PARTS: dict[str, tuple[type, type, bool]] = {
    "maml": (SharedStart, PlainRule, True),
    "fomaml": (SharedStart, PlainRule, False),
    "maml++": (SharedStart, LayerStepRule, True),
    "meta-sgd": (SharedStart, ParameterRule, True),
    "anil": (SharedStart, PlainRule, True),
    "boil": (SharedStart, PlainRule, True),
    "proto-maml": (PrototypeStart, PlainRule, True),
    "fo-proto-maml": (PrototypeStart, PlainRule, False),
    "l2f": (AttenuatedStart, PlainRule, True),
    "alfa": (SharedStart, ALFARule, True),
    "reptile": (SharedStart, PlainRule, False),
    "reptile-wc": (SharedStart, PlainRule, False),
}


def config(method: str, **options: Any) -> Train:
    return Train("data", "out", method=method, **options)


@pytest.mark.parametrize("method", PARTS)
def test_parts_of_every_method(method: str) -> None:
    learner = gradient_learner(config(method), conv_network().float(), 2)
    start, rule, second_order = PARTS[method]
    assert (type(learner.start), type(learner.rule), learner.second_order) == (start, rule, second_order)
    convolutions = [name for name in learner.moves if "conv" in name]
    assert len(convolutions) == (0 if method == "anil" else 4)
    assert ("linear.weight" in learner.moves) is (method != "boil")
    assert any("norm" in name for name in learner.moves) is method.startswith("reptile")
    assert (learner.norms is not None) is (method == "maml++")
    assert learner.batch_norm == "support"


def test_names_that_move() -> None:
    model = conv_network()
    everything = tuple(name for name, _ in model.named_parameters())
    assert moving(model, "all", norm_moves=True) == everything
    assert moving(model, "all") == tuple(name for name in everything if "norm" not in name)
    assert moving(model, "head", norm_moves=True) == ("linear.weight", "linear.bias")
    assert moving(model, "body") == tuple(name for name in everything if "conv." in name)
    assert moving(mlp_network(), "head") == ("layers.2.weight", "layers.2.bias")


def test_options_of_alfa_reach_its_rule() -> None:
    options = {
        "alfa_state": "weights", "alfa_layers": 2, "alfa_detach": False, "alfa_beta": "direct", "alfa_alpha": "learned",
        "alfa_per": "layer", "inner_rate": 0.3, "inner_steps": 4,
    }  # fmt: skip
    rule = gradient_learner(config("alfa", **options), mlp_network().float(), 1).rule
    assert isinstance(rule, ALFARule)
    assert (rule.state, rule.detach, rule.beta, rule.alpha_generated) == ("weights", False, "direct", False)
    assert (len(rule.generator), rule.generator[0].in_features, rule.generator[-1].out_features) == (3, 6, 6)
    assert rule.rates.shape == (1, 6)
    assert rule.rates.unique().item() == pytest.approx(0.3)
    assert rule.decays.unique().item() == pytest.approx(1 - 0.3 * 5e-4)


def test_rates_of_every_parameter_fit_one_number_of_ways_only() -> None:
    learner = gradient_learner(config("meta-sgd", init="prototypes"), conv_network().float(), 2)
    assert not learner.traits.any_n_out


def test_a_random_start_leaves_batch_norm_of_each_step_untrained() -> None:
    learner = gradient_learner(config("alfa", init="random", per_step_norm=True), conv_network().float(), 2)
    assert learner.norms is not None
    assert not any(value.requires_grad for value in learner.norms.parameters())


def test_a_random_start_trains_the_rule_only() -> None:
    """The network keeps its draw, batch norm included; every parameter that moves has a decay of its own."""
    model = conv_network().float()
    learner = gradient_learner(config("alfa", init="random"), model, 2)
    assert not any(value.requires_grad for value in model.parameters())
    assert isinstance(learner.rule, ALFARule)
    own = dict(model.named_parameters())
    assert [d.shape for d in learner.rule.own] == [own[name].shape for name in learner.moves]
    assert {name.partition(".")[0] for name, value in learner.named_parameters() if value.requires_grad} == {"rule"}


@pytest.mark.parametrize("detach", [False, True])
def test_l2f_may_take_its_gradients_for_constants(detach: bool) -> None:
    start = gradient_learner(config("l2f", l2f_detach=detach), conv_network().float(), 2).start
    assert isinstance(start, AttenuatedStart)
    assert start.detach is detach


@pytest.mark.parametrize(("init", "start"), [("l2f", AttenuatedStart), ("prototypes", PrototypeStart)])
def test_alfa_on_other_starts(init: str, start: type) -> None:
    learner = gradient_learner(config("alfa", init=init), conv_network().float(), 2)
    assert isinstance(learner.start, start)
    assert learner.traits.any_n_out is (init == "prototypes")
    assert torch.nn.utils.parameters_to_vector(learner.rule.parameters()).numel() > 0


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("alfa", {"alfa_detach": False, "first_order": True}, "first_order.*alfa_detach"),
        ("alfa", {"alfa_detach": False, "first_order_until": 3}, "first_order_until"),
        ("maml", {"init": "random"}, "init.*take --method alfa"),
        ("l2f", {"init": "prototypes"}, "l2f is 'l2f' by definition"),
        ("anil", {"moves": "body"}, "anil is 'head' by definition"),
        ("alfa", {"alfa_layers": 4}, "expected 2 or 3, found 4"),
        ("maml", {"checkpoint_inner": True, "strategy": "vmap"}, "checkpoint_inner"),
        ("maml++", {"norm_moves": True, "per_step_norm": True}, "norm_moves"),
        ("maml", {"inner_steps": 0}, "inner_steps: expected at least 1"),
        ("maml", {"inner_rate": 0.0}, "inner_rate: expected more than 0"),
    ],
)
def test_contradicting_options_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(method, **options)

"""Small learners and tasks in float64 for the tests of this folder, and the plain loop beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.alfa import ALFARule
from modicum.adaptation.gradient.l2f import AttenuatedStart
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.methods import moving
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.rules import AbstractRule, LayerStepRule, ParameterRule, PlainRule
from modicum.adaptation.gradient.starts import AbstractStart, PrototypeStart, SharedStart
from modicum.adaptation.gradient.support import squared_error
from modicum.backbones.conv4 import Conv4
from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.backbones.mlp import MLP
from modicum.episodes.types import Episode, LabelledSet

from . import plain_loop

E, N, K, Q, STEPS, RATE = 2, 2, 3, 4, 3, 0.1
ALFA_OPTIONS: dict[str, dict[str, Any]] = {
    "both": {},
    "weights": {"state": "weights"},
    "gradients": {"state": "gradients"},
    "attached": {"detach": False},
    "two-layers": {"layers": 2},
    "direct": {"beta": "direct"},
    "random": {"random_start": True},
    "random-direct": {"random_start": True, "beta": "direct"},
    "alpha-only": {"decay": "fixed"},
    "alpha-learned": {"alpha": "learned", "decay": "fixed"},
    "decay-only": {"alpha": "fixed"},
    "decay-learned": {"alpha": "fixed", "decay": "learned"},
    "step": {"per": "step"},
    "layer": {"per": "layer"},
    "none": {"per": "none", "beta": "direct"},
}
"""Name of a choice -> options of `ALFARule`; tables 5 and 6 of the paper and both readings of (7)."""
RULES = ("plain", "layer-step", "parameter", *(f"alfa-{name}" for name in ALFA_OPTIONS))


def conv_network(filters: int = 2, n_out: int = N) -> LinearNetwork:
    backbone = Conv4(1, filters)
    network = LinearNetwork(Encoder(backbone, ImageSpec(16, 1), filters, "conv4", {}), n_out).double()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "norm" in name:
                value += 0.3 * torch.randn_like(value)
    return network


def mlp_network() -> MLP:
    return MLP(1, (5, 4), 1).double()


def pictures(tasks: int = E, ways: int = N, shots: int = K) -> Episode:
    """Tasks of random pictures, classes in the order 0, 1, 0, 1, ..."""
    y = torch.arange(ways).repeat(shots).expand(tasks, -1)
    query_y = torch.arange(Q).expand(tasks, -1) % ways
    support = LabelledSet(
        torch.rand(tasks, ways * shots, 1, 16, 16).double(), y, id=torch.arange(y.numel()).reshape(y.shape)
    )
    return Episode(support, LabelledSet(torch.rand(tasks, Q, 1, 16, 16).double(), query_y), ways)


def curves(tasks: int = E) -> Episode:
    """Tasks of points on sinusoids."""
    x, query_x = torch.randn(tasks, 5, 1).double(), torch.randn(tasks, 7, 1).double()
    phase = torch.rand(tasks, 1, 1).double()
    support = LabelledSet(x, (x + phase).sin())
    return Episode(support, LabelledSet(query_x, (query_x + phase).sin()), 1)


def shaken(module: nn.Module, by: float = 0.2) -> None:
    """Every learned number off its start, so that equal ones cannot stand for each other. Rates stay positive and small."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            value += (
                by * torch.randn_like(value)
                if "generator" in name or "attenuator" in name
                else value * torch.rand_like(value)
            )


def make_rule(name: str, tensors: dict[str, Tensor], rate: float = RATE) -> tuple[AbstractRule, plain_loop.Rule]:
    """A rule of ours and the plain one that reads its numbers."""
    if name == "plain":
        return PlainRule(rate), plain_loop.plain(rate)
    if name == "layer-step":
        rates = LayerStepRule(tensors, STEPS, rate).double()
        shaken(rates)
        return rates, plain_loop.layer_step(rates.rates)
    if name == "parameter":
        own = ParameterRule(tensors, rate).double()
        shaken(own)
        return own, plain_loop.per_parameter(list(own.rates))
    options = ALFA_OPTIONS[name.removeprefix("alfa-")]
    rule = ALFARule(tensors, STEPS, rate, weight_decay=0.3, **options).double()
    shaken(rule)
    return rule, plain_loop.alfa(rule, **options)


def make_start(name: str, tensors: dict[str, Tensor], second_order: bool) -> tuple[AbstractStart, plain_loop.Start]:
    if name == "l2f":
        start = AttenuatedStart(tensors).double()
        shaken(start, 1.0)
        return start, plain_loop.attenuated(start.attenuator, list(tensors), second_order)
    return (PrototypeStart(), plain_loop.prototypes) if name == "prototypes" else (SharedStart(), plain_loop.shared)


def make(
    network: str = "conv",
    rule: str = "plain",
    start: str = "shared",
    moves: str = "all",
    *,
    second_order: bool = True,
    norm_moves: bool = False,
    **options: Any,
) -> tuple[GradientLearner, Callable[[Episode, int], list[dict[str, Tensor]]], Callable[[Episode, int], plain_loop.Task]]:
    """A learner; its plain path (episode, task) -> parameters of every step; and the task as the plain loop sees it."""
    model: nn.Module = conv_network() if network == "conv" else mlp_network()
    names = moving(model, moves, norm_moves)
    own = dict(model.named_parameters())
    tensors = {name: own[name].detach() for name in names}
    ours, plain = make_rule(rule, tensors)
    began, plain_start = make_start(start, tensors, second_order)
    extra = {"function": squared_error} if network == "mlp" else {}
    learner = GradientLearner(
        model, began, ours, names, N if network == "conv" else 1, steps=STEPS, second_order=second_order, **extra, **options
    )
    mode = "support" if options.get("batch_norm", "support") == "support" else "own"

    def task(episode: Episode, e: int) -> plain_loop.Task:
        run = plain_loop.conv if network == "conv" else plain_loop.mlp
        support, query = episode.support, episode.query
        return plain_loop.Task(run, support.x[e], support.y[e], query.x[e], query.y[e], mode)

    def path(episode: Episode, e: int) -> list[dict[str, Tensor]]:
        theta = plain_start(task(episode, e), dict(model.named_parameters()))
        return plain_loop.adapt(task(episode, e), theta, names, plain, STEPS, second_order)

    return learner, path, task

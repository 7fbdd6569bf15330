"""MAML++'s batch norm of each step: which row serves where, against a plain loop; running statistics of each step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import meta_gradients, moved_buffers
from modicum.adaptation.gradient.methods import moving
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.adaptation.gradient.step_norms import StepNorms, norm_parameters
from modicum.errors import ConfigError

from . import plain_loop
from .small import RATE, STEPS, E, N, conv_network, pictures


def learner(strategy: str = "loop", batch_norm: str = "support", **options: bool) -> GradientLearner:
    model = conv_network()
    norms = StepNorms(model, STEPS).double()
    with torch.no_grad():
        for rows in norms.rows:
            rows += 0.2 * torch.randn_like(rows)
    return GradientLearner(
        model, SharedStart(), PlainRule(RATE), moving(model, "all"), N, steps=STEPS, norms=norms, strategy=strategy,
        batch_norm=batch_norm, **options,
    )  # fmt: skip


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_step_j_has_its_own_and_queries_the_last(strategy: str, second_order: bool) -> None:
    """The model's own before step 0, then row by row: meta-gradients of all against a plain loop, to 1e-9."""
    mine, episode = learner(strategy, second_order=second_order), pictures()
    assert mine.norms is not None
    rows = dict(zip(mine.norms.affine, mine.norms.rows, strict=True))
    losses = []
    for e in range(E):
        task = plain_loop.Task(
            plain_loop.conv, episode.support.x[e], episode.support.y[e], episode.query.x[e], episode.query.y[e], "support"
        )

        def at_step(parameters: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
            return {**parameters, **{name: values[step - 1] for name, values in rows.items()}} if step else parameters

        theta = dict(mine.model.named_parameters())
        path = plain_loop.adapt(task, theta, mine.moves, plain_loop.plain(RATE), STEPS, second_order, at_step)
        losses.append(task.query_loss(at_step(path[-1], STEPS)))
    named = dict(mine.named_parameters())
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(named.values()), materialize_grads=True)
    meta_gradients(mine, episode)
    for (name, value), gradient in zip(named.items(), expected, strict=True):
        mine_too = torch.zeros_like(value) if value.grad is None else value.grad
        torch.testing.assert_close(mine_too, gradient, rtol=1e-9, atol=1e-9, msg=name)
    reached = {bool((value.grad.abs().sum(1) > 0).all()) for name, value in named.items() if "norms" in name}
    assert reached == {second_order}  # constants of the inner steps see only the last row


def test_running_statistics_move_towards_those_of_their_step() -> None:
    """The model's own by the support set at step 0, row j by step j, the last row by the queries; mean over tasks."""
    mine, episode = learner(batch_norm="running"), pictures()
    assert mine.norms is not None
    found = meta_gradients(mine, episode).found
    new = moved_buffers(mine, found)
    name = "encoder.backbone.blocks.0.norm.running_mean"
    place = f"norms.running{mine.norms.statistics.index(name)}"

    def means(x: torch.Tensor, step: int) -> torch.Tensor:
        """Of the first layer, whose input is the picture itself."""
        each = []
        for e, part in enumerate(mine.parts(episode.support, episode.query, N)):
            path = mine.adapted(part, training=True, keep=True).trajectory.parameters
            weight = path[step]["encoder.backbone.blocks.0.conv.weight"]
            each.append(nn.functional.conv2d(x[e], weight, padding=1).mean((0, 2, 3)))
        return torch.stack(each).mean(0).detach()

    torch.testing.assert_close(new[f"model.{name}"], 0.1 * means(episode.support.x, 0))
    for step in range(1, STEPS):
        torch.testing.assert_close(new[place][step - 1], 0.1 * means(episode.support.x, step))
    torch.testing.assert_close(new[place][STEPS - 1], 0.1 * means(episode.query.x, STEPS))
    assert not mine.norms.get_buffer(place.removeprefix("norms.")).any()


@pytest.mark.parametrize("weights", [None, [0.2, 0.3, 0.5]])
@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_last_row_moves_by_what_normalises_queries(strategy: str, weights: list[float] | None) -> None:
    """In the mode support these are the support set's after the last step, also where queries of every step count."""
    mine, episode = learner(strategy), pictures()
    assert mine.norms is not None
    new = moved_buffers(mine, meta_gradients(mine, episode, weights).found)
    networks = mine.adapt(episode.support, N).networks
    for place, name in enumerate(mine.norms.statistics):
        expected = torch.stack([network.statistics[name] for network in networks]).mean(0)
        before = mine.norms.get_buffer(f"running{place}")[-1]
        torch.testing.assert_close(new[f"norms.running{place}"][-1], torch.lerp(before, expected, 0.1))


@pytest.mark.parametrize("mode", ["running", "support", "batch"])
def test_adapted_queries_use_the_last_row(mode: str) -> None:
    """A last row that is larger by 1 changes what queries meet, and no step before them."""
    mine, episode = learner(batch_norm=mode), pictures()
    assert mine.norms is not None
    before = mine.adapt(episode.support, N)
    outputs = before(episode.query.x)
    before = copy.deepcopy(before.networks)  # what does not move is not copied: the learner's own tensors
    with torch.no_grad():
        mine.norms.rows[-1][STEPS - 1] += 1
    after = mine.adapt(episode.support, N)
    name = mine.norms.affine[-1]
    for network, changed in zip(before, after.networks, strict=True):
        torch.testing.assert_close(changed.parameters[name], network.parameters[name] + 1)
        torch.testing.assert_close(changed.parameters["linear.weight"], network.parameters["linear.weight"])
    assert not torch.allclose(outputs, after(episode.query.x))


def test_more_test_steps_than_rows_use_the_last_row() -> None:
    norms = StepNorms(conv_network(), 2)
    parameters = {name: torch.zeros(2) for name in norms.affine}
    assert all(torch.equal(norms.at(parameters, 9, 0)[name], norms.at(parameters, 2, 0)[name]) for name in norms.affine)


def test_names_of_norms() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2, affine=False))
    assert norm_parameters(model) == ("1.weight", "1.bias", "2.weight", "2.bias")


def test_norms_cannot_move_inside_and_be_of_each_step() -> None:
    model = conv_network()
    with pytest.raises(ConfigError, match="norm_moves"):
        GradientLearner(
            model, SharedStart(), PlainRule(), moving(model, "all", norm_moves=True), N, norms=StepNorms(model, 5)
        )

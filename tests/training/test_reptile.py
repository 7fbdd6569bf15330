"""Reptile and weight clustering: by hand, against plain loops, and what one task may know of another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.rules import LayerStepRule, PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.adaptation.gradient.support import squared_error
from modicum.configs import Evaluate, Strategy, Train
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError, TrainingError
from modicum.files import read_tensors
from modicum.training.checkpoints import LAST
from modicum.training.evaluate import evaluate
from modicum.training.inner_batches import InnerBatches, inner_batches
from modicum.training.reptile import reptile_gradients
from modicum.training.schedules import learning_rate_factor
from modicum.training.trainer import train

RATE, WAYS = 0.1, 3


def convolutional() -> nn.Module:
    """A convolution with batch norm, and a linear layer."""
    parts = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, WAYS)
    return nn.Sequential(*parts)


def dense() -> nn.Module:
    """No batch norm, so tasks are stacked."""
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 7), nn.ReLU(), nn.Linear(7, WAYS))


def learner_of(model: nn.Module, steps: int, strategy: Strategy = "auto", rate: float = RATE) -> GradientLearner:
    moves = tuple(name for name, _ in model.named_parameters())
    return GradientLearner(
        model, SharedStart(), PlainRule(rate), moves, WAYS, steps=steps, second_order=False, strategy=strategy
    )


def episode_of(tasks: int = 3, dtype: torch.dtype = torch.float64) -> Episode:
    support = LabelledSet(torch.rand(tasks, 6, 1, 6, 6, dtype=dtype), torch.arange(6).remainder(WAYS).expand(tasks, 6))
    return Episode(support, support._replace(x=torch.rand(tasks, 6, 1, 6, 6, dtype=dtype)), WAYS)


def only(episode: Episode, task: Sequence[int]) -> Episode:
    """Some tasks of a batch."""
    index = torch.tensor(task)
    support, query = (data._replace(x=data.x[index], y=data.y[index]) for data in (episode.support, episode.query))
    return episode._replace(support=support, query=query)


def gradients(learner: GradientLearner) -> list[Tensor]:
    found = [p.grad for p in learner.parameters()]
    learner.zero_grad()
    return [one for one in found if one is not None]


def own_loop(model: nn.Module, episode: Episode, steps: int, clustering: float = 0.0) -> list[Tensor]:
    """Mean displacement of each parameter by algorithm 4: copies of the model in training mode, gradients by hand.

    The pull of a filter is clustering (theta_f - c_f) / ||c_f||^2.
    """
    tasks = len(episode.support.x)
    copies = [copy.deepcopy(model).train() for _ in range(tasks)]
    for _ in range(steps):
        means = [
            torch.stack(list(several)).mean(0).detach() for several in zip(*(m.parameters() for m in copies), strict=True)
        ]
        for one, x, y in zip(copies, episode.support.x, episode.support.y, strict=True):
            slopes = torch.autograd.grad(F.cross_entropy(one(x), y), list(one.parameters()))
            with torch.no_grad():
                for parameter, slope, mean in zip(one.parameters(), slopes, means, strict=True):
                    pull = torch.zeros_like(parameter)
                    if parameter.dim() > 1:
                        for f in range(len(parameter)):
                            pull[f] = (parameter[f] - mean[f]) / mean[f].square().sum()
                    parameter.sub_(RATE * (slope + clustering * pull))
    ends = zip(*([p.detach() for p in m.parameters()] for m in copies), strict=True)
    return [torch.stack(list(end)).mean(0) - start.detach() for end, start in zip(ends, model.parameters(), strict=True)]


def line() -> tuple[GradientLearner, Episode]:
    """One weight w = 1, loss (w x - y)^2 at x = 1, rate 1/4: a step halves the way to y = 3 and y = 0; queries (1, 0)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    learner = GradientLearner(
        model, SharedStart(), PlainRule(0.25), ("weight",), 1, steps=2, second_order=False, function=squared_error
    )
    x = torch.ones(2, 1, 1)
    return learner, Episode(LabelledSet(x, torch.tensor([[[3.0]], [[0.0]]])), LabelledSet(x, torch.zeros(2, 1, 1)), 1)


def test_two_steps_by_hand() -> None:
    """1 -> 2 -> 2.5 and 1 -> 0.5 -> 0.25: mean 1.375, and half of the displacement away from 1 is 1.1875."""
    learner, episode = line()
    reptile_gradients(learner, episode)
    torch.optim.SGD(learner.parameters(), 0.5).step()
    assert next(learner.parameters()).item() == 1.1875


def test_clustering_by_hand() -> None:
    """After one step 2 and 0.5, mean 1.25, d = 0.75 / 1.25; coefficient 1/2 pulls by 1/4 * 1/2 * 0.75 / 1.25^2 = 0.06.

    Ends 2.44 and 0.31. Measured by its own length instead of the mean's, a task would end at 2.4766 or 0.625; without
    squares, the pull would be 0.1.
    """
    learner, episode = line()
    outcome = reptile_gradients(learner, episode, clustering=0.5)
    assert outcome.losses.sqrt().tolist() == pytest.approx([2.44, 0.31], abs=1e-6)
    assert [g.item() for g in gradients(learner)] == pytest.approx([-0.375])


def test_one_step_is_the_average_of_plain_sgd_steps() -> None:
    model, episode = convolutional().double(), episode_of()
    ends = []
    for x, y in zip(episode.support.x, episode.support.y, strict=True):
        one = copy.deepcopy(model).train()
        optimizer = torch.optim.SGD(one.parameters(), RATE)
        for parameter, slope in zip(
            one.parameters(), torch.autograd.grad(F.cross_entropy(one(x), y), list(one.parameters())), strict=True
        ):
            parameter.grad = slope
        optimizer.step()
        ends.append([p.detach() for p in one.parameters()])
    reptile_gradients(learner_of(model, 1), episode)
    torch.optim.SGD(model.parameters(), 1.0).step()
    for parameter, several in zip(model.parameters(), zip(*ends, strict=True), strict=True):
        assert torch.allclose(parameter, torch.stack(several).mean(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("clustering", [None, 0.3])
@pytest.mark.parametrize(("kind", "strategy"), [(convolutional, "loop"), (convolutional, "grouped"), (dense, "auto")])
def test_against_a_plain_loop(kind: type[nn.Module], strategy: Strategy, clustering: float | None) -> None:
    """Algorithm 4 over copies of the model, one task after the other and all stacked, to rounding in float64."""
    model, episode = kind().double(), episode_of()
    reptile_gradients(learner_of(model, 4, strategy), episode, clustering=clustering)
    found = gradients(learner_of(model, 4))
    for gradient, expected in zip(found, own_loop(model, episode, 4, clustering or 0.0), strict=True):
        assert torch.allclose(-gradient, expected, rtol=0, atol=1e-11)
    if clustering:
        plain = own_loop(model, episode, 4)
        assert max(float((g + e).abs().max()) for g, e in zip(found, plain, strict=True)) > 1e-5


@pytest.mark.parametrize("batches", [None, InnerBatches(4, 0, (7, 8, 9))])
@pytest.mark.parametrize("kind", [convolutional, dense])
def test_mu_0_is_reptile_bit_for_bit(kind: type[nn.Module], batches: InnerBatches | None) -> None:
    """In float32, with the penalty computed and weighed by 0."""
    learner, episode = learner_of(kind(), 4), episode_of(dtype=torch.float32)
    first = reptile_gradients(learner, episode, batches=batches)
    reptile = gradients(learner)
    second = reptile_gradients(learner, episode, clustering=0.0, batches=batches)
    assert all(torch.equal(a, b) for a, b in zip(gradients(learner), reptile, strict=True))
    assert torch.equal(first.losses, second.losses)
    reptile_gradients(learner, episode, clustering=1.0, batches=batches)
    assert not all(torch.equal(a, b) for a, b in zip(gradients(learner), reptile, strict=True))


@pytest.mark.parametrize("kind", [convolutional, dense])
def test_tasks_meet_only_in_the_mean_of_the_step_before(kind: type[nn.Module]) -> None:
    """Another task changes nothing in the first step and something in the second; the order of tasks changes nothing."""
    model, episode = kind().double(), episode_of(4)
    here, other = only(episode, [0, 1]), only(episode, [0, 2])
    for steps, mu, same in ((1, 0.5, True), (2, 0.5, False), (2, 0.0, True)):
        losses = [reptile_gradients(learner_of(model, steps), one, clustering=mu).losses for one in (here, other)]
        assert (losses[0][0].item() == pytest.approx(losses[1][0].item(), rel=1e-12)) is same
    order = [2, 0, 3, 1]
    a = reptile_gradients(learner_of(model, 3), episode, clustering=0.5).losses
    b = reptile_gradients(learner_of(model, 3), only(episode, order), clustering=0.5).losses
    assert torch.allclose(a[order], b, rtol=1e-12)


def test_a_gradient_through_the_mean_would_only_rescale_mu() -> None:
    """d R_i / d theta_i with c = mean(theta), lengths held, is (1 - 1/m) times what we take."""
    theta = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)  # tasks, filters, weights
    mean = theta.mean(0)
    scale = mean.detach().square().sum(-1)
    for i in range(4):
        (through,) = torch.autograd.grad(((theta[i] - mean).square().sum(-1) / scale).sum(), theta, retain_graph=True)
        ours = 2 * (theta[i] - mean) / scale.unsqueeze(-1)
        assert torch.allclose(through[i], (1 - 1 / 4) * ours, rtol=1e-12)


def test_shares_of_a_batch_add_up_and_gradients_are_added() -> None:
    learner, episode = learner_of(dense().double(), 3), episode_of()
    reptile_gradients(learner, episode)
    whole = gradients(learner)
    reptile_gradients(learner, only(episode, [0, 2]), 2 / 3)
    reptile_gradients(learner, only(episode, [1]), 1 / 3)
    for a, b in zip(gradients(learner), whole, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-15)


@pytest.mark.parametrize("strategy", ["loop", "grouped"])
def test_nothing_but_gradients_is_left_and_batch_norm_is_found_at_the_first_step(strategy: Strategy) -> None:
    """Statistics of what the first step read under theta, mean over tasks; buffers move in the outer loop only."""
    model, episode = convolutional().double(), episode_of()
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    batches = InnerBatches(4, 1, (0, 1, 2))
    found = reptile_gradients(learner_of(model, 3, strategy), episode, clustering=0.5, batches=batches).found[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    rows = [torch.from_numpy(inner_batches(batches, e, 6, 3)[0]) for e in range(3)]
    with torch.no_grad():
        read = [model.get_submodule("0")(episode.support.x[e][rows[e]]) for e in range(3)]
    assert torch.allclose(found["1.running_mean"], torch.stack([z.mean((0, 2, 3)) for z in read]).mean(0), rtol=1e-12)
    variances = [z.var((0, 2, 3), correction=0) for z in read]
    assert torch.allclose(found["1.running_var"], torch.stack(variances).mean(0), rtol=1e-12)


def test_inner_batches_go_through_all_items_in_a_new_order_each_time() -> None:
    batches = InnerBatches(4, seed=3, numbers=(5, 11))
    index = inner_batches(batches, 1, items=10, steps=10)
    rounds = index.reshape(4, 10)
    assert [sorted(one) for one in rounds.tolist()] == [list(range(10))] * 4
    assert not any(np.array_equal(a, b) for a, b in pairwise(rounds))
    assert np.array_equal(inner_batches(batches, 1, 10, 3), index[:3])
    assert np.array_equal(inner_batches(InnerBatches(4, 3, (11,)), 0, 10, 10), index)
    assert not np.array_equal(inner_batches(batches, 0, 10, 10), index)
    with pytest.raises(ConfigError, match=r"inner_batch: expected 1\.\.10.*found 11"):
        inner_batches(InnerBatches(11, 3, (5,)), 0, 10, 1)


@pytest.mark.parametrize("strategy", ["loop", "grouped"])
def test_inner_batches_are_what_the_steps_read(strategy: Strategy) -> None:
    model, episode = convolutional().double(), episode_of()
    batches = InnerBatches(4, 1, (0, 1, 2))
    index = torch.from_numpy(np.stack([inner_batches(batches, e, 6, 1)[0] for e in range(3)]))
    reptile_gradients(learner_of(model, 1, strategy), episode, batches=batches)
    rows = torch.arange(3)[:, None]
    chosen = LabelledSet(episode.support.x[rows, index], episode.support.y[rows, index])
    expected = own_loop(model, episode._replace(support=chosen), 1)
    for gradient, one in zip(gradients(learner_of(model, 1)), expected, strict=True):
        assert torch.allclose(-gradient, one, rtol=0, atol=1e-12)


def test_learned_parts_are_refused_and_divergence_names_the_step() -> None:
    model, episode = dense(), episode_of(dtype=torch.float32)
    learner = learner_of(model, 3)
    learner.rule = LayerStepRule(dict(model.named_parameters()), 3)
    with pytest.raises(ConfigError, match="Reptile has no gradient for learned"):
        reptile_gradients(learner, episode)
    with pytest.raises(TrainingError, match="at inner step 1"):
        reptile_gradients(learner_of(model, 9, rate=1e22), episode, clustering=0.0)


def options(out: Path, **changes: object) -> Train:
    """Three steps on digits."""
    given = {
        "data": "digits", "out": str(out), "backbone": "conv4-32", "ways": 3, "shots": 2, "queries": 2, "batch": 2,
        "steps": 3, "validate_every": 3, "validation_tasks": 4, "validation_ways": 3, "image_size": 16, "tensorboard": False,
        "optimizer": "sgd", "learning_rate": 0.5, "schedule": "constant", "inner_rate": 0.1, "threads": 1, **changes,
    }  # fmt: skip
    return Train(**given)  # type: ignore[arg-type]


def trained(out: Path, **changes: object) -> dict[str, Tensor]:
    train(options(out, **changes))
    return read_tensors(out / LAST)[0]


def test_a_run_moves_everything_and_clustering_0_is_a_reptile_run(tmp_path: Path) -> None:
    """Batch norm's weights too, which only inner steps can move."""
    start = trained(tmp_path / "start", method="reptile", steps=1, learning_rate=1e-12)
    run = trained(tmp_path / "reptile", method="reptile", inner_batch=4)
    names = [name for name in run if name.endswith(("weight", "bias")) and "model." in name]
    assert any("norm" in name for name in names)
    assert all(float((run[name] - start[name]).abs().max()) > 1e-5 for name in names)
    zero = trained(tmp_path / "zero", method="reptile-wc", clustering=0.0, inner_batch=4)
    assert all(torch.equal(run[name], zero[name]) for name in run)
    clustered = trained(tmp_path / "clustered", method="reptile-wc", clustering=0.5, inner_batch=4)
    assert not all(torch.equal(run[name], clustered[name]) for name in names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"moves": "head"}, "moves: reptile learns by what moves .* found 'head'"),
        ({"init": "l2f"}, "init: reptile .* begins from meta; found 'l2f'"),
        ({"per_step_norm": True}, "per_step_norm: reptile"),
        ({"strategy": "vmap"}, "strategy: reptile has its own inner loop"),
        ({"clustering": 0.1}, "clustering: belongs to reptile-wc, found reptile"),
        ({"method": "maml", "inner_batch": 3}, "inner_batch: belongs to reptile"),
    ],
)
def test_options_that_reptile_cannot_have_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        options(tmp_path, **{"method": "reptile", **changes})


def test_inner_batches_larger_than_the_support_set_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inner_batch: expected 1\.\.6"):
        train(options(tmp_path / "run", method="reptile", inner_batch=7))
    assert not (tmp_path / "run").exists()


def test_the_linear_schedule_falls_to_zero() -> None:
    assert [learning_rate_factor("linear", step, 4) for step in range(4)] == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("method", ["reptile", "reptile-wc"])
def test_sinusoids_are_learned(tmp_path: Path, method: str) -> None:
    """An untrained network has an error near 3.6 after its steps; outer steps must take a quarter of that away."""
    errors = []
    for name, rate, steps in (("start", 1e-12, 1), ("run", 1.0, 150)):
        own = Train(
            data="sinusoids", out=str(tmp_path / name), method=method, backbone="mlp-16-16", shots=10, queries=2, batch=5,
            steps=steps, inner_steps=8, inner_batch=5, inner_rate=0.02, optimizer="sgd", learning_rate=rate,
            schedule="linear", validate_every=150, validation_tasks=100, tensorboard=False, threads=1, device="cpu",
        )  # fmt: skip
        errors.append(train(own).validation or 0.0)
    assert 0 < errors[1] < 0.75 * errors[0]


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path: Path) -> None:
    changes: dict[str, object] = {"method": "reptile-wc", "clustering": 0.5, "inner_batch": 4}
    whole = trained(tmp_path / "whole", steps=4, **changes)
    trained(tmp_path / "part", steps=2, **changes)
    resumed = trained(tmp_path / "part", steps=4, resume=True, **changes)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_evaluate_writes_how_far_every_task_travels_for_each_number_of_shots(tmp_path: Path) -> None:
    train(options(tmp_path / "run", method="reptile"))
    ask = Evaluate(run=str(tmp_path / "run"), ways=3, shots=[1, 2], queries=2, tasks=5, pictures=False)
    evaluate(ask)
    with np.load(tmp_path / "run" / "artifacts.npz") as held:
        once, twice = held["distance_1shot"], held["distance_2shot"]
        layers, names = held["distance_1shot_layers"], held["distance_layers"].tolist()
    assert once.shape == twice.shape == (5,)
    assert (once > 0).all()
    assert np.sqrt((layers**2).sum(1)) == pytest.approx(once)
    assert names == [f"encoder.backbone.blocks.{i}.conv.weight" for i in range(4)] + ["linear.weight"]
    assert not np.array_equal(once, twice)

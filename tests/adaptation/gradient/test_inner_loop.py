"""The inner loop against a plain one: parameters after every step and meta-gradients, whatever is exchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modicum.adaptation.gradient.alfa import ALFARule
from modicum.adaptation.gradient.inner_loop import Trajectory, inner_loop
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import meta_gradients, outer_loss, query_targets
from modicum.adaptation.gradient.rules import PlainRule
from modicum.episodes.types import Episode
from modicum.errors import ConfigError, TrainingError

from .small import RULES, E, curves, make, pictures

EXACT = {"rtol": 1e-9, "atol": 1e-9}
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"strategy": "loop"},
    {"strategy": "loop", "checkpoint": True},
    {"strategy": "grouped"},
    {"strategy": "grouped", "checkpoint": True},
    {"strategy": "vmap"},
)
VARIANTS: tuple[dict[str, Any], ...] = (
    *({"rule": rule} for rule in RULES),
    {"start": "l2f"},
    {"start": "l2f", "rule": "alfa-both"},
    {"start": "l2f", "rule": "alfa-attached"},
    {"start": "prototypes"},
    {"start": "prototypes", "rule": "alfa-both"},
    {"start": "prototypes", "moves": "body"},
    {"moves": "head"},
    {"moves": "body"},
    {"moves": "body", "norm_moves": True, "start": "l2f"},
    {"norm_moves": True, "rule": "alfa-both"},
    {"moves": "head", "rule": "alfa-attached"},
    {"batch_norm": "batch"},
    {"batch_norm": "batch", "start": "l2f", "rule": "alfa-direct"},
)


def label(options: dict[str, Any]) -> str:
    return "-".join(str(value) if isinstance(value, str) else f"{key}={value}" for key, value in options.items()) or "maml"


def paths(learner: GradientLearner, episode: Episode) -> list[Trajectory]:
    """The trajectory of every task, as training runs it."""
    found: list[Trajectory] = []
    for part in learner.parts(episode.support, episode.query, episode.n_out):
        done = learner.adapted(part, training=True, keep=True, transform=learner.transform).trajectory
        if not part.lead:
            found.append(done)
            continue
        for e in range(len(part.support.x)):
            steps = [{name: value[e] for name, value in step.items()} for step in done.parameters]
            found.append(done._replace(parameters=steps))
    return found


def meta(learner: GradientLearner, episode: Episode) -> dict[str, Tensor | None]:
    learner.zero_grad()
    meta_gradients(learner, episode)
    return {name: value.grad for name, value in learner.named_parameters()}


def against_plain(episode: Episode, options: dict[str, Any]) -> int:
    """Steps and meta-gradients against the plain loop's; the number of tensors that were compared."""
    learner, path, task = make(**options)
    ours = paths(learner, episode)
    losses = []
    for e in range(E):
        theirs = path(episode, e)
        assert len(ours[e].parameters) == len(theirs)
        for step, after in enumerate(theirs):
            for name, value in after.items():
                torch.testing.assert_close(ours[e].parameters[step][name], value, **EXACT, msg=f"step {step}, {name}")
        losses.append(task(episode, e).query_loss(theirs[-1]))
    named = {name: value for name, value in learner.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(torch.stack(losses).mean(), list(named.values()), allow_unused=True)
    found = meta(learner, episode)
    assert any(g is not None and g.abs().max() > 1e-6 for g in gradients)
    for name, expected in zip(named, gradients, strict=True):
        got = found[name]
        zero = torch.zeros_like(named[name])
        torch.testing.assert_close(zero if got is None else got, zero if expected is None else expected, **EXACT, msg=name)
    return sum(len(after) for one in ours for after in one.parameters) + len(named)


ORDERS: tuple[dict[str, Any], ...] = ({"second_order": True}, {"second_order": False})


def allowed(options: dict[str, Any]) -> bool:
    """First order refuses an attached state (tested below)."""
    return options["second_order"] or options.get("rule") != "alfa-attached"


@pytest.mark.parametrize("options", [{**v, **o} for v in VARIANTS for o in ORDERS if allowed({**v, **o})], ids=label)
def test_convolutions_with_batch_norm_equal_a_plain_loop(options: dict[str, Any]) -> None:
    """One task after the other, in float64 to 1e-9."""
    assert against_plain(pictures(), {**options, "strategy": "loop"}) > 0


@pytest.mark.parametrize("strategy", STRATEGIES, ids=label)
@pytest.mark.parametrize(
    "options", [{"rule": r, **o} for r in RULES for o in ORDERS if allowed({"rule": r, **o})], ids=label
)
def test_mlp_equals_a_plain_loop(options: dict[str, Any], strategy: dict[str, Any]) -> None:
    """Every rule under every strategy."""
    assert against_plain(curves(), {"network": "mlp", **options, **strategy}) > 0


@pytest.mark.parametrize("strategy", STRATEGIES[1:], ids=label)
@pytest.mark.parametrize("second_order", [True, False], ids=["second", "first"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rule": "alfa-both", "start": "l2f"}, {"rule": "alfa-random", "norm_moves": True}, {"start": "prototypes"}],
    ids=label,
)
def test_every_strategy_equals_a_plain_loop(options: dict[str, Any], second_order: bool, strategy: dict[str, Any]) -> None:
    """Convolutions with batch norm: checkpointed, grouped and vmap."""
    assert against_plain(pictures(), {**options, "second_order": second_order, **strategy}) > 0


@pytest.mark.parametrize("start", ["shared", "l2f", "prototypes"])
@pytest.mark.parametrize("strategy", ["loop", "grouped"])
def test_checkpointed_steps_give_the_same_bits(strategy: str, start: str) -> None:
    episode, options = pictures(), {"rule": "alfa-attached", "start": start, "strategy": strategy}
    found = []
    for checkpoint in (False, True):
        torch.manual_seed(1)
        learner, _, _ = make(**options, checkpoint=checkpoint)
        found.append(meta(learner, episode))
    for name, gradient in found[0].items():
        got = found[1][name]
        assert (gradient is None and got is None) or torch.equal(gradient, got), name


@pytest.mark.parametrize(("second_order", "expected"), [(True, -0.5), (False, -1.0)])
def test_the_case_worked_by_hand(second_order: bool, expected: float) -> None:
    """L = (w - 3)^2 / 2, step 0.5, w = 1: w' = 2; dL(w')/dw = (w' - 3)(1 - 0.5), or (w' - 3) in first order."""
    w = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)

    def loss(parameters: dict[str, Tensor], step: int) -> Tensor:
        return (parameters["w"] - 3).square() / 2

    path = inner_loop(loss, {"w": w}, PlainRule(0.5), 1, ("w",), second_order=second_order, keep=True)
    assert path.last["w"].item() == 2
    assert path.gradients[0]["w"].item() == -2
    assert path.losses[0].item() == 2
    loss(path.last, 1).backward()
    assert w.grad is not None
    assert w.grad.item() == expected


def test_prototypes_move_as_parameters_not_as_functions_of_the_encoder() -> None:
    """The first inner gradient of the encoder holds the layer that was made of it fixed."""
    theta = torch.tensor(2.0, requires_grad=True)
    began = {"theta": theta, "w": 3 * theta}
    path = inner_loop(lambda p, _: p["theta"] * p["w"], began, PlainRule(0.1), 1, ("theta", "w"), keep=True)
    assert path.gradients[0]["theta"].item() == 6  # w, not w + 3 theta = 12
    assert path.last["theta"].item() == pytest.approx(1.4)


def test_what_is_kept() -> None:
    learner, _, _ = make(rule="alfa-both", start="l2f", strategy="grouped")
    episode = pictures()
    (part,) = learner.parts(episode.support, None, 2)
    done = learner.adapted(part, training=False, keep=True)
    steps = learner.steps
    n = len(learner.moves)
    assert [len(each) for each in done.trajectory[:4]] == [steps + 1, steps, steps, steps]
    assert {record["beta"].shape for record in done.trajectory.outputs} == {(E, n)}
    assert done.began["gamma"].shape == (E, n)
    last = learner.adapted(part, training=False).trajectory
    assert [len(each) for each in last[:3]] == [1, 0, 0]
    assert all(torch.equal(value, done.trajectory.last[name]) for name, value in last.last.items())


def parabola(parameters: dict[str, Tensor], step: int) -> Tensor:
    return sum((value.square().sum() for value in parameters.values()), torch.zeros(()))


def test_diverging_rate_names_step_and_tensor() -> None:
    start = {"calm": torch.zeros(2), "wild": torch.ones(3)}
    with pytest.raises(TrainingError, match=r"inner step 2.*'wild'.*inner_rate"):
        inner_loop(parabola, start, PlainRule(1e15), 5, ("calm", "wild"))


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match="inner_steps: expected at least 1"):
        inner_loop(parabola, {"w": torch.ones(2)}, PlainRule(), steps, ("w",))


def test_a_loss_that_ignores_a_parameter_is_refused_by_name() -> None:
    start = {"seen": torch.ones(2), "unseen": torch.ones(2)}
    with pytest.raises(ConfigError, match=r"'unseen'.*1 of 2"):
        inner_loop(lambda p, _: p["seen"].sum(), start, PlainRule(), 1, ("seen", "unseen"))


def test_unknown_and_no_moving_tensors_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'v'; known: w"):
        inner_loop(parabola, {"w": torch.ones(2)}, PlainRule(), 1, ("v",))
    with pytest.raises(ConfigError, match="no parameter would move"):
        inner_loop(parabola, {"w": torch.ones(2)}, PlainRule(), 1, ())


def test_mixed_dtypes_are_refused() -> None:
    start = {"single": torch.ones(2), "double": torch.ones(2, dtype=torch.float64)}
    with pytest.raises(ConfigError, match=r"one dtype.*torch.float32, torch.float64.*\.float\(\)"):
        inner_loop(parabola, start, PlainRule(), 1, ("single", "double"))


def test_first_order_with_an_attached_state_is_refused() -> None:
    start = {"w": torch.ones(2)}
    with pytest.raises(ConfigError, match=r"first_order: ALFARule.*alfa_detach"):
        inner_loop(parabola, start, ALFARule(start, 1, detach=False), 1, ("w",), second_order=False)


def test_multi_step_losses_equal_a_plain_sum() -> None:
    """MAML++: query losses after all steps, weighted."""
    learner, path, task = make(strategy="loop", rule="layer-step")
    episode, weights = pictures(), [0.2, 0.3, 0.5]
    targets = query_targets(learner, episode.query, 2)
    for e, part in enumerate(learner.parts(episode.support, episode.query, 2)):
        loss, _, _ = outer_loss(learner, part, targets[e], weights)
        steps = path(episode, e)[1:]
        expected = sum(w * task(episode, e).query_loss(after) for w, after in zip(weights, steps, strict=True))
        torch.testing.assert_close(loss, expected, **EXACT)

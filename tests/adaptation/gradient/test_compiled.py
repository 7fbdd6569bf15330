"""The meta-gradient as a recorded program: the same numbers as the loop; compiled where there is a compiler."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch

from modicum.adaptation.gradient import compiled
from modicum.adaptation.gradient.compiled import Inputs, Program, differentiated
from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.meta import Outcome, meta_gradients
from modicum.adaptation.gradient.step_norms import StepNorms
from modicum.episodes.types import Episode
from modicum.errors import ConfigError, TrainingError

from .small import curves, make, pictures

EXACT = {"rtol": 1e-9, "atol": 1e-11}
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Programs are recorded and run as they are: all but the compiler. Holds a number for each that was made."""
    from torch.fx.experimental.proxy_tensor import make_fx

    made: list[int] = []

    def program(learner: GradientLearner, given: Inputs) -> Program:
        made.append(len(made))
        found: Callable[..., Any] = make_fx(lambda inputs: differentiated(learner, inputs))(given)
        return found

    monkeypatch.setattr(compiled, "compile_program", program)
    return made


def both(
    learner: GradientLearner, episode: Episode, weights: list[float] | None = None
) -> tuple[Any, Any, Outcome, Outcome]:
    """Gradients and outcomes of the loop and of the compiled strategy, on parameters that are the same."""
    twin = copy.deepcopy(learner)
    learner.strategy, twin.strategy = "loop", "compiled"
    outcomes = [meta_gradients(each, episode, weights, 0.5) for each in (learner, twin)]
    return *([value.grad for value in each.parameters()] for each in (learner, twin)), *outcomes


@pytest.mark.parametrize(
    "options",
    [
        {"network": "mlp", "rule": "alfa-attached"},
        {"network": "mlp", "second_order": False},
        {"rule": "alfa-both", "start": "l2f"},
        {"start": "prototypes", "batch_norm": "batch"},
        {"second_order": False, "rule": "layer-step", "batch_norm": "running"},
    ],
)
def test_recorded_program_gives_what_the_loop_gives(recorded: list[int], options: dict[str, Any]) -> None:
    learner, *_ = make(**options)
    episode = curves() if options.get("network") == "mlp" else pictures()
    ours, theirs, loop, program = both(learner, episode)
    torch.testing.assert_close(theirs, ours, **EXACT)
    torch.testing.assert_close(program, loop, **EXACT)


def test_weights_of_steps_change_without_another_program(recorded: list[int]) -> None:
    learner, *_ = make(network="mlp")
    episode = curves()
    for weights in ([0.2, 0.3, 0.5], [0.1, 0.1, 0.8]):
        ours, theirs, *_ = both(learner, episode, weights)
        torch.testing.assert_close(theirs, ours, **EXACT)
        learner.zero_grad()
    learner.strategy = "compiled"
    before = len(recorded)
    meta_gradients(learner, episode, [0.2, 0.3, 0.5])
    meta_gradients(learner, episode, [0.1, 0.1, 0.8])
    assert len(recorded) == before + 1


def test_gradients_follow_parameters_and_add_up(recorded: list[int]) -> None:
    learner, *_ = make(network="mlp")
    episode = curves()
    learner.strategy = "compiled"
    meta_gradients(learner, episode)
    first = [value.grad.clone() for value in learner.parameters() if value.grad is not None]
    meta_gradients(learner, episode)
    torch.testing.assert_close([value.grad for value in learner.parameters()], [2 * value for value in first], **EXACT)
    with torch.no_grad():
        for value in learner.parameters():
            value.mul_(1.5)
    learner.zero_grad()
    ours, theirs, *_ = both(learner, episode)
    torch.testing.assert_close(theirs, ours, **EXACT)
    assert not torch.allclose(theirs[0], first[0])


def test_vmap_and_compiled_hand_on_statistics_of_every_step(recorded: list[int]) -> None:
    learner, *_ = make(norm_moves=False)
    learner.norms = StepNorms(learner.model, learner.steps)
    episode = pictures()
    outcomes = []
    for strategy in ("loop", "vmap", "compiled"):
        learner.strategy = strategy  # type: ignore[assignment]
        outcomes.append(meta_gradients(learner, episode).found)
    assert len(outcomes[0]) > 1
    torch.testing.assert_close(outcomes[1], outcomes[0], **EXACT)
    torch.testing.assert_close(outcomes[2], outcomes[0], **EXACT)


def test_divergence_names_the_step(recorded: list[int]) -> None:
    learner, *_ = make(network="mlp")
    learner.rule.rate = 1e200
    learner.strategy = "compiled"
    with pytest.raises(TrainingError, match="inner step"):
        meta_gradients(learner, curves())


def test_no_compiler_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, *_ = make(network="mlp", strategy="compiled")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        meta_gradients(learner, curves())


def test_padded_support_sets_are_refused() -> None:
    learner, *_ = make(strategy="compiled")
    episode = pictures()
    mask = torch.ones_like(episode.support.y, dtype=torch.bool)
    with pytest.raises(ConfigError, match="padded"):
        meta_gradients(learner, episode._replace(support=episode.support._replace(mask=mask)))


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="torch compiles with g++ or clang++, and there is neither")
def test_compiled_program_gives_what_the_loop_gives() -> None:
    learner, *_ = make(network="mlp", moves="head")
    learner.steps = 1
    ours, theirs, loop, program = both(learner, curves(2))
    torch.testing.assert_close(theirs, ours, **EXACT)
    torch.testing.assert_close(program, loop, **EXACT)

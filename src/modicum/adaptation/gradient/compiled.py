"""The meta-gradient as one compiled function: a program of tensor operations, without Python, for one shape of tasks.

The outer loss with its inner loop is run once while torch records every operation, those of both derivatives too; the record
is a straight program from parameters and pictures to gradients, and torch's compiler makes machine code of it. So whatever
runs eagerly is compiled as it is, and gives the same numbers to rounding.

A program holds for one shape of support and query sets, one set of trained parameters, one order of derivatives and the
device; each further combination is compiled when it first comes. Numbers that stand in Python, as the inner rate, are
constants of the program. Networks without batch norm are compiled for all tasks at once, others for one task after the
other: stacked convolutions gain nothing on a CPU, and the program stays E times smaller.

What it costs stands in `docs/benchmarks.md`: a minute for a small network, several for four convolution blocks. torch keeps
programs on disk (`TORCHINDUCTOR_CACHE_DIR`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call

from modicum.adaptation.gradient.learner import GradientLearner, Part
from modicum.adaptation.gradient.meta import Outcome, average_found, outer_loss, query_targets
from modicum.adaptation.gradient.support import Data
from modicum.adaptation.gradient.tensors import Tensors
from modicum.episodes.types import Episode
from modicum.errors import ConfigError


class Inputs(NamedTuple):
    """All that a program reads. trained: parameters to differentiate by; still: other parameters, and buffers.

    Tensors of one part as in `Part`; weights: (S,) of the outer losses after each step, None for the last alone.
    """

    trained: Tensors
    still: Tensors
    support: Data
    out_mask: Tensor | None
    queries: Tensor
    targets: Tensor
    weights: Tensor | None


class Found(NamedTuple):
    """gradients: of the sum of the tasks' outer losses, by the learner's names, where any. The rest as `Outcome`'s."""

    gradients: Tensors
    losses: Tensor
    outputs: Tensor
    statistics: list[Tensors]


Program = Callable[[Inputs], Found]
_PROGRAMS: WeakKeyDictionary[GradientLearner, dict[object, Program]] = WeakKeyDictionary()


class _Outer(nn.Module):
    """The outer loss as a module, so that its parameters can be exchanged."""

    def __init__(self, learner: GradientLearner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, given: Inputs) -> tuple[Tensor, Tensor, list[Tensors]]:
        """Outer losses (*task), outputs (*task, Q, N) and the statistics of each step."""
        lead = given.targets.dim() - 2
        part = Part(lead, given.support, given.out_mask, given.queries)
        losses, outputs, done = outer_loss(self.learner, part, given.targets, given.weights)
        return losses, outputs, done.support.found


def differentiated(learner: GradientLearner, given: Inputs) -> Found:
    """The program in Python: losses, and their gradients by the trained parameters. The learner does not change."""
    with torch.enable_grad():
        trained = {name: value.detach().requires_grad_() for name, value in given.trained.items()}
        own = {f"learner.{name}": value for name, value in {**trained, **given.still}.items()}
        losses, outputs, found = functional_call(_Outer(learner), own, (given,))
        gradients = torch.autograd.grad(losses.sum(), list(trained.values()), allow_unused=True)
    used = {name: value for name, value in zip(trained, gradients, strict=True) if value is not None}
    return Found(used, losses.detach(), outputs.detach(), found)


def compiled_gradients(
    learner: GradientLearner, episode: Episode, weights: Sequence[float] | None = None, share: float = 1.0
) -> Outcome:
    """As `meta.meta_gradients`. `ConfigError` where there is no compiler, or support sets are padded to differing sizes."""
    if episode.support.mask is not None:
        raise ConfigError(
            "strategy: compiled needs support sets of one size, found padded ones; take loop, or fixed ways and shots"
        )
    targets = query_targets(learner, episode.query, episode.n_out)
    several = weights is not None and any(weights[:-1])
    steps = torch.tensor(weights, dtype=targets.dtype, device=targets.device) if several else None
    own = {name: value.detach() for name, value in learner.named_parameters()}
    trained = {name: own.pop(name) for name, value in learner.named_parameters() if value.requires_grad}
    still = {**own, **dict(learner.named_buffers())}
    results = []
    for e, part in enumerate(learner.parts(episode.support, episode.query, episode.n_out, episode.out_mask)):
        assert part.queries is not None
        mine = targets if part.lead else targets[e]
        given = Inputs(trained, still, part.support, part.out_mask, part.queries, mine, steps)
        found = _program(learner, given)(given)
        _require_finite(learner, part, found.losses)
        _add(learner, found.gradients, share / len(targets))
        results.append(found._replace(statistics=[_one(each, part.lead) for each in found.statistics]))
    lead = targets.shape[0]
    losses = torch.cat([found.losses.reshape(-1) for found in results])
    outputs = torch.cat([found.outputs.reshape(-1, *targets.shape[-2:]) for found in results])
    return Outcome(losses, outputs.reshape(lead, *targets.shape[-2:]), average_found([each.statistics for each in results]))


def _one(statistics: Tensors, lead: int) -> Tensors:
    return {name: value.mean(0) for name, value in statistics.items()} if lead else statistics


def _add(learner: GradientLearner, gradients: Tensors, factor: float) -> None:
    for name, value in learner.named_parameters():
        if name in gradients:
            own = factor * gradients[name]
            value.grad = own if value.grad is None else value.grad + own


def _program(learner: GradientLearner, given: Inputs) -> Program:
    """The compiled program for such inputs; made where it is not there yet."""
    tensors = (*given.support, given.out_mask, given.queries, given.targets, given.weights)
    shapes = tuple(None if value is None else (tuple(value.shape), value.dtype, value.device) for value in tensors)
    key = (shapes, tuple(given.trained), learner.second_order, learner.steps, learner.batch_norm)
    programs = _PROGRAMS.setdefault(learner, {})
    if key not in programs:
        programs[key] = compile_program(learner, given)
    return programs[key]


def compile_program(learner: GradientLearner, given: Inputs) -> Program:
    """Record and compile; the first call of the result does most of the work. `ConfigError` without a compiler."""
    from torch.fx.experimental.proxy_tensor import make_fx

    if given.targets.device.type == "cpu":
        require_compiler()
    recorded = make_fx(lambda inputs: differentiated(learner, inputs))(given)
    compiled = torch.compile(recorded, fullgraph=True, dynamic=False)

    def program(inputs: Inputs) -> Found:
        with torch.no_grad():
            found: Found = compiled(inputs)
        return found

    return program


def require_compiler() -> str:
    """The C++ compiler that torch will use on a CPU: CXX, else the first of g++, clang++ on the path; else `ConfigError`."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise ConfigError(
        "strategy: compiled needs a C++ compiler on a CPU, found neither CXX nor g++ nor clang++; install one, or take "
        "grouped or loop"
    )


def _require_finite(learner: GradientLearner, part: Part, losses: Tensor) -> None:
    """Raise `TrainingError` that names step and tensor where a program diverged: eagerly, it is run again to see where."""
    if not bool(torch.isfinite(losses).all()):
        with torch.no_grad():
            learner.adapted(part, training=True)

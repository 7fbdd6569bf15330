"""Meta-gradients: the outer loss of a batch of tasks, differentiated through their inner loops.

    outer = mean over tasks of sum_j w_j L_query(theta_j),   j = 1..S

w is (0, ..., 0, 1), or MAML++'s (Antoniou et al. 2019, arXiv 1810.09502, "multi-step loss"): at first all 1/S; over a
number of outer steps those before the last fall to 0.03/S and the last one takes the rest; then only the last counts.

Tasks that are looked at one by one are differentiated one by one, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.adaptation.gradient.learner import Adaptation, GradientLearner, Part
from modicum.adaptation.gradient.support import cross_entropy
from modicum.adaptation.gradient.tensors import Tensors
from modicum.episodes.types import Episode, LabelledSet

FLOOR = 0.03
"""What is left of the weight 1/S of a step before the last, as a share of it."""


class Outcome(NamedTuple):
    """Of E tasks: outer losses (E,), outputs (E, Q, N) after the last step, both detached; mean statistics of each step.

    found: buffer name -> (C,) of the support set at step 0, 1, ... and, for batch norm of each step, of the queries last.
    """

    losses: Tensor
    outputs: Tensor
    found: list[Tensors]


def multi_step_weights(steps: int, outer_step: int, over: int) -> list[float]:
    """Weights w_1..w_S of the outer losses after each inner step, at `outer_step` (from 0) of a fading over `over` steps."""
    if outer_step >= over:
        return [0.0] * (steps - 1) + [1.0]
    early = max((1 - outer_step / over) / steps, FLOOR / steps)
    return [early] * (steps - 1) + [1 - (steps - 1) * early]


def query_targets(learner: GradientLearner, query: LabelledSet, n_out: int) -> Tensor:
    """Targets (E, Q, N) of queries: one-hot labels with zero rows for padding, or the values to regress."""
    if learner.function is not cross_entropy:
        return query.y
    targets = F.one_hot(query.y, n_out).to(next(learner.model.parameters()).dtype)
    return targets if query.mask is None else targets * query.mask.unsqueeze(-1)


def outer_loss(
    learner: GradientLearner, part: Part, targets: Tensor, weights: Sequence[float] | Tensor | None, training: bool = True
) -> tuple[Tensor, Tensor, Adaptation]:
    """Outer loss (*task), outputs (*task, Q, N) and what the adaptation left, of one part with queries; differentiable."""
    assert part.queries is not None
    several = isinstance(weights, Tensor) or (weights is not None and any(weights[:-1]))
    done = learner.adapted(part, training=training, keep=several, transform=learner.transform)
    path, last = done.trajectory.parameters, len(done.trajectory.losses)
    outputs = done.support.queries(path[-1], last, part.queries)
    loss = learner.function(outputs, targets)
    if several and weights is not None:
        loss = weights[-1] * loss
        for step, weight in enumerate(weights[:-1], 1):
            loss = loss + weight * learner.function(done.support.queries(path[step], step, part.queries), targets)
    return loss, outputs, done


def meta_gradients(
    learner: GradientLearner, episode: Episode, weights: Sequence[float] | None = None, share: float = 1.0
) -> Outcome:
    """Add to the learner's parameters' `.grad` the gradient of `share` times the mean outer loss of the tasks.

    weights: w_1..w_S, None for the last step's loss alone. Errors as `GradientLearner.adapt`'s.
    """
    if learner.strategy == "compiled":
        from modicum.adaptation.gradient.compiled import compiled_gradients

        return compiled_gradients(learner, episode, weights, share)
    targets = query_targets(learner, episode.query, episode.n_out)
    tasks = len(targets)
    losses, outputs, found = [], [], []
    parts = learner.parts(episode.support, episode.query, episode.n_out, episode.out_mask)
    for e, part in enumerate(parts):
        loss, out, done = outer_loss(learner, part, targets if part.lead else targets[e], weights)
        (share / tasks * loss.sum()).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach().reshape(-1))
        outputs.append(out.detach() if part.lead else out.detach().unsqueeze(0))
        found.append([_mean(each, part.lead) for each in done.support.found])
    return Outcome(torch.cat(losses), torch.cat(outputs), average_found(found))


def average_found(found: Sequence[Sequence[Tensors]]) -> list[Tensors]:
    """Mean over tasks of what each found at its steps."""
    return [_average(each) for each in zip(*found, strict=True)]


def _mean(statistics: Tensors, lead: int) -> Tensors:
    return {name: value.mean(0) for name, value in statistics.items()} if lead else statistics


def _average(several: Sequence[Tensors]) -> Tensors:
    return {name: torch.stack([each[name] for each in several]).mean(0) for name in several[0]}


def moved_buffers(learner: GradientLearner, found: Sequence[Tensors], momentum: float = 0.1) -> Tensors:
    """The learner's buffers, by name, after the running statistics have moved towards what a batch of tasks had.

    The model's own move by the support sets' statistics before the first step; those of each step by their step's. Here
    with one momentum for all layers and the biased variance, unlike `backbones.batch_norm.forward_training`.
    """
    if not found or not found[0]:
        return {}
    own = dict(learner.model.named_buffers())
    new = {f"model.{name}": torch.lerp(own[name], value, momentum) for name, value in found[0].items()}
    if learner.norms is not None:
        new |= {f"norms.{name}": value for name, value in learner.norms.moved(found[1:], momentum).items()}
    return new

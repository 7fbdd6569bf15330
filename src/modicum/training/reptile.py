"""Reptile, alone and with weight clustering: the outer loop that moves theta towards where tasks take it.

Alex Nichol, Joshua Achiam, John Schulman: On First-Order Meta-Learning Algorithms, 2018, arXiv 1803.02999.
Goldblum, Reich, Fowl, Ni, Cherepanova, Goldstein: Unraveling Meta-Learning: Understanding Feature Representations for
Few-Shot Tasks, ICML 2020, arXiv 2002.06753, sec. 5 and algorithm 4 (weight clustering).

    theta_i^0 = theta,    theta_i^j = theta_i^{j-1} - eta grad (L_i + mu R_i),   j = 1..k,   i = 1..m
    R_i = d(theta_i^{j-1}, c)^2,   c = (1/m) sum_p theta_p^{j-1},   d: `modicum.losses.filter_distance`
    theta <- theta + gamma (1/m) sum_i (theta_i^k - theta)

| symbol | variable | default |
|---|---|---|
| L_i | cross-entropy of the support set of task i, or of `inner_batch` pictures of it | |
| eta, k | `inner_rate`, `inner_steps` | 0.01, 5 |
| m, gamma | `batch` (over all processes), `learning_rate` of plain SGD | 4, 1e-3 |
| mu | half of `clustering`: the published coefficient is mu times the 2 of grad R | 5e-5 / 2 |

The optimiser is given minus the mean displacement as gradient, so that SGD without momentum does the third line. Queries
train nothing; their loss and accuracy after adaptation are what the log shows. mu = 0 is Reptile, bit for bit; so is k = 1,
because all tasks stand at one point before the first step, and there R_i = 0 with gradient 0.

Deviations. Unstated in the paper, and ours: c and the lengths of its filters are constants of a step (a gradient through the
mean would only multiply mu by 1 - 1/m); biases and batch norm's affine parameters feel no pull. Algorithm 4 prints
theta - (gamma/m) sum (theta_i^k - theta_i^0), which would move away from the solutions; the sign is Reptile's. Reptile's
released code steps by Adam without its first moment on minibatches; here every inner step is plain SGD, as in
algorithm 4. Its minibatches run through the support set in a fresh order again and again, as ours do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from modicum.adaptation.gradient.inner_loop import Loss, inner_loop
from modicum.adaptation.gradient.learner import GradientLearner, Part
from modicum.adaptation.gradient.meta import Outcome, moved_buffers, query_targets
from modicum.adaptation.gradient.networks import Passes
from modicum.adaptation.gradient.starts import SharedStart
from modicum.adaptation.gradient.support import Data, TaskSupport
from modicum.adaptation.gradient.tensors import Tensors
from modicum.configs import Train
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, cut
from modicum.episodes.types import Episode
from modicum.errors import ConfigError
from modicum.losses.filter_distance import filter_distance_squared
from modicum.runtime import Ranks
from modicum.training.episodic import task_sampler
from modicum.training.inner_batches import InnerBatches, batches_of, require_size
from modicum.training.objectives import AbstractObjective, resident
from modicum.training.objectives import Part as StepPart
from modicum.training.processes import summed
from modicum.training.runs import build_gradient_learner, image_spec
from modicum.training.steps import augmented, episode_accuracy


@final
class _Walk:
    """One task (lead 0), or all tasks stacked (lead 1), on the way from theta: its support set at every step."""

    def __init__(self, learner: GradientLearner, part: Part, place: int, batches: InnerBatches | None) -> None:
        self.part, self.lead = part, part.lead
        passes = Passes(learner.model, part.lead)

        def support(data: Data) -> TaskSupport:
            return TaskSupport(
                passes, learner.function, data, learner.batch_norm, out_mask=part.out_mask, training=True
            )  # fmt: skip

        self.whole = support(part.support)
        self.each = [self.whole] * learner.steps
        if batches is not None:
            self.each = [support(data) for data in batches_of(part.support, part.lead, batches, place, learner.steps)]
        own = {name: value.detach() for name, value in learner.model.named_parameters()}
        tasks = (len(part.support.x),) * self.lead
        self.start: Tensors = {name: value.expand(*tasks, *value.shape) for name, value in own.items()}

    def loss(self, parameters: Tensors, step: int) -> Tensor:
        """Support loss (*task) before step `step`."""
        return self.each[step].loss(parameters, step)


def clustered(loss: Loss, moves: Sequence[str], centre: Mapping[str, Tensor], mu: float, lead: int) -> Loss:
    """L_i + mu R_i as a function of (parameters, step): (*task); centre: name -> tensor without task dimensions."""

    def penalised(parameters: Tensors, step: int) -> Tensor:
        own = {name: parameters[name] for name in moves}
        return loss(parameters, step) + mu * filter_distance_squared(own, centre, lead)

    return penalised


def _centre(places: Sequence[Tensors], leads: Sequence[int], moves: Sequence[str], factor: float) -> Tensors:
    """Mean over the tasks of all processes; factor: share of the batch that is here over the number of tasks here."""
    sums = {
        name: torch.stack([one[name].sum(0) if lead else one[name] for one, lead in zip(places, leads, strict=True)]).sum(0)
        for name in moves
    }
    flat = summed(factor * torch.cat([value.reshape(-1) for value in sums.values()]))
    pieces = torch.split(flat, [value.numel() for value in sums.values()])
    return {name: piece.view(value.shape) for (name, value), piece in zip(sums.items(), pieces, strict=True)}


def _apart(learner: GradientLearner, walk: _Walk) -> Tensors:
    """theta_i^k of tasks that know nothing of each other."""
    return inner_loop(
        walk.loss, walk.start, learner.rule, learner.steps, learner.moves, lead=walk.lead, second_order=False
    ).last  # fmt: skip


def _together(learner: GradientLearner, walks: Sequence[_Walk], mu: float, factor: float) -> list[Tensors]:
    """theta_i^k of tasks that step together, each pulled to the mean of where all stood before the step."""
    places = [walk.start for walk in walks]
    for step in range(learner.steps):
        losses: list[Loss] = [walk.loss for walk in walks]
        if step > 0:
            centre = _centre(places, [walk.lead for walk in walks], learner.moves, factor)
            losses = [clustered(walk.loss, learner.moves, centre, mu, walk.lead) for walk in walks]
        places = [
            inner_loop(
                loss, place, learner.rule, 1, learner.moves, lead=walk.lead, second_order=False, first=step
            ).last
            for loss, place, walk in zip(losses, places, walks, strict=True)
        ]  # fmt: skip
    return places


@torch.no_grad()
def reptile_gradients(
    learner: GradientLearner,
    episode: Episode,
    share: float = 1.0,
    *,
    clustering: float | None = None,
    batches: InnerBatches | None = None,
) -> Outcome:
    """Add -share times the tasks' mean displacement theta^k - theta to the `.grad` of the parameters that move.

    share: the part of the batch that these tasks are; over all processes the shares sum to 1. clustering: the published
    coefficient, 2 mu, for which every process calls this at the same time; None for Reptile. The outcome is of the queries
    after adaptation. `ConfigError` for a learner with anything to learn but its model; errors as `GradientLearner.adapt`'s.
    """
    learned = learner.norms is not None or bool(list(learner.rule.parameters()))
    if learned or not isinstance(learner.start, SharedStart):
        raise ConfigError("method: Reptile has no gradient for learned starts, rules or batch norm of each step; take maml")
    parts = list(learner.parts(episode.support, episode.query, episode.n_out, episode.out_mask))
    walks = [_Walk(learner, part, place, batches) for place, part in enumerate(parts)]
    tasks = sum(len(walk.part.support.x) if walk.lead else 1 for walk in walks)
    factor = share / tasks
    if clustering is None:
        ends = [_apart(learner, walk) for walk in walks]
    else:
        ends = _together(learner, walks, clustering / 2, factor)
    own = dict(learner.model.named_parameters())
    for name in learner.moves:
        moved = [end[name] - walk.start[name] for end, walk in zip(ends, walks, strict=True)]
        total = torch.stack([one.sum(0) if walk.lead else one for one, walk in zip(moved, walks, strict=True)]).sum(0)
        before = own[name].grad
        own[name].grad = -factor * total if before is None else before - factor * total
    return _outcome(learner, episode, walks, ends)


def _outcome(learner: GradientLearner, episode: Episode, walks: Sequence[_Walk], ends: Sequence[Tensors]) -> Outcome:
    """Losses and outputs of the queries under the adapted parameters, and what batch norm found at the first step."""
    outputs, found = [], []
    for walk, end in zip(walks, ends, strict=True):
        assert walk.part.queries is not None
        out = walk.whole.queries(end, learner.steps, walk.part.queries)
        outputs.append(out if walk.lead else out.unsqueeze(0))
        found += [{k: v.mean(0) if walk.lead else v for k, v in each.items()} for each in walk.each[0].found[:1]]
    every = torch.cat(outputs)
    means = {name: torch.stack([each[name] for each in found]).mean(0) for name in found[0]} if found else {}
    return Outcome(learner.function(every, query_targets(learner, episode.query, episode.n_out)), every, [means])


def reptile_step(config: Train, learner: GradientLearner, episode: Episode, numbers: Sequence[int], share: float) -> Outcome:
    """`reptile_gradients` of the tasks with these numbers as the options have it."""
    batches = None if config.inner_batch is None else InnerBatches(config.inner_batch, config.seed, numbers)
    clustering = config.clustering if config.method == "reptile-wc" else None
    return reptile_gradients(learner, episode, share, clustering=clustering, batches=batches)


def reptile_optimizer(config: Train, module: nn.Module) -> torch.optim.Optimizer | None:
    """Plain SGD, whose learning rate is gamma, in place of the SGD with momentum of other methods; None for Adam."""
    if config.optimizer != "sgd":
        return None
    return torch.optim.SGD(module.parameters(), config.learning_rate, weight_decay=config.weight_decay)


@final
class ReptileObjective(AbstractObjective):
    """Minus the mean displacement of a step's tasks, left as gradient; loss and accuracy of their queries afterwards."""

    learner: GradientLearner

    def __init__(self, config: Train, pictures: PictureSet, device: torch.device) -> None:
        self.config, self.device = config, device
        if config.inner_batch is not None:
            require_size(config.inner_batch, config.ways * config.shots)
        self.sampler, pixels = task_sampler(config, pictures)
        told = f"{config.optimizer} takes the displacements: --optimizer sgd is Reptile as published"
        plain = "" if config.optimizer == "sgd" else told
        self.note = "; ".join(text for text in (self.sampler.note, plain) if text)
        self.pixels: Pixels = resident(pixels, device)
        self.module = self.learner = build_gradient_learner(config, image_spec(pictures)).to(device)
        self.encoder = self.learner.encoder
        self.optimizer = reptile_optimizer(config, self.module)

    @property
    def buffered(self) -> nn.Module:
        """The learner, by whose names `moved_buffers` calls them."""
        return self.module

    def example(self) -> Tensor:
        """Two support pictures of the first task."""
        return cut(self.pixels, self.sampler.tasks([0]), self.device).support.x[0, :2]

    def part(self, step: int, here: Ranks) -> StepPart:
        """Displacements of the tasks t = r mod R of the step's `batch` tasks."""
        config = self.config
        tasks = self.sampler.step(step, config.batch, here)
        episode = cut(self.pixels, tasks, self.device)
        if config.augment:
            episode = augmented(episode, tasks, config.seed, self.encoder.spec.strokes)
        share = len(tasks.number) / config.batch
        outcome = reptile_step(config, self.learner, episode, tasks.number.tolist(), share)
        accuracy = episode_accuracy(outcome.outputs, episode)
        return StepPart(share * outcome.losses.mean(), share * accuracy, moved_buffers(self.learner, outcome.found), share)

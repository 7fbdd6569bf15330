"""Meta-training through inner gradient steps: MAML and the methods like it, on few-shot tasks of pictures.

A batch's meta-gradient is the sum of its tasks', each of which sees its own pictures only; so several processes that share a
batch compute what one would, to rounding.
"""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from modicum.adaptation.gradient.learner import GradientLearner, first_order
from modicum.adaptation.gradient.meta import meta_gradients, moved_buffers, multi_step_weights
from modicum.configs import Train
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, cut
from modicum.runtime import Ranks
from modicum.training.episodic import task_sampler
from modicum.training.objectives import AbstractObjective, Part, resident
from modicum.training.runs import build_gradient_learner, image_spec
from modicum.training.steps import augmented, episode_accuracy

MULTI_STEP, FIRST_ORDER = 0.15, 0.5
"""maml++: the parts of all steps over which the losses after early inner steps fade, and which run in first order.
Ours: 15 of 100 epochs for the former, as specified; when the order changes is our choice."""


def annealing(config: Train) -> tuple[int, int]:
    """Outer steps over which the losses after early inner steps fade, and outer steps of first order at the start."""
    plus = config.method == "maml++"
    fading = int(plus * MULTI_STEP * config.steps) if config.multi_step is None else config.multi_step
    half = int(plus * FIRST_ORDER * config.steps)
    return fading, half if config.first_order_until is None else config.first_order_until


@final
class GradientObjective(AbstractObjective):
    """Mean query loss of the tasks of a step after their inner steps. Gradients are left in the parameters."""

    learner: GradientLearner

    def __init__(self, config: Train, pictures: PictureSet, device: torch.device) -> None:
        self.config, self.device = config, device
        self.sampler, pixels = task_sampler(config, pictures)
        self.note = self.sampler.note
        self.pixels: Pixels = resident(pixels, device)
        self.module = self.learner = build_gradient_learner(config, image_spec(pictures)).to(device)
        self.encoder = self.learner.encoder
        self.fading, self.first_order_until = annealing(config)

    @property
    def buffered(self) -> nn.Module:
        """The learner: batch norm of its own for every step has buffers beside the encoder's."""
        return self.module

    def example(self) -> torch.Tensor:
        """Two support pictures of the first task."""
        return cut(self.pixels, self.sampler.tasks([0]), self.device).support.x[0, :2]

    def part(self, step: int, here: Ranks) -> Part:
        """Loss of the tasks t = r mod R of the step's `batch` tasks; their gradients are left in the parameters."""
        config = self.config
        tasks = self.sampler.step(step, config.batch, here)
        episode = cut(self.pixels, tasks, self.device)
        if config.augment:
            episode = augmented(episode, tasks, config.seed, self.encoder.spec.strokes)
        share = len(tasks.number) / config.batch
        weights = multi_step_weights(config.inner_steps, step, self.fading) if step < self.fading else None
        with first_order(self.learner, step < self.first_order_until):
            outcome = meta_gradients(self.learner, episode, weights, share)
        accuracy = episode_accuracy(outcome.outputs, episode)
        return Part(share * outcome.losses.mean(), share * accuracy, moved_buffers(self.learner, outcome.found), share)

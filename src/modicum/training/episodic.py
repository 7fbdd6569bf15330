"""Meta-training: the loss of a batch of few-shot tasks, each adapted on its support set and scored on its queries.

Everything random in step s is a function of (seed, s) and of the task numbers, so that neither a resumption nor the number
of processes changes what is drawn.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from modicum.adaptation.learner import HeadLearner
from modicum.configs import Train
from modicum.data.pictures import PictureSet
from modicum.episodes.cutting import Pixels, cut
from modicum.episodes.diversity import with_noise_support
from modicum.episodes.sampler import EpisodeSampler
from modicum.runtime import Ranks, philox
from modicum.training.objectives import AbstractObjective, DropSchedule, Part, resident
from modicum.training.runs import build_learner, image_spec
from modicum.training.steps import augmented, episode_loss


@final
class EpisodicObjective(AbstractObjective):
    """Mean query cross-entropy of the tasks of a step."""

    learner: HeadLearner

    def __init__(self, config: Train, pictures: PictureSet, device: torch.device) -> None:
        self.config, self.device = config, device
        self.sampler, pixels = task_sampler(config, pictures)
        self.note = self.sampler.note
        self.pixels: Pixels = resident(pixels, device)
        self.module = self.learner = build_learner(config, image_spec(pictures)).to(device)
        self.learner.to(memory_format=torch.channels_last)
        self.encoder = self.learner.encoder
        self.dropping = DropSchedule(self.encoder, 2)  # support and query: two passes of the batch
        self.precision = torch.bfloat16 if config.precision == "bfloat16" else torch.float32

    def example(self) -> Tensor:
        """Two support pictures of the first task."""
        return cut(self.pixels, self.sampler.tasks([0]), self.device).support.x[0, :2]

    def part(self, step: int, here: Ranks) -> Part:
        """Loss of the tasks t = r mod R of the step's `batch` tasks."""
        config = self.config
        tasks = self.sampler.step(step, config.batch, here)
        episode = cut(self.pixels, tasks, self.device)
        if config.augment:
            episode = augmented(episode, tasks, config.seed, self.encoder.spec.strokes)
        self.dropping.set(step)
        self.module.train()
        seeds = [int(philox(config.seed, "dropout", int(t)).integers(2**62)) for t in tasks.number]
        logits, buffers = self.learner.episode_logits(episode, self.precision, seeds)
        share = len(tasks.number) / config.batch
        loss, accuracy = episode_loss(logits, episode)
        return Part(share * loss, share * accuracy, buffers, share)


def task_sampler(config: Train, pictures: PictureSet) -> tuple[EpisodeSampler, np.ndarray]:
    """The sampler of training tasks, with the diversity asked for, and the pictures (n, H, W, C) its indices mean."""
    pixels, noise = pictures.pixels, None
    if config.support_noise and config.support_pool is not None:
        pixels, noise = with_noise_support(pixels, len(pictures.classes), config.support_pool, config.seed)
    sampler = EpisodeSampler(
        pictures.labels, config.ways, config.shots, config.queries, seed=config.seed, stream="train",
        names=pictures.classes, support_pool=config.support_pool, query_pool=config.query_pool,
        task_pool=config.task_pool, noise=noise,
    )  # fmt: skip
    return sampler, pixels

"""Which objective a method trains by."""

from __future__ import annotations

import torch

from modicum.configs import Train
from modicum.configs.gradient import REPTILES
from modicum.data.pictures import PictureSet
from modicum.registry import GRADIENT_METHODS
from modicum.runtime import Ranks
from modicum.training.classical import ClassicalObjective
from modicum.training.episodic import EpisodicObjective
from modicum.training.gradient import GradientObjective
from modicum.training.objectives import AbstractObjective


def make_objective(config: Train, pictures: PictureSet, device: torch.device, here: Ranks) -> AbstractObjective:
    """The objective of `config.method` on training pictures."""
    if config.method == "classical":
        return ClassicalObjective(config, pictures, device, here)
    if config.method in REPTILES:
        from modicum.training.reptile import ReptileObjective

        return ReptileObjective(config, pictures, device)
    if config.method in GRADIENT_METHODS:
        return GradientObjective(config, pictures, device)
    return EpisodicObjective(config, pictures, device)

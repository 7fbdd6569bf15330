"""What a training is about: few-shot tasks of pictures, or regression tasks. The outer loop is the same for both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal, final

import torch

from modicum.backbones.probe import probe
from modicum.configs import Train
from modicum.data.pictures import PictureSet
from modicum.evaluation.intervals import MeanInterval, mean_interval
from modicum.models import save_encoder
from modicum.runtime import Ranks
from modicum.training.objective_of import make_objective
from modicum.training.objectives import AbstractObjective
from modicum.training.runs import data_digest
from modicum.training.scoring import score_tasks
from modicum.training.splitting import Parts, training_parts


class AbstractSubject(ABC):
    """Objective, validation, what a run says of its data, and what it leaves beside checkpoints.

    config: the configuration, completed by what the data decides. measure: what validation measures; an "accuracy" is
    better where it is higher, an "mse" where it is lower. validated: whether there is anything to validate on. digest: of
    all data. note: what a user should know of it, or "".
    """

    config: Train
    objective: AbstractObjective
    measure: Literal["accuracy", "mse"]
    validated: bool
    digest: str
    note: str

    @abstractmethod
    def validate(self, here: Ranks) -> MeanInterval:
        """The measure over the validation tasks; every process calls it and scores its share."""

    @abstractmethod
    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Write into `run` what others use of the best weights so far; validation: their measure, None without one."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What config.json says of the data, and of the network beside its options."""

    def finish(self, run: Path) -> None:
        """Write into `run` what takes the finished training; the first process calls it once, behind the last step."""
        return

    def close(self) -> None:
        """Release what was held open for the training."""
        return


@final
class PictureSubject(AbstractSubject):
    """Tasks of pictures, or classical training on them; leaves RUN/encoder."""

    measure = "accuracy"

    def __init__(self, config: Train, pictures: PictureSet, device: torch.device, here: Ranks) -> None:
        self.config, self.pictures, self.device = config, pictures, device
        self.parts: Parts = training_parts(config, pictures)
        self.digest = data_digest(pictures)
        self.objective = make_objective(config, self.parts.inner, device, here)
        self.encoder = self.objective.encoder
        self.validated = self.parts.validation is not None
        self.note = "; ".join(note for note in (self.parts.note, self.objective.note, pictures.left_out) if note)
        probe(self.encoder, self.objective.example())

    def validate(self, here: Ranks) -> MeanInterval:
        """Accuracy on the validation classes."""
        tasks, held_out = self.parts.validation, self.parts.held_out
        assert tasks is not None
        assert held_out is not None
        scores = score_tasks([self.objective.learner], held_out.pixels, tasks, self.device, here=here)
        return mean_interval(scores.per_task, "draws of validation tasks")

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Save the encoder with its card."""
        save_encoder(self.encoder, run / "encoder", self._card(steps, validation))

    def _card(self, steps: int, validation: float | None) -> str:
        validated = "not validated" if validation is None else f"{100 * validation:.1f} % on its validation tasks"
        config, inner = self.config, self.parts.inner
        each = f"{config.batch_pictures} pictures" if config.method == "classical" else f"{config.batch} tasks"
        return (
            f"# Encoder of a modicum run\n\n{config.backbone}, trained by {config.method} on "
            f"{inner.name}: {len(inner.classes)} classes, {len(inner.labels)} pictures, "
            f"{steps} steps of {each}; {validated}.\n"
        )

    def record(self) -> dict[str, Any]:
        """The encoder's form, and name, size, splits and digest of the pictures."""
        pictures = self.pictures
        return {
            "encoder": {"backbone": self.config.backbone, "spec": self.encoder.spec.as_record()},
            "data": {
                "name": pictures.name,
                "pictures": len(pictures.labels),
                "splits": {name: list(classes) for name, classes in pictures.splits.items()},
                "digest": self.digest,
            },
            "split_rule": pictures.split_rule,
            "note": self.note,
        }

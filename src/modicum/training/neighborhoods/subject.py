"""Training of Meta-Neighborhoods and its baselines on pictures: data, validation, what a run says and leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.backbones.probe import probe
from modicum.backbones.synchronised import synchronise
from modicum.configs import Train, require
from modicum.configs.neighborhoods import with_backbone
from modicum.configs.usual import is_usual
from modicum.data.pictures import PictureSet
from modicum.evaluation.intervals import MeanInterval
from modicum.models import save_encoder
from modicum.runtime import Progress, Ranks
from modicum.training.neighborhoods.networks import build_network, entries_of
from modicum.training.neighborhoods.objective import NeighborhoodsObjective
from modicum.training.neighborhoods.scoring import predicted
from modicum.training.neighborhoods.voting import keep_voters
from modicum.training.runs import data_digest
from modicum.training.subjects import AbstractSubject
from modicum.training.supervised_networks import base_encoder
from modicum.training.supervised_parts import UNVALIDATED, balanced_validation, data_record, encoder_card, prepared

Ints = NDArray[np.int64]


def completed(config: Train, n: int, classes: int) -> Train:
    """The configuration with what n training pictures of so many classes decide, and the backbone's full name.

    `ConfigError` for more neighbours under --baseline knn than there are training pictures.
    """
    voters = min(config.neighbours, n) if is_usual(config.neighbours) else config.neighbours
    require(
        config.baseline != "knn" or voters <= n,
        f"neighbours: {voters} asked for, but there are {n} training pictures to vote; take at most {n}",
    )
    reads = config.baseline in ("none", "parameters")
    entries = entries_of(config, classes) if reads else config.entries
    neighbours = voters if config.baseline == "knn" else config.neighbours
    return with_backbone(replace(config, entries=int(entries), neighbours=int(neighbours)))


@final
class NeighborhoodsSubject(AbstractSubject):
    """Pictures of all classes, some held out; validated by balanced accuracy after adaptation; leaves RUN/encoder."""

    measure = "accuracy"
    objective: NeighborhoodsObjective

    def __init__(
        self, config: Train, pictures: PictureSet, device: torch.device, here: Ranks, progress: Progress | None = None
    ) -> None:
        self.pictures, self.device, self.progress, self.digest = pictures, device, progress, data_digest(pictures)
        config, self.parts = prepared(config, pictures, here)
        train = self.parts.train
        self.config = config = completed(config, len(train), len(pictures.classes))
        encoder = base_encoder(config, pictures.subset(train[:: max(1, len(train) // 2_000)]))
        network = build_network(config, len(pictures.classes), encoder, device)
        if here.size > 1:
            synchronise(encoder)
        self.objective = NeighborhoodsObjective(config, network, pictures, train, device)
        self.validated = len(self.parts.validation) > 0
        self.note = "; ".join(note for note in ("" if self.validated else UNVALIDATED, pictures.left_out) if note)
        probe(encoder, self.objective.example())

    def validate(self, here: Ranks) -> MeanInterval:
        """Balanced accuracy on the validation pictures."""

        def predict(rows: Ints) -> Tensor:
            """Classes (m,) of pictures at rows (m,)."""
            return predicted(self.objective.network, self.objective.pixels, rows, self.device)

        return balanced_validation(self.pictures, self.parts.validation, predict, self.device, here)

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Save the encoder with its card."""
        config = self.config
        how = {"none": f"a dictionary of {config.entries:,} entries, {config.inner_steps} inner steps"}
        told = how.get(config.baseline, f"baseline {config.baseline}")
        card = encoder_card(config, config.backbone, told, self.pictures.name, self.objective.counts, steps, validation)
        save_encoder(self.objective.encoder, run / "encoder", card)

    def finish(self, run: Path) -> None:
        """The features of the training pictures, which vote under --baseline knn."""
        if self.config.baseline == "knn":
            keep_voters(run, self.pictures, self.parts.train, self.device, self.progress)

    def record(self) -> dict[str, Any]:
        """Encoder, parameters, data and how it was split."""
        objective, encoder = self.objective, self.objective.encoder
        own = sum(parameter.numel() for parameter in encoder.parameters())
        every = sum(parameter.numel() for parameter in objective.network.parameters())
        return {
            "encoder": {"backbone": encoder.config["backbone"], "spec": encoder.spec.as_record()},
            "parameters": {"encoder": own, "others": every - own},
            "augmentation": objective.augmentation,
            "data": data_record(self.pictures, self.parts, objective.counts, self.digest),
            "split_rule": self.parts.rule,
            "note": self.note,
        }

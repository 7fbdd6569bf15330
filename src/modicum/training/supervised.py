"""Training on pictures of all classes under a long tail: retrieval augmented classification, and its baselines without.

The subject of such a training: which pictures train, the memory of them, the network, what a run says of all that. What is
minimised: `supervised_objective`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.backbones.probe import probe
from modicum.backbones.synchronised import synchronise
from modicum.configs import Train, require
from modicum.configs.usual import is_usual
from modicum.data.pictures import PictureSet
from modicum.evaluation.intervals import MeanInterval
from modicum.files import make_folder
from modicum.models import save_encoder
from modicum.runtime import Progress, Ranks
from modicum.training.memories import (
    RunMemory,
    given_memory,
    ids_in,
    keep_encoder,
    loaded_encoder,
    memory_record,
    own_memory,
    require_not_held,
    require_unchanged,
    trained_before,
)
from modicum.training.processes import first_alone
from modicum.training.runs import data_digest, read_record
from modicum.training.subjects import AbstractSubject
from modicum.training.supervised_data import held_out
from modicum.training.supervised_networks import base_encoder, build_network, continue_from, decoupled
from modicum.training.supervised_objective import SupervisedObjective
from modicum.training.supervised_parts import UNVALIDATED, balanced_validation, data_record, encoder_card, prepared
from modicum.training.supervised_scoring import score_pictures

Ints = NDArray[np.int64]


@final
class SupervisedSubject(AbstractSubject):
    """Pictures of all classes, some held out; validated by balanced accuracy; leaves RUN/encoder and RUN/memory."""

    measure = "accuracy"
    objective: SupervisedObjective

    def __init__(
        self, config: Train, pictures: PictureSet, device: torch.device, here: Ranks, progress: Progress | None = None
    ) -> None:
        self.pictures, self.device, self.digest = pictures, device, data_digest(pictures)
        config, self.parts = prepared(config, pictures, here)
        train = self.parts.train
        make_folder(config.out)
        self.found = self._memory(config, here, progress)
        some = pictures.subset(train[:: max(1, len(train) // 2_000)])
        base = None if config.branches == "retrieval" else base_encoder(config, some)
        neighbours = config.neighbours
        if self.found is not None:
            others = len(self.found.memory) - 1  # beside the picture itself
            neighbours = max(1, min(neighbours, others)) if is_usual(neighbours) else neighbours
            require(
                neighbours <= others,
                f"neighbours: {neighbours} asked for, but {self.found.store} holds {others + 1} items, one of which may be "
                f"the picture itself; take at most {others}, or add items",
            )
        backbone = config.backbone if base is None else base.config["backbone"]
        self.config = config = replace(config, neighbours=int(neighbours), backbone=backbone)
        network = build_network(config, len(pictures.classes), base, self.found, config.neighbours)
        if config.decouple != "none":
            continue_from(network, str(config.pretrained), config, pictures.classes)
            self._require_untrained(str(config.pretrained))
            decoupled(network, config)
        if here.size > 1 and network.base is not None:
            network.base = synchronise(network.base)
        ids = np.full(len(train), -1) if self.found is None else ids_in(self.found.memory, pictures, train)
        self.objective = SupervisedObjective(config, network, pictures, train, ids, device)
        self.validated = len(self.parts.validation) > 0
        self.note = self._note(ids)
        if network.base is not None:
            probe(network.base, self.objective.example())

    def _require_untrained(self, first: str) -> None:
        """`ConfigError` where pictures that are held out here trained the run that a second stage goes on from."""
        before, record = read_record(first)
        if record["data"]["digest"] != self.digest:
            return
        held = np.concatenate([self.parts.validation, self.parts.test])
        seen = np.isin(held, held_out(before, self.pictures).train) if before.group == self.config.group else held >= 0
        require(
            not seen.any(),
            f"pretrained: {int(seen.sum())} of the {len(held)} pictures held out here may have trained {first}; take its "
            "seed, group, shares and imbalance",
        )

    def _memory(self, config: Train, here: Ranks, progress: Progress | None) -> RunMemory | None:
        if config.branches == "base":
            return None
        encoder = loaded_encoder(config).to(self.device)
        with first_alone(here):
            keep_encoder(config, encoder)
        if config.memory is not None:
            found = given_memory(encoder, config.memory)
            require_not_held(found, self.pictures, np.concatenate([self.parts.validation, self.parts.test]))
        else:
            with first_alone(here):
                found = own_memory(config, encoder, self.pictures, self.parts.train, progress if here.rank == 0 else None)
        if config.resume and (Path(config.out) / "config.json").is_file():
            require_unchanged(found, read_record(config.out)[1], Path(config.out))
        return found

    def _note(self, ids: Ints) -> str:
        notes = [] if self.validated else [UNVALIDATED]
        if self.found is not None and not self.found.own:
            notes.append(f"{int((ids >= 0).sum())} of the {len(ids)} training pictures are in the memory")
        return "; ".join(note for note in (*notes, self.pictures.left_out) if note)

    def validate(self, here: Ranks) -> MeanInterval:
        """Balanced accuracy on the validation pictures, of the branches that are trained."""
        objective, rows = self.objective, self.parts.validation

        def predict(mine: Ints) -> torch.Tensor:
            """Classes (m,) of pictures at rows (m,)."""
            scored = score_pictures(objective.network, self.config, objective.pixels, mine, self.device)
            return scored.logits()[self.config.branches].argmax(-1)

        return balanced_validation(self.pictures, rows, predict, self.device, here)

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """Save the base branch's encoder with its card."""
        base = self.objective.network.base
        if base is not None:
            config, counts = self.config, self.objective.counts.cpu().numpy()
            how, backbone = f"{config.branches}, {config.loss}", base.config["backbone"]
            card = encoder_card(config, backbone, how, self.pictures.name, counts, steps, validation)
            save_encoder(base, run / "encoder", card)

    def close(self) -> None:
        """Close the memory."""
        if self.found is not None:
            self.found.memory.close()

    def record(self) -> dict[str, Any]:
        """Encoder, data and how it was split, memory, and what both encoders were trained on before."""
        base, pictures, parts = self.objective.network.base, self.pictures, self.parts
        config, found, counts = self.config, self.found, self.objective.counts.cpu().numpy()
        return {
            "encoder": None if base is None else {"backbone": base.config["backbone"], "spec": base.spec.as_record()},
            "data": data_record(pictures, parts, counts, self.digest),
            "split_rule": parts.rule,
            "note": self.note,
            "memory": None if found is None else memory_record(found),
            "pretraining": {
                "base": None if base is None else trained_before(config.pretrained),
                "encoder": None if found is None else trained_before(found.memory.info.encoder),
            },
        }

"""A training of low-bit layers: any training of pictures with two penalties on its loss, begun from given weights.

    L = L of the method + penalty * R_o + carry_penalty * R_c

R_o and R_c are sums over layers and, where a step runs the encoder several times (support and query of every task), means
over these passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from modicum.configs import Train
from modicum.evaluation.intervals import MeanInterval
from modicum.quantization.watching import Record, watching
from modicum.runtime import Progress, Ranks
from modicum.training.objectives import AbstractObjective, Part
from modicum.training.subject_of import Data, Make, make_subject
from modicum.training.subjects import AbstractSubject


@dataclass(frozen=True)
class Penalties:
    """Weights of R_o and R_c in a stage; carried: the layers that R_c is of, None for all."""

    overflow: float = 0.0
    carries: float = 0.0
    carried: frozenset[str] | None = None


def _sum(values: list[Tensor]) -> Tensor | float:
    return torch.stack(values).sum() if values else 0.0


def penalty_of(records: list[Record], penalties: Penalties) -> Tensor | float:
    """What the records of one step add to its loss."""
    if not records:
        return 0.0
    passes = max(Counter(record.name for record in records).values())
    over = _sum([record.penalty for record in records if record.penalty is not None])
    chosen = [record for record in records if penalties.carried is None or record.name in penalties.carried]
    carries = _sum([record.carry_variance for record in chosen if record.carry_variance is not None])
    return (penalties.overflow * over + penalties.carries * carries) / passes


@final
class LowBitObjective(AbstractObjective):
    """Another objective with penalties; everything else is that one's."""

    def __init__(self, inner: AbstractObjective, penalties: Penalties) -> None:
        self.inner, self.penalties = inner, penalties
        self.module, self.encoder = inner.module, inner.encoder
        self.note, self.optimizer = inner.note, inner.optimizer

    @property
    def buffered(self) -> nn.Module:
        """That of the inner objective."""
        return self.inner.buffered

    def example(self) -> Tensor:
        """That of the inner objective."""
        return self.inner.example()

    def part(self, step: int, here: Ranks) -> Part:
        """The inner objective's part with this process's share of the penalties."""
        weights = self.penalties
        if not (weights.overflow or weights.carries):
            return self.inner.part(step, here)
        with watching(penalties=weights.overflow > 0, carries=weights.carries > 0) as watch:
            part = self.inner.part(step, here)
        return part._replace(loss=part.loss + part.share * penalty_of(watch.records, weights))


@final
class LowBitSubject(AbstractSubject):
    """Another subject whose objective has penalties. said: what config.json says of the stage beside that."""

    def __init__(self, inner: AbstractSubject, penalties: Penalties, said: dict[str, Any]) -> None:
        self.inner, self.said = inner, said
        self.config, self.measure, self.validated = inner.config, inner.measure, inner.validated
        self.digest, self.note = inner.digest, inner.note
        self.objective = LowBitObjective(inner.objective, penalties)

    def validate(self, here: Ranks) -> MeanInterval:
        """As the method validates."""
        return self.inner.validate(here)

    def keep(self, run: Path, steps: int, validation: float | None) -> None:
        """What the method keeps."""
        self.inner.keep(run, steps, validation)

    def record(self) -> dict[str, Any]:
        """The method's record, and `low_bit`: the stage."""
        return {**self.inner.record(), "low_bit": self.said}

    def finish(self, run: Path) -> None:
        """What the method does."""
        self.inner.finish(run)

    def close(self) -> None:
        """What the method does."""
        self.inner.close()


Begin = Callable[[AbstractSubject], dict[str, Any]]
"""Gives a subject the weights it begins with; returns what its run says of the stage."""


def making(begin: Begin, penalties: Penalties, check: Callable[[Data], None] = lambda _: None) -> Make:
    """What makes the subject of a stage. check: called with its data first; may raise."""

    def make(
        config: Train, data: Data, device: torch.device, here: Ranks, progress: Progress | None = None
    ) -> AbstractSubject:
        """The method's own subject, with weights put in and penalties around it."""
        check(data)
        inner = make_subject(config, data, device, here, progress)
        return LowBitSubject(inner, penalties, begin(inner))

    return make

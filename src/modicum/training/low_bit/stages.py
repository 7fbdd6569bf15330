"""The stages of `quantize`, each an ordinary training in a folder of its own.

| folder | what its layers do | begins with |
|---|---|---|
| OUT/weights | weights of few bits, activations in float | the run's best weights |
| OUT/warm-up | step sizes chosen; the cyclic function on real numbers | the best of OUT/weights |
| OUT/codes | `--carries simulate` and `hybrid` alone: what OUT does elsewhere | the best of OUT/warm-up |
| OUT/carries/NN-LAYER | one more layer counts carries into its sums, the least varying first | the best before it |
| OUT | activations of few bits, sums that wrap, penalties; the carries as they are to be | the best before it |

A stage of 0 steps is left out. Baselines with exact sums go through the same stages, so that all are trained for as many
steps; where nothing wraps, step sizes are chosen before the last stage. A stage that is finished is not trained again, one
that was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modicum.backbones.encoder import Encoder, build_encoder
from modicum.configs import Quantize
from modicum.quantization.layers import BUFFER, CODES, WARM_UP, set_carry, set_stage, simulate_carries
from modicum.runtime import Progress, device
from modicum.training.checkpoints import LAST, read_checkpoint, restore_learner
from modicum.training.low_bit.beginning import (
    CalibrationPictures,
    calibrated,
    keep_in_float,
    put_weights,
    require_same_pictures,
    said_before,
)
from modicum.training.low_bit.begun import Begun, stage_config
from modicum.training.low_bit.subject import Penalties, making
from modicum.training.neighborhoods.runs import checkpoint_of
from modicum.training.runs import read_record
from modicum.training.subject_of import Data, make_subject, open_data
from modicum.training.subjects import AbstractSubject
from modicum.training.trainer import ALONE, train

Said = dict[str, Any]
Change = Callable[[Encoder, CalibrationPictures], Said]
"""Puts an encoder's layers into the arithmetic of a stage; returns what the stage's record says."""


class Stage(NamedTuple):
    """A stage that is finished: validation, its best measure, None without one."""

    name: str
    folder: Path
    steps: int
    validation: float | None
    said: Said


class Stages:
    """Trains stages one after the other and remembers where it is."""

    def __init__(self, asked: Quantize, begin: Begun, whole: int, progress: Progress | None) -> None:
        self.asked, self.begin, self.whole, self.progress = asked, begin, whole, progress
        self.done: list[Stage] = []
        self.tried: list[Stage] = []
        self._pictures: CalibrationPictures | None = None

    @property
    def pictures(self) -> CalibrationPictures:
        """The calibration pictures; the run's data is opened for them where no stage has been trained here."""
        if self._pictures is None:
            config, data = open_data(stage_config(self.asked, self.begin, Path(self.asked.out), 1))
            require_same_pictures(data, self.begin)
            with torch.random.fork_rng():
                subject = make_subject(config, data, torch.device("cpu"), ALONE)
            self._pictures = CalibrationPictures(subject, self.asked.calibration, self.asked.seed)
            self._pictures.device = device(self.asked.device)
            subject.close()
        return self._pictures

    def train(self, name: str, folder: Path, steps: int, change: Change, penalties: Penalties) -> Stage:
        """Train a stage, go on with it, or take it as it is where it is finished."""
        config = stage_config(self.asked, self.begin, folder, steps)
        found = self._finished(name, folder, steps)
        if found is None:
            before = said_before(folder) if (folder / LAST).is_file() else None

            def check(data: Data) -> None:
                """Before anything else looks at the data: those of other classes would be told as something else."""
                require_same_pictures(data, self.begin)

            def begin(subject: AbstractSubject) -> Said:
                """What the stage's record says; its weights, but where a checkpoint will bring them."""
                return self._begin(name, subject, change, before)

            result = train(config, self._told(steps), make=making(begin, penalties, check))
            found = Stage(name, folder, steps, result.validation, read_record(folder)[1]["low_bit"])
        self.done.append(found)
        return found

    def _finished(self, name: str, folder: Path, steps: int) -> Stage | None:
        if not (folder / LAST).is_file():
            return None
        record = read_checkpoint(folder / LAST)[1]
        said = said_before(folder) if record["step"] >= steps else None
        return None if said is None else Stage(name, folder, steps, record["best"], said)

    def _begin(self, name: str, subject: AbstractSubject, change: Change, before: Said | None) -> Said:
        if self._pictures is None:
            self._pictures = CalibrationPictures(subject, self.asked.calibration, self.asked.seed)
        if before is not None:
            return before
        put_weights(subject.objective.module, *self.weights())
        encoder = subject.objective.encoder
        self._pictures.device = next(encoder.parameters()).device
        keep_in_float(encoder, self.asked.keep_float)
        return {"stage": name, "from": Path(self.begin.config.out).name, **change(encoder, self._pictures)}

    def weights(self) -> tuple[dict[str, Tensor], Path]:
        """Tensors that the next stage begins with, and where they come from."""
        if not self.done:
            return self.begin.tensors, Path(self.begin.config.out)
        path = checkpoint_of(self.done[-1].folder)
        return read_checkpoint(path)[0], path

    def _told(self, steps: int) -> Progress | None:
        """Progress over all stages; the opening of data counts for itself."""
        if self.progress is None:
            return None
        before, told, whole = sum(stage.steps for stage in self.done), self.progress, self.whole

        def tick(done: int, total: int) -> None:
            """Steps of this stage, or anything else."""
            told(*((before + done, whole) if total == steps else (done, total)))

        return tick


def encoder_of(folder: Path, begin: Begun, where: torch.device | None = None) -> Encoder:
    """The encoder of a stage at the checkpoint that counts, in evaluation mode."""
    config, _ = read_record(folder)
    encoder = build_encoder(config.backbone, begin.spec)
    path = checkpoint_of(folder)
    restore_learner(encoder, read_checkpoint(path)[0], path, begin.part)
    return encoder.eval().to(where or torch.device("cpu"))


def to_weights(encoder: Encoder, pictures: CalibrationPictures) -> Said:
    """Weights of few bits alone, which is how converted layers are made."""
    return {}


class Arithmetic(NamedTuple):
    """The changes of the stages after the first."""

    asked: Quantize
    begin: Begun
    calibrated_before: bool

    def _calibrate(self, encoder: Encoder, pictures: CalibrationPictures) -> Said:
        if self.asked.carries == "buffer":
            set_carry(encoder, BUFFER, self.begin.layers)
        return {"calibration": calibrated(self.asked, self.begin, encoder, pictures), "pictures": len(pictures)}

    def to_warm_up(self, encoder: Encoder, pictures: CalibrationPictures) -> Said:
        """Step sizes, and the cyclic function on real numbers; nothing where sums are exact."""
        if self.asked.is_float or self.asked.form.accumulator is None:
            return {}
        said = self._calibrate(encoder, pictures)
        set_stage(encoder, WARM_UP)
        return said

    def to_codes(self, encoder: Encoder, pictures: CalibrationPictures) -> Said:
        """Activations of few bits and sums of integers; step sizes where there are none yet."""
        if self.asked.is_float or self.asked.activations == "float":
            return {}
        said = {} if self.calibrated_before else self._calibrate(encoder, pictures)
        set_stage(encoder, CODES)
        return said


def letting_through(names: Sequence[str], rest: Sequence[str] = ()) -> Change:
    """Carries counted into the sums of some layers from now on, and a buffer bit in others."""

    def change(encoder: Encoder, pictures: CalibrationPictures) -> Said:
        """Their means begin as those of some calibration pictures."""
        if names:
            simulate_carries(encoder, next(iter(pictures)), list(names))
        if rest:
            set_carry(encoder, BUFFER, list(rest))
        return {"let_through": list(names), "buffer_bit": list(rest)}

    return change

"""What a stage begins with: weights of the one before it, step sizes, and which arithmetic its layers have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modicum.backbones.backbone import channels_last
from modicum.backbones.encoder import Encoder
from modicum.configs import Quantize, require
from modicum.data.picture_set import PictureSet
from modicum.episodes.cutting import gather
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.quantization.calibration import calibrate
from modicum.quantization.layers import FLOAT, low_bit_layers, set_stage
from modicum.retrieval.embedding import fitted
from modicum.runtime import philox
from modicum.training.low_bit.begun import Begun, one_step
from modicum.training.runs import data_digest, read_record
from modicum.training.subject_of import Data
from modicum.training.subjects import AbstractSubject, PictureSubject

BATCH = 100
"""Calibration pictures that pass together."""
BUFFERS = ("step", "inverse", "top", "signed", "stage", "carry", "carry_mean")
"""What a low-bit layer has and a layer in float has not."""


class CalibrationPictures:
    """Training pictures of a subject, drawn by a seed without repetition, as its encoder takes them."""

    def __init__(self, subject: AbstractSubject, n: int, seed: int) -> None:
        encoder = subject.objective.encoder
        self.spec, self.device = encoder.spec, next(encoder.parameters()).device
        if isinstance(subject, PictureSubject):
            self.pixels, rows = subject.parts.inner.pixels, np.arange(len(subject.parts.inner.labels))
        else:
            self.pixels, rows = subject.pictures.pixels, subject.parts.train  # type: ignore[attr-defined]
        if not len(rows):
            raise DataError("calibration: the run has no training pictures to choose step sizes on")
        chosen = philox(seed, "quantize/calibration", 0).permutation(len(rows))[:n]
        self.rows = np.sort(rows[chosen])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Tensor]:
        """Pictures (b, C, H, W), as the encoder takes them."""
        for start in range(0, len(self.rows), BATCH):
            yield fitted(gather(self.pixels, self.rows[start : start + BATCH], self.device), self.spec)

    def normalised(self, encoder: Encoder) -> Iterator[Tensor]:
        """The same as the encoder's backbone gets them."""
        for x in self:
            yield channels_last(encoder.normalised(x))


def put_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], origin: Path | str) -> None:
    """Load a checkpoint's tensors into a trained module; those that low-bit layers alone have may be missing.

    `FileFormatError` where anything else is missing, left over or of another shape.
    """
    own = {name.removeprefix("learner."): value for name, value in tensors.items() if name.startswith("learner.")}
    try:
        missing, left_over = module.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise FileFormatError(f"{origin}: its weights do not fit the configured backbone and head ({error})") from error
    wrong = [name for name in missing if name.rpartition(".")[2] not in BUFFERS] + list(left_over)
    if wrong:
        raise FileFormatError(f"{origin}: its weights do not fit the configured backbone and head (such as {wrong[0]!r})")


def require_same_pictures(data: Data, begin: Begun) -> None:
    """Raise `ConfigError` where pictures, labels or splits are other ones than the run was trained on."""
    name = begin.record["data"]["name"]
    require(
        isinstance(data, PictureSet) and data_digest(data) == begin.record["data"].get("digest"),
        f"data: {begin.config.out} was trained on other pictures, labels or splits of {name} than are there now, so that "
        "what it held out may have been seen; restore them, or say by --data, --root or --splits where they are",
    )


def keep_in_float(encoder: Encoder, names: list[str]) -> None:
    """Leave layers as they are; `ConfigError` for unknown names."""
    known = low_bit_layers(encoder.backbone)
    if chosen := [name for name in names if name in known]:  # others were never converted
        set_stage(encoder.backbone, FLOAT, chosen)


def calibrated(asked: Quantize, begin: Begun, encoder: Encoder, pictures: CalibrationPictures) -> list[dict[str, Any]]:
    """Choose and set the step sizes of all layers of an encoder; a row for each.

    `DataError` for constant pictures, and for layers that get nothing but 0.
    """
    found = calibrate(
        encoder, pictures, asked.form, overflow=asked.overflow / 100, bits=asked.activation_bits,
        one_step=one_step(asked, begin.backbone), step_bits=asked.chosen_for,
    )  # fmt: skip
    return [{"name": name, **row._asdict()} for name, row in found.items()]


def said_before(folder: Path) -> dict[str, Any] | None:
    """What the run of a stage that was begun already says of it."""
    if not (folder / "config.json").is_file():
        return None
    _, record = read_record(folder)
    said = record.get("low_bit")
    if not isinstance(said, dict):
        raise ConfigError(f"resume: {folder} was not made by quantize; give another --out")
    return said

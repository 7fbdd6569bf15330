"""Picture files and folders -> predictions. What cannot be read is named, and the rest is predicted all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from modicum.classifiers.classifier import Classifier, Prediction
from modicum.errors import ModicumError
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

Answer = TypeVar("Answer")
_BLOCK = 256  # pictures in memory at a time


@dataclass(frozen=True)
class Answers:
    """rows: (path, prediction) of what could be read; problems: (path, message) of what could not.

    calibrated: whether probabilities deserve the name. note: what to know about rejection, or "".
    """

    rows: tuple[tuple[str, Prediction], ...]
    problems: tuple[tuple[str, str], ...]
    calibrated: bool
    note: str = ""


def picture_files(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """(picture files in the order given, folders replaced by what lies in them, sorted; problems with folders)."""
    from modicum.data.sources import scan

    files: list[str] = []
    problems: list[tuple[str, str]] = []
    for path in paths:
        if not Path(path).is_dir():
            files.append(path)
            continue
        try:
            found = [str(Path(path) / entry[0]) for entry in scan(Path(path))[0]]
        except ModicumError as error:
            problems.append((path, str(error)))
            continue
        files += found
        if not found:
            problems.append((path, "the folder holds no picture"))
    return files, problems


def _read(path: str, encoder: Encoder) -> np.ndarray | str:
    """Pixels uint8 (H, W, C), or what is wrong."""
    from modicum.data.images import load_picture

    try:
        return load_picture(path, encoder.spec.size, encoder.spec.channels)
    except ModicumError as error:
        return str(error).removeprefix(f"{path}: ")


def predict_in_passes(
    paths: Sequence[str],
    size: int,
    channels: int,
    batch: int,
    predict: Callable[[np.ndarray], Sequence[Answer]],
    progress: Progress | None = None,
) -> tuple[list[tuple[str, Answer]], list[tuple[str, str]]]:
    """((path, answer) of pictures that could be read, (path, message) of those that could not), `batch` at a time.

    paths: files, and folders of them. predict: pictures (n, size, size, channels) uint8, n up to `batch` -> n answers.
    """
    from modicum.data.images import load_picture

    files, problems = picture_files(paths)
    rows: list[tuple[str, Answer]] = []
    for start in range(0, len(files), batch):
        good, pixels = [], []
        for path in files[start : start + batch]:
            try:
                pixels.append(load_picture(path, size, channels))
                good.append(path)
            except ModicumError as error:
                problems.append((path, str(error).removeprefix(f"{path}: ")))
        if good:
            rows += zip(good, predict(np.stack(pixels)), strict=True)
        if progress is not None:
            progress(min(start + batch, len(files)), len(files))
    return rows, problems


def predict_files(
    classifier: Classifier,
    encoder: Encoder,
    paths: Sequence[str],
    *,
    top: int = 3,
    reject: float | None = None,
    neighbours: int = 3,
    progress: Progress | None = None,
) -> Answers:
    """Predictions for picture files and for all pictures in folders; options as in `Classifier.predict`."""
    from modicum.models import embed

    limit = classifier.reject_below(reject)
    files, problems = picture_files(paths)
    rows: list[tuple[str, Prediction]] = []
    for start in range(0, len(files), _BLOCK):
        block = [(path, _read(path, encoder)) for path in files[start : start + _BLOCK]]
        problems += [(path, found) for path, found in block if isinstance(found, str)]
        good = [(path, found) for path, found in block if not isinstance(found, str)]
        if good:
            features = embed(encoder, np.stack([pixels for _, pixels in good]))
            found = classifier.predict(features, top=top, reject=reject, count=neighbours)
            rows += zip((path for path, _ in good), found, strict=True)
        if progress is not None:
            progress(min(start + _BLOCK, len(files)), len(files))
    note = ""
    if reject and limit == -np.inf:
        note = f"nothing is rejected: {len(classifier.known)} known pictures are too few for a rate of {reject:g}"
    return Answers(tuple(rows), tuple(problems), classifier.calibrated, note)

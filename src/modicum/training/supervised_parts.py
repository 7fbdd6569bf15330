"""What trainings on pictures of all classes share: which pictures train, balanced validation, what a run says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.configs import Train, require
from modicum.configs.supervised import with_pictures
from modicum.data.holdout import Holdout
from modicum.data.picture_set import PictureSet
from modicum.evaluation.intervals import MeanInterval, balanced_accuracy_interval
from modicum.runtime import Ranks
from modicum.training.processes import summed
from modicum.training.supervised_data import held_out

Ints = NDArray[np.int64]
UNVALIDATED = "nothing held out for validation: the last weights count as the best"


def prepared(config: Train, pictures: PictureSet, here: Ranks) -> tuple[Train, Holdout]:
    """(configuration with what the number of training pictures decides, which pictures train, validate and test).

    `ConfigError` where processes cannot share a step's pictures evenly; errors as `held_out` and `with_pictures`.
    """
    parts = held_out(config, pictures)
    config = with_pictures(config, len(parts.train))
    require(
        config.batch_pictures % here.size == 0,
        f"batch_pictures: {config.batch_pictures} cannot be shared evenly by {here.size} processes",
    )
    return config, parts


def balanced_validation(
    pictures: PictureSet, rows: Ints, predict: Callable[[Ints], Tensor], device: torch.device, here: Ranks
) -> MeanInterval:
    """Balanced accuracy on pictures at rows (n,), every process for its share. predict: rows (m,) -> classes (m,)."""
    mine = np.arange(here.rank, len(rows), here.size)
    guess = torch.zeros(len(rows), dtype=torch.int64, device=device)
    if len(mine):
        guess[torch.from_numpy(mine).to(device)] = predict(rows[mine]).to(device)
    predicted = summed(guess).cpu().numpy()
    groups = None if pictures.groups is None else pictures.groups[rows]
    found = balanced_accuracy_interval(pictures.labels[rows], predicted, len(pictures.classes), groups)
    return MeanInterval(found.value, found.radius, found.radius / 1.96, len(rows), found.over)


def encoder_card(
    config: Train, backbone: str, how: str, name: str, counts: Ints, steps: int, validation: float | None
) -> str:
    """The model card of an encoder trained on so many pictures of each class (C,). how: the training, in a few words."""
    told = "not validated" if validation is None else f"{100 * validation:.1f} % balanced accuracy on held-out pictures"
    return (
        f"# Encoder of a modicum run\n\n{backbone}, trained by {config.method} ({how}) on {name}: {len(counts)} classes, "
        f"{counts.sum()} pictures, {counts.max()} to {counts.min()} a class, {steps} steps of "
        f"{config.batch_pictures} pictures; {told}.\n"
    )


def data_record(pictures: PictureSet, parts: Holdout, counts: Ints, digest: str) -> dict[str, Any]:
    """What config.json says of the pictures; counts (C,): training pictures of each class."""
    sizes = {name: len(getattr(parts, name)) for name in ("train", "validation", "test")}
    return {
        "name": pictures.name,
        "pictures": len(pictures.labels),
        "splits": {"train": list(pictures.classes)},
        "classes": list(pictures.classes),
        "counts": counts.tolist(),
        "parts": sizes,
        "size": int(pictures.pixels.shape[1]),
        "channels": int(pictures.pixels.shape[3]),
        "digest": digest,
    }

"""Which pictures train and which validate."""

from __future__ import annotations

from typing import NamedTuple

from modicum.configs import Train
from modicum.configs.gradient import takes_only_its_ways
from modicum.data.pictures import PictureSet
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError, DataError


class Parts(NamedTuple):
    """Training pictures; validation pictures and tasks (None where nothing is validated); a note that says why or how."""

    inner: PictureSet
    held_out: PictureSet | None
    validation: Tasks | None
    note: str


def trained_splits(config: Train) -> tuple[str, ...]:
    """The splits whose classes a run sees in training."""
    return ("train", "val") if config.with_val else ("train",)


def training_parts(config: Train, pictures: PictureSet) -> Parts:
    """The parts of a training; with `with_val` the validation classes train too and nothing is validated."""
    if config.with_val:
        if not pictures.splits.get("val"):
            raise DataError(f"with_val: {pictures.name} has no validation classes that could be added to the training ones")
        note = "trained on training and validation classes: the last weights count as the best"
        return Parts(pictures.split("train+val"), None, None, note)
    inner = pictures.split("train")
    held_out = pictures.split("val") if pictures.splits.get("val") else None
    if held_out is None:
        return Parts(inner, None, None, "no validation classes: the last weights count as the best")
    fixed = takes_only_its_ways(config)
    ways = config.ways if fixed else min(config.validation_ways, len(held_out.classes))
    try:
        sampler = EpisodeSampler(
            held_out.labels, ways, config.validation_shots, min(config.queries, 15), seed=config.seed, stream="val",
            names=held_out.classes, drop_small=True,
        )  # fmt: skip
    except (ConfigError, DataError) as error:
        return Parts(inner, None, None, f"not validated, the last weights count as the best: {error}")
    fewer = ways < config.validation_ways and not fixed
    note = f"validated {ways}-way: the split has no more classes" if fewer else ""
    return Parts(inner, held_out, sampler.tasks(range(config.validation_tasks)), note)

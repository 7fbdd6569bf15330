"""The pictures that a run on all classes is tested on: held out of its own ones, or all of another set of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from modicum.backbones.encoder import Encoder
from modicum.configs import Train
from modicum.data.holdout import Holdout
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.errors import ConfigError, DataError
from modicum.registry import suggest
from modicum.runtime import Progress
from modicum.training.memories import as_seen
from modicum.training.runs import data_digest
from modicum.training.supervised_data import held_out, open_all_classes

Ints = NDArray[np.int64]


class TrainedRun(Protocol):
    """What is known of a run that was read back: its configuration and its record."""

    @property
    def config(self) -> Train:
        """With `out` where the run is now."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """What config.json says."""
        ...


def open_run_pictures(loaded: TrainedRun, root: str | None = None, progress: Progress | None = None) -> PictureSet:
    """The pictures a run was trained on; `ConfigError` where they have changed since, so that tests may have been seen."""
    return _own_pictures(replace(loaded.config, root=root or loaded.config.root), loaded.record, progress)


def _own_pictures(config: Train, record: Mapping[str, Any], progress: Progress | None) -> PictureSet:
    _, pictures = open_all_classes(replace(config, pretrained=None), progress)  # its size is in image_size
    if data_digest(pictures) != record["data"]["digest"]:
        raise ConfigError(
            f"data: {pictures.name} has changed since {config.out} was trained on it, so test pictures may have been seen; "
            "restore it, or train anew"
        )
    return pictures


def parts_of(loaded: TrainedRun, pictures: PictureSet) -> Holdout:
    """Which of a run's pictures trained, validated and test."""
    return held_out(loaded.config, pictures)


class Tested(NamedTuple):
    """The pictures that are measured on: rows (n,) of a set, their labels (n,) among the run's classes, and in words.

    opened: a configuration that names them.
    """

    pictures: PictureSet
    rows: Ints
    labels: Ints
    over: str
    opened: Train

    def at(self, encoder: Encoder) -> PictureSet:
        """The same pictures as an encoder reads them, from their files."""
        return as_seen(self.opened, encoder, self.pictures)

    @property
    def groups(self) -> Ints | None:
        """Group (n,) of each picture, None where there are none."""
        return None if self.pictures.groups is None else self.pictures.groups[self.rows]


def tested_pictures(
    loaded: TrainedRun, split: str, data: str | None, root: str | None, group: str | None, progress: Progress | None
) -> Tested:
    """A split of the run's own pictures, also where `data` names them at another place; else all pictures of that data.

    `DataError` for a class that the run does not know and for a split without pictures; errors of opening pictures.
    """
    spec, config = loaded.record["data"], loaded.config
    if data is None:
        return _own(replace(config, root=root or config.root), loaded.record, split, progress)
    pictures = open_split_pictures(
        data, root=root, size=spec["size"], channels=spec["channels"], group=group, seed=config.seed, progress=progress
    )
    if data_digest(pictures) == spec["digest"]:  # most of them trained the run
        return _own(replace(config, data=data, root=root), loaded.record, split, progress)
    classes = spec["classes"]
    place = {name: index for index, name in enumerate(classes)}
    unknown = [name for name in pictures.classes if name not in place]
    if unknown:
        raise DataError(f"data: {len(unknown)} classes of {pictures.name} are none of the run's, such as {unknown[0]!r}"
                        f"{suggest(unknown[0], classes)}")  # fmt: skip
    labels = np.array([place[name] for name in pictures.classes], np.int64)[pictures.labels]
    other = replace(config, data=data, root=root, group=group)
    return Tested(pictures, np.arange(len(pictures)), labels, f"all pictures of {pictures.name}", other)


def _own(config: Train, record: Mapping[str, Any], split: str, progress: Progress | None) -> Tested:
    pictures = _own_pictures(config, record, progress)
    parts = held_out(config, pictures)
    rows = {"train": parts.train, "val": parts.validation, "test": parts.test}[split]
    if not len(rows):
        raise DataError(f"split: {split} of {pictures.name} holds no pictures in this run; take test")
    return Tested(pictures, rows, pictures.labels[rows], f"{split} pictures of {pictures.name}; {parts.rule}", config)

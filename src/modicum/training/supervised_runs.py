"""A run of rac read back: its network, on its own memory or another one, and the pictures it is tested on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.configs import Train
from modicum.configs.long_tail import RAC
from modicum.data.holdout import Holdout
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.models import load_encoder
from modicum.registry import suggest
from modicum.retrieval.rac import RAC as Network
from modicum.runtime import Progress
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.memories import MEMORY, RunMemory, as_seen, encoder_of_store, given_memory, loaded_encoder
from modicum.training.runs import data_digest, read_record
from modicum.training.supervised_data import held_out, open_all_classes
from modicum.training.supervised_networks import build_network, decoupled, fresh_encoder

Ints = NDArray[np.int64]


class SupervisedRun(NamedTuple):
    """network in evaluation mode; config, with `out` where the run is now; record, with its `step`; found: the memory."""

    network: Network
    config: Train
    record: dict[str, Any]
    found: RunMemory | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.record["data"]["classes"])


def is_supervised_run(run: Path | str) -> bool:
    """Whether a run was trained by rac; errors as `read_record`."""
    return read_record(run)[0].method == RAC


def load_supervised(run: Path | str, memory: str | None = None, neighbours: int | None = None) -> SupervisedRun:
    """A run of rac at its best checkpoint, the last one where none was validated.

    memory: another one than the run's; neighbours: another number of them than in training.

    `ConfigError` for a run of another method and for a memory of another encoder; `FileFormatError` for what is damaged.
    """
    run = Path(run)
    config, record = read_record(run)
    if config.method != RAC:
        raise ConfigError(f"{run}: was trained by {config.method}, expected a run of {RAC}")
    config = replace(config, out=str(run))
    path = run / BEST if (run / BEST).is_file() else run / LAST
    if not path.is_file():
        raise FileFormatError(f"{run}: has no checkpoint yet; train it first, or let it reach its first validation")
    found = _memory(config, memory)
    base = None
    if record["encoder"] is not None:
        base = fresh_encoder(config, record["encoder"]["backbone"], ImageSpec(**record["encoder"]["spec"]))
    network = build_network(config, len(record["data"]["classes"]), base, found, neighbours or config.neighbours)
    if config.decouple != "none":
        decoupled(network, config)
    tensors, checkpoint = read_checkpoint(path)
    restore_learner(network, tensors, path)
    return SupervisedRun(network.eval(), config, {**record, "step": checkpoint["step"]}, found)


def _memory(config: Train, store: str | None) -> RunMemory | None:
    """The memory to read: another one, the run's own, or the one it was trained with; None for a base branch alone."""
    if config.branches == "base" and store is None:
        return None
    own = Path(config.out) / MEMORY
    place = store or config.memory or str(own)
    encoder = load_encoder(encoder_of_store(place)) if config.branches == "base" else loaded_encoder(config)
    return given_memory(encoder, place)


def open_run_pictures(loaded: SupervisedRun, root: str | None = None, progress: Progress | None = None) -> PictureSet:
    """The pictures a run was trained on; `ConfigError` where they have changed since, so that tests may have been seen."""
    config = replace(loaded.config, root=root or loaded.config.root, pretrained=None)  # its size is in image_size
    _, pictures = open_all_classes(config, progress)
    if data_digest(pictures) != loaded.record["data"]["digest"]:
        raise ConfigError(
            f"data: {pictures.name} has changed since {config.out} was trained on it, so test pictures may have been seen; "
            "restore it, or train anew"
        )
    return pictures


def parts_of(loaded: SupervisedRun, pictures: PictureSet) -> Holdout:
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
    loaded: SupervisedRun, split: str, data: str | None, root: str | None, group: str | None, progress: Progress | None
) -> Tested:
    """A split of the run's own pictures, also where `data` names them at another place; else all pictures of that data.

    `DataError` for a class that the run does not know; errors of opening pictures.
    """
    if data is None:
        return _own(loaded._replace(config=replace(loaded.config, root=root or loaded.config.root)), split, progress)
    spec, config = loaded.record["data"], loaded.config
    pictures = open_split_pictures(
        data, root=root, size=spec["size"], channels=spec["channels"], group=group, seed=config.seed, progress=progress
    )
    if data_digest(pictures) == spec["digest"]:  # most of them trained the run
        return _own(loaded._replace(config=replace(config, data=data, root=root)), split, progress)
    place = {name: index for index, name in enumerate(loaded.classes)}
    unknown = [name for name in pictures.classes if name not in place]
    if unknown:
        raise DataError(f"data: {len(unknown)} classes of {pictures.name} are none of the run's, such as {unknown[0]!r}"
                        f"{suggest(unknown[0], loaded.classes)}")  # fmt: skip
    labels = np.array([place[name] for name in pictures.classes], np.int64)[pictures.labels]
    other = replace(config, data=data, root=root, group=group)
    return Tested(pictures, np.arange(len(pictures)), labels, f"all pictures of {pictures.name}", other)


def _own(loaded: SupervisedRun, split: str, progress: Progress | None) -> Tested:
    pictures = open_run_pictures(loaded, progress=progress)
    parts = parts_of(loaded, pictures)
    rows = {"train": parts.train, "val": parts.validation, "test": parts.test}[split]
    return Tested(pictures, rows, pictures.labels[rows], f"{split} pictures of {pictures.name}; {parts.rule}", loaded.config)

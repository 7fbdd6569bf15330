"""Pictures of all classes: opened, for rac at the larger of its two encoders' sizes, and some of them held out."""

from __future__ import annotations

from dataclasses import replace

from modicum.configs import Train
from modicum.configs.long_tail import RAC
from modicum.data.holdout import Holdout, holdout
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.runtime import Progress
from modicum.training.memories import loaded_encoder
from modicum.training.supervised_networks import base_size


def open_all_classes(config: Train, progress: Progress | None = None) -> tuple[Train, PictureSet]:
    """(configuration with the trained encoder's picture size, pictures at that size or at a memory's encoder's larger one).

    A step's pictures are augmented once, at the larger size, and each encoder resizes them to its own. Errors as
    `open_split_pictures`, and `ConfigError` where an encoder cannot be found.
    """

    def opened(size: int | None) -> PictureSet:
        """The pictures at a size in pixels, None for their usual one."""
        return open_split_pictures(
            config.data, root=config.root, size=size, channels=config.channels, group=config.group, seed=config.seed,
            progress=progress,
        )  # fmt: skip

    pictures = opened(base_size(config))
    size = int(pictures.pixels.shape[1])
    if config.method == RAC and config.branches != "base":
        larger = loaded_encoder(config).spec.size
        pictures = opened(larger) if larger > size else pictures
    return replace(config, image_size=size), pictures


def held_out(config: Train, pictures: PictureSet) -> Holdout:
    """Which pictures train, validate and test; a function of pictures and configuration."""
    return holdout(
        pictures, test=config.test_share, validation=config.validation_share, seed=config.seed,
        imbalance=config.imbalance, kind=config.imbalance_kind,
    )  # fmt: skip

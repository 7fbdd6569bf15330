"""A run of Meta-Neighborhoods, or of one of its baselines on pictures, read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from modicum.backbones.encoder import ImageSpec
from modicum.configs import Train, require
from modicum.configs.neighborhoods import NEIGHBORHOODS, is_table
from modicum.errors import FileFormatError
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.neighborhoods.networks import Network, build_network
from modicum.training.runs import read_record
from modicum.training.supervised_networks import fresh_encoder


class NeighborhoodsRun(NamedTuple):
    """network in evaluation mode; config, with `out` where the run is now; record, with its `step`."""

    network: Network
    config: Train
    record: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.record["data"]["classes"])


def is_neighborhoods_run(run: Path | str) -> bool:
    """Whether a run was trained by this method, or a baseline of it, on pictures; errors as `read_record`."""
    config = read_record(run)[0]
    return config.method == NEIGHBORHOODS and not is_table(config)


def checkpoint_of(run: Path | str) -> Path:
    """The checkpoint that counts: the best one, the last where none was validated; `FileFormatError` where there is none."""
    path = Path(run) / BEST if (Path(run) / BEST).is_file() else Path(run) / LAST
    if not path.is_file():
        raise FileFormatError(f"{run}: has no checkpoint yet; train it first, or let it reach its first validation")
    return path


def load_neighborhoods(run: Path | str) -> NeighborhoodsRun:
    """A run at the checkpoint that counts, on the CPU.

    `ConfigError` for a run of another method or on a table; `FileFormatError` for what is damaged.
    """
    config, record = read_record(run)
    what = f"{config.method} on a table" if config.target is not None else config.method
    require(
        config.method == NEIGHBORHOODS and not is_table(config),
        f"{run}: was trained by {what}, expected a run of {NEIGHBORHOODS} on pictures",
    )
    config, path = replace(config, out=str(run)), checkpoint_of(run)
    encoder = fresh_encoder(config, record["encoder"]["backbone"], ImageSpec(**record["encoder"]["spec"]))
    network = build_network(config, len(record["data"]["classes"]), encoder)
    tensors, checkpoint = read_checkpoint(path)
    restore_learner(network, tensors, path)
    return NeighborhoodsRun(network.eval(), config, {**record, "step": checkpoint["step"]})

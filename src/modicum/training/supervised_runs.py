"""A run of rac read back: its network, on its own memory or another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from modicum.backbones.encoder import ImageSpec
from modicum.configs import Train
from modicum.configs.long_tail import RAC
from modicum.errors import ConfigError, FileFormatError
from modicum.models import load_encoder
from modicum.retrieval.rac import RAC as Network
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.memories import MEMORY, RunMemory, encoder_of_store, given_memory, loaded_encoder
from modicum.training.runs import read_record
from modicum.training.supervised_networks import build_network, decoupled, fresh_encoder


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

"""Checkpoints of a run: one checked safetensors file each, written beside the old one and renamed over it.

A file holds the learner's parameters and buffers, the optimiser's tensors and, as its record, the step, the
configuration and the optimiser's plain numbers; enough to go on to the bit on a CPU. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modicum import __version__
from modicum.configs import Train
from modicum.errors import FileFormatError
from modicum.files import read_tensors, write_tensors

LAST, BEST = Path("checkpoints/last.safetensors"), Path("checkpoints/best.safetensors")
OF_ALL_CLASSES: Mapping[str, str] = {"classical": "encoder.", "rac": "base.", "meta-neighborhoods": "encoder."}
"""Methods that train on pictures of all classes at once -> what the names of their encoder's tensors begin with."""


def _optimizer_parts(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = optimizer.state_dict()
    tensors, numbers = {}, {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                numbers[f"{index}.{key}"] = value
    return tensors, numbers


def save_checkpoint(
    path: Path, learner: nn.Module, optimizer: torch.optim.Optimizer | None, config: Train, record: dict[str, Any]
) -> None:
    """Write a checkpoint; on a full disk `WriteError` is raised and the old file stays."""
    tensors = {f"learner.{name}": value for name, value in learner.state_dict().items()}
    numbers: dict[str, Any] = {}
    if optimizer is not None:
        more, numbers = _optimizer_parts(optimizer)
        tensors |= more
    record = {"kind": "checkpoint", "version": __version__, "config": asdict(config), "numbers": numbers, **record}
    write_tensors(path, tensors, record)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint; `FileFormatError` where it is damaged, changed or something else."""
    tensors, record = read_tensors(path)
    if record.get("kind") != "checkpoint":
        raise FileFormatError(f"{path}: holds {record.get('kind')!r}, expected a checkpoint of `modicum train`")
    return tensors, record


def restore_learner(learner: nn.Module, tensors: dict[str, Tensor], path: Path, part: str = "") -> None:
    """Load a checkpoint's parameters and buffers into a learner of the same shape, or into a part of it ("encoder.")."""
    prefix = f"learner.{part}"
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        learner.load_state_dict(own)
    except RuntimeError as error:
        raise FileFormatError(f"{path}: its weights do not fit the configured backbone and head ({error})") from error


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Load a checkpoint's optimiser state into an optimiser over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    for name, number in record["numbers"].items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = number
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

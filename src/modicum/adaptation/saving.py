"""Predictors as files: class name, config, tensors."""

from __future__ import annotations

from pathlib import Path

from modicum.episodes.interfaces import Adapted
from modicum.errors import ConfigError, FileFormatError
from modicum.files import read_tensors, write_tensors
from modicum.registry import PREDICTORS, resolve


def save_adapted(adapted: Adapted, path: Path | str) -> None:
    """Write a head's predictor (`registry.PREDICTORS`) to one checked file; `ConfigError` for another class."""
    name = type(adapted).__name__
    if name not in PREDICTORS:
        raise ConfigError(f"save_adapted: expected one of {', '.join(PREDICTORS)}, found {name}; save its parts instead")
    tensors = dict(adapted.state_dict())
    if adapted.support_ids is not None:
        tensors["support_ids"] = adapted.support_ids
    write_tensors(path, tensors, {"kind": "predictor", "class": name, "config": adapted.config})


def load_adapted(path: Path | str) -> Adapted:
    """Read a predictor; `FileFormatError` where the file is damaged, changed or something else."""
    tensors, record = read_tensors(path)
    if record.get("kind") != "predictor":
        raise FileFormatError(f"{path}: holds {record.get('kind')!r}, expected a predictor")
    adapted: Adapted = resolve("predictor", PREDICTORS, record["class"])(**tensors, **record["config"])
    return adapted

"""RESULT.npz beside RESULT.json -> what the inner loops of that evaluation did; damaged archives are named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modicum.errors import FileFormatError
from modicum.reporting.arrays import read_arrays
from modicum.reporting.modes import setup
from modicum.reporting.records import Array, Inner

SHAPES = {"losses": "TS", "alpha": "TSN", "beta": "TSN", "gamma": "TN", "distance": "T"}


def read_inner(record: Mapping[str, Any], path: Path, files: list[Path]) -> Inner | None:
    """What the archive beside a result's record holds, None where there is none; it is added to the files read.

    `FileFormatError` where arrays do not fit each other.
    """
    arrays = read_arrays(path, files)
    rows = record.get("rows") or [{}]
    if not arrays:
        return None
    layers = tuple(map(str, arrays["inner_layers"].tolist())) if "inner_layers" in arrays else ()
    found = {name: arrays[f"inner_{name}"].astype(float) for name in SHAPES if f"inner_{name}" in arrays}
    _check(found, len(layers), path)
    shots = int(rows[-1].get("shots") or 0)
    distances = {int(match[1]): arrays[name].astype(float).ravel() for name in arrays
                 if (match := re.fullmatch(r"distance_(\d+)shot", name))}  # fmt: skip
    if not distances and "distance" in found:
        distances = {shots: found["distance"]}
    first = {**rows[-1], "batch_norm": rows[0].get("batch_norm")}  # arrays are of the first mode and the last shots
    return Inner(
        place=f"{record.get('data', '-')} {record.get('split', '-')}",
        shots=shots,
        setup=(("shots", f"{shots}-shot"), *setup(record, first)),
        layers=layers,
        **{name: found.get(name) for name in ("losses", "alpha", "beta", "gamma")},
        distances=distances,
    )


def _check(found: Mapping[str, Array], layers: int, path: Path) -> None:
    """Raise `FileFormatError` where tasks, steps or layers of the arrays do not agree."""
    sizes = {"N": layers}
    for name, array in found.items():
        if array.ndim != len(SHAPES[name]):
            raise FileFormatError(f"{path}: inner_{name} has shape {array.shape}, expected {SHAPES[name]}; evaluate anew")
        for letter, size in zip(SHAPES[name], array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise FileFormatError(f"{path}: inner_{name} {array.shape} does not fit the other arrays; evaluate anew")

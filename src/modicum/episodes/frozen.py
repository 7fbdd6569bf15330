"""Tasks frozen to a file and replayed, so that two methods meet the same tasks, whatever later versions would draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from modicum.episodes.sampler import Tasks
from modicum.errors import DataError
from modicum.files import read_tensors, write_tensors


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()


def freeze(path: Path | str, tasks: Tasks, ids: Sequence[str], note: str = "") -> None:
    """Write tasks over the pictures `ids` (n,) to one checked file."""
    tensors = {name: torch.from_numpy(value) for name, value in tasks._asdict().items()}
    write_tensors(path, tensors, {"kind": "tasks", "pictures": len(ids), "ids": _digest(ids), "note": note})


def replay(path: Path | str, ids: Sequence[str]) -> Tasks:
    """Read frozen tasks; `DataError` where the pictures are not the ones they were drawn from."""
    tensors, record = read_tensors(path)
    if record.get("kind") != "tasks":
        raise DataError(f"{path}: holds {record.get('kind')!r}, expected frozen tasks")
    if record["ids"] != _digest(ids):
        raise DataError(
            f"{path}: its tasks were drawn from {record['pictures']} other pictures than the {len(ids)} given now; "
            "use the data set and split it was frozen with"
        )
    return Tasks(**{name: tensors[name].numpy() for name in Tasks._fields})

"""The label of the nearest item as a prediction, by a frozen encoder and nothing else: how good, how fast, how long to make.

Long et al., arXiv 2202.11233, tables 4 and S2: the training pictures are the memory, as their files are, without
augmentation; the test pictures ask.

| figure | is |
|---|---|
| lookup all, many, medium, few | accuracy of the nearest item's label, mean over the classes of the bucket |
| lookup top-5 | one of the five nearest has the label; mean over classes |
| lookup train | training pictures find themselves, or a copy of another label: what an approximate index loses |
| lookup train, others | training pictures, each left out while it asks |
| query_ms | milliseconds a test picture, encoding included, asked in batches of 64 |
| construction_seconds | encoding, storing and indexing all items |
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modicum.configs import Train
from modicum.recipes.long_tail_measuring import _figure, figure_of, without_folders
from modicum.recipes.recipe import Row
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.memory.types import AbstractMemory

Ints = NDArray[np.int64]
NEAREST, ASKED = 5, 64


def look_up(row: Row, options: Train, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of a look-up. options: data and encoder as `train` takes them; nothing is trained."""
    import torch

    from modicum.memory.memory import Memory
    from modicum.memory.types import MemoryInfo
    from modicum.models import embed, fingerprint, load_encoder
    from modicum.training.memories import as_seen, encoder_name, trained_before
    from modicum.training.runs import environment
    from modicum.training.supervised_data import held_out, open_all_classes

    with TemporaryDirectory() as folder:
        options = replace(options, out=folder)
        _, pictures = open_all_classes(options, progress)
        parts, encoder = held_out(options, pictures), load_encoder(encoder_name(options))
        seen = as_seen(options, encoder, pictures)
        store = str(Path(folder) / "memory")
        start = time.monotonic()
        info = MemoryInfo(encoder.n_features, row.metric, "", fingerprint(encoder), time.time())
        keys = embed(encoder, seen.pixels[parts.train], progress=progress)
        labels = pictures.labels[parts.train]
        with Memory.create(store, info) as memory:
            ids = np.asarray(memory.add(keys, [pictures.classes[label] for label in labels]), np.int64)
        with Memory.open(store, index=row.index) as memory:
            memory.lookup(keys[:1], 1)
            memory.settle()  # an index is built beside the searches
            built = time.monotonic() - start
            order = np.argsort(ids)
            start = time.monotonic()
            queries = embed(encoder, seen.pixels[parts.test])
            near = _labels(memory, queries, NEAREST, ids[order], labels[order])
            asked = 1_000 * (time.monotonic() - start) / len(queries)
            itself = _labels(memory, keys, 1, ids[order], labels[order])
            others = _labels(memory, keys, 1, ids[order], labels[order], ids)
            index = memory.stats().index
    figures = _figures(pictures.labels[parts.test], near, labels, itself, others)
    once = "one measurement: no interval"
    figures |= {"query_ms": _figure(asked, None, once), "construction_seconds": _figure(built, None, once)}
    told = without_folders(trained_before(encoder_name(options)), Path(encoder_name(options)))
    return {
        "items": len(labels), "dim": encoder.n_features, "index": index, "metric": row.metric, "tested": parts.rule,
        "pretraining": {"base": None, "encoder": told}, "environment": environment(torch.device("cpu")), "figures": figures,
        **figure_of(row, figures),
    }  # fmt: skip


def _labels(
    memory: AbstractMemory, queries: np.ndarray, k: int, ids: Ints, labels: Ints, exclude: Ints | None = None
) -> Ints:
    """Labels (Q, k) of the nearest items; ids (n,) rising with their labels (n,); exclude (Q,): an id not to be found."""
    found = [
        memory.lookup(queries[at : at + ASKED], k, None if exclude is None else exclude[at : at + ASKED]).id
        for at in range(0, len(queries), ASKED)
    ]
    return np.asarray(labels[np.searchsorted(ids, np.concatenate(found))], np.int64)


def _figures(true: Ints, near: Ints, trained: Ints, itself: Ints, others: Ints) -> dict[str, dict[str, Any]]:
    from modicum.evaluation.long_tail import long_tail_result

    counts = np.bincount(trained, minlength=int(max(true.max(), trained.max())) + 1)
    any_right = (near == true[:, None]).any(1)
    predictions = {
        "": (true, near[:, 0]), "top-5": (true, np.where(any_right, true, near[:, 0])), "train": (trained, itself[:, 0]),
        "train, others": (trained, others[:, 0]),
    }  # fmt: skip
    found = {}
    for name, (labels, guess) in predictions.items():
        result = long_tail_result(labels, guess, counts)
        whole = result.accuracy if name.startswith("train") else result.balanced
        found[f"lookup {name or 'all'}"] = _figure(whole.value, whole.radius, whole.over)
        for bucket, part in result.buckets.items():
            if not name and part.balanced is not None:
                found[f"lookup {bucket}"] = _figure(part.balanced.value, part.balanced.radius, part.balanced.over)
    return found

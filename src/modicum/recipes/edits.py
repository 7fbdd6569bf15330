"""What editing the memory of a trained model does: a source is added, relabelled, removed; no weight is touched.

The run's memory is copied first. Added: `ADDED` pictures of each few-shot class (fewer than 20 training pictures) that the
long tail left out of training, with their labels, as the source "added". Relabelled: all of these get the label of the most
frequent class. Removed: the source as a whole. At every stage all test pictures are classified by the same network object.

| figure | is |
|---|---|
| edited STAGE BUCKET | accuracy of both branches together at a stage: before, added, relabelled, removed |
| changed STAGE | test pictures of which any logit of any branch differs in any bit from what it was before |
| changed weights | tensors of the network that differ in any bit from what they were before |
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modicum.errors import DataError
from modicum.recipes.long_tail_measuring import BUCKETS, _figure, figure_of, without_folders
from modicum.recipes.recipe import Row
from modicum.runtime import Progress, device, philox

if TYPE_CHECKING:
    from modicum.data.holdout import Holdout
    from modicum.data.picture_set import PictureSet
    from modicum.memory.types import AbstractMemory
    from modicum.training.supervised_runs import SupervisedRun

Ints = NDArray[np.int64]
ADDED, SOURCE = 50, "added"
"""Pictures added of each few-shot class, and the name of their source."""


def measure_edits(row: Row, run: Path, root: str | None, seed: int, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of the experiment; `DataError` where the long tail left no pictures out."""
    from modicum.memory.opening import open_memory
    from modicum.training.memories import MEMORY
    from modicum.training.supervised_runs import load_supervised
    from modicum.training.supervised_tests import open_run_pictures, parts_of

    with TemporaryDirectory() as folder:
        copy = str(Path(folder) / MEMORY)
        with open_memory(str(run / MEMORY), readonly=True) as own:
            own.snapshot(copy)
        loaded = load_supervised(run, copy)
        pictures = open_run_pictures(loaded, root, progress)
        parts = parts_of(loaded, pictures)
        counts = np.array(loaded.record["data"]["counts"], np.int64)
        rows = left_out(pictures, parts, counts, seed)
        with open_memory(copy) as memory:
            figures = _stages(loaded, pictures, parts, counts, rows, memory, progress)
    told = {branch: without_folders(text, run) for branch, text in loaded.record["pretraining"].items()}
    return {"added": len(rows), "tested": parts.rule, "pretraining": told, "figures": figures, **figure_of(row, figures)}


def left_out(pictures: PictureSet, parts: Holdout, counts: Ints, seed: int) -> Ints:
    """Rows of at most `ADDED` pictures of each few-shot class that are in no part of the data, nor copies of such."""
    from modicum.evaluation.long_tail import FEW

    used = np.concatenate([parts.train, parts.validation, parts.test])
    contents = {pictures.digests[row] for row in used} if pictures.digests else set()
    free = np.setdiff1d(np.arange(len(pictures)), used)
    free = free[[not pictures.digests or pictures.digests[row] not in contents for row in free]] if len(free) else free
    found = [np.zeros(0, np.int64)]
    for label in np.flatnonzero(counts < FEW).tolist():
        own = free[pictures.labels[free] == label]
        found.append(philox(seed, "recipes/edit", label).permutation(own)[:ADDED])
    rows = np.concatenate(found)
    if not len(rows):
        raise DataError(f"data: no picture of {pictures.name} was left out of training, so there is nothing to add")
    return np.sort(rows)


def _stages(
    loaded: SupervisedRun, pictures: PictureSet, parts: Holdout, counts: Ints, rows: Ints, memory: AbstractMemory,
    progress: Progress | None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Figures of all stages; memory: the one that the network reads, open to be changed."""
    import torch

    from modicum.evaluation.long_tail import long_tail_result
    from modicum.models import embed
    from modicum.training.memories import as_seen
    from modicum.training.supervised_scoring import score_pictures

    assert loaded.found is not None
    where = device("auto")
    network, encoder = loaded.network.to(where), loaded.found.encoder
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen = as_seen(loaded.config, encoder, pictures).pixels[rows]
    figures: dict[str, dict[str, Any]] = {}
    first: list[torch.Tensor] = []
    for stage in ("before", "added", "relabelled", "removed"):
        if stage == "added":
            labels = [pictures.classes[label] for label in pictures.labels[rows]]
            added = memory.add(embed(encoder, seen), labels, names=[pictures.ids[row] for row in rows], source=SOURCE)
        elif stage == "relabelled":
            memory.relabel(added, pictures.classes[int(counts.argmax())])
        elif stage == "removed":
            memory.remove_source(SOURCE)
        scored = score_pictures(network, loaded.config, pictures.pixels, parts.test, where, progress=progress)
        logits = list(scored.logits().values())
        first = first or logits
        result = long_tail_result(pictures.labels[parts.test], logits[-1].argmax(-1).numpy(), counts)
        found = {"all": result.balanced, **{name: part.balanced for name, part in result.buckets.items()}}
        for bucket in BUCKETS:
            if (of := found[bucket]) is not None:
                figures[f"edited {stage} {bucket}"] = _figure(of.value, of.radius, of.over)
        differs = torch.stack([(now != then).any(-1) for now, then in zip(logits, first, strict=True)]).any(0)
        figures[f"changed {stage}"] = _counted(int(differs.sum()), f"of {len(differs)} test pictures")
    after = network.state_dict()
    moved = sum(not torch.equal(after[name], tensor) for name, tensor in weights.items())
    figures["changed weights"] = _counted(moved, f"of {len(weights)} tensors")
    return figures


def _counted(number: int, of: str) -> dict[str, Any]:
    return _figure(float(number), None, f"a count {of}: no interval")

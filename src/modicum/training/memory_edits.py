"""What a change of the memory does to a run of rac whose weights stay: `modicum evaluate RUN --without_source SOURCE`.

The change is made on a copy (`snapshot`) in the system's folder for temporary files, so the run's memory stays as it is, and
by the operation a user would call, `remove_source`. Both measurements are of the same network on the same pictures.

Of n pictures, d_i is 1 where only the changed memory is right about picture i, -1 where only the memory as it was, else 0.
Their mean is the difference of the shares that are right. Its interval is over new pictures, or new groups of them: with
u_g the sum over a group of (d_i - mean) / n, and G groups,

    variance = G / (G - 1) sum_g u_g^2,    ci95 = t(0.975, G - 1) sqrt(variance)

which for pictures that come alone is the usual paired interval. None where no picture changed: that nothing was seen to
change does not bound what may.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.configs import Evaluate, require
from modicum.errors import ConfigError
from modicum.evaluation.intervals import student_quantile
from modicum.files import write_json
from modicum.memory.opening import open_memory
from modicum.registry import suggest
from modicum.runtime import Progress
from modicum.training.memories import RunMemory
from modicum.training.supervised_results import check_evaluation, measure, prepare, result_file, result_of

Ints = NDArray[np.int64]


def evaluate_without_source(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """Every branch before and after a source is taken out of a copy of the memory; also written to RUN/results/.

    `rows` are those after, `before` holds the others, `changed` how many pictures are named otherwise. `ConfigError` for a
    run without a memory, an unknown source and the only one; else errors as `evaluate_supervised`.
    """
    check_evaluation(config)
    loaded, tested = prepare(config, progress)
    source, held = str(config.without_source), loaded.found
    if held is None or loaded.network.memory is None:
        raise ConfigError(f"without_source: {config.run} is a base branch alone, which reads no memory")
    _check_source(source, held)
    before = measure(config, loaded, tested, progress)
    first = result_of(config, loaded, tested, before)
    with tempfile.TemporaryDirectory(prefix="modicum-memory-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "memory"
        held.memory.snapshot(copy)
        with open_memory(str(copy)) as changed:
            changed.remove_source(source)
            loaded.network.attach(changed)
            later = loaded._replace(found=RunMemory(changed, held.encoder, held.store, own=False))
            after = measure(config, later, tested, progress)
            second = result_of(config, later, tested, after)
        loaded.network.attach(held.memory)
    groups = np.arange(len(tested.labels)) if tested.groups is None else tested.groups
    right = {
        name: (before.predicted[name] == tested.labels, guess == tested.labels) for name, guess in after.predicted.items()
    }
    result = {
        **second,
        "kind": "memory-edit",
        "measure": "edit",
        "edit": {"removed_source": source, "items": [first["memory"]["items"], second["memory"]["items"]]},
        "changed": [{"branch": name, **change(*pair, groups)} for name, pair in right.items()],
        "before": {"rows": first["rows"], "memory": first["memory"]},
    }
    write_json(result_file(config, result), result)
    if config.json:
        write_json(config.json, result)
    return {"schema": 1, **result}


def _check_source(source: str, held: RunMemory) -> None:
    sources = held.memory.stats().sources
    known = ", ".join(repr(name) for name in sources)
    require(
        source in sources,
        f"without_source: {held.store} holds no source {source!r}{suggest(source, tuple(sources))}; it holds {known}",
    )
    require(
        len(sources) > 1, f"without_source: {source!r} is the only source of {held.store}; nothing would be left to read"
    )


def change(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: Ints) -> dict[str, Any]:
    """What changed for n pictures that were and are right (n,): became right, became wrong, difference with its ci95.

    groups (n,): pictures that belong together have equal numbers.
    """
    d = after.astype(np.float64) - before
    found = {"pictures": len(d), "gained": int((d > 0).sum()), "lost": int((d < 0).sum()), "difference": float(d.mean())}
    together = np.unique(groups, return_inverse=True)[1]
    u = np.bincount(together, weights=(d - d.mean()) / len(d))
    if len(u) < 2 or not d.any():
        return {**found, "ci95": None}
    return {**found, "ci95": student_quantile(len(u) - 1) * math.sqrt(len(u) / (len(u) - 1) * float((u**2).sum()))}

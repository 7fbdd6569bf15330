"""Rows of one setting told apart, and what seeing the whole batch at once was worth (batch-norm statistics).

Under `support` a network's batch norm uses the labelled pictures of the task only, so each new picture is judged by
itself. Under `batch`, the protocol of published MAML and ALFA results, it uses everything in the batch: the other queries
too. Rows of both modes on the same tasks are set side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modicum.evaluation.intervals import excludes_zero, paired_interval
from modicum.reporting.records import Accuracy

SEEN = {"support": "one by one", "batch": "all at once", "running": "training's statistics"}
"""How new pictures are seen under each mode, in words short enough for a label."""
MODE = "batch norm"
Setup = tuple[tuple[str, str], ...]
"""(name, words) of what may differ between measurements of one setting."""


def setup(record: Mapping[str, Any], row: Mapping[str, Any]) -> Setup:
    """(name, words) of what rows of one setting may differ in, from a result's record and one of its rows."""
    ensemble = record.get("ensemble")
    rule = ensemble.get("rule") if isinstance(ensemble, Mapping) else None
    mode = str(row.get("batch_norm") or "")
    found = {
        MODE: SEEN.get(mode, mode),
        "head": f"head {record['head']}" if record.get("head") else "",
        "inner steps": f"{row['inner_steps']} inner steps" if row.get("inner_steps") else "",
        "ensemble": f"ensemble {rule}" if rule else "",
        "queries": f"{record['queries']} queries per class" if record.get("queries") else "",
        "seed": f"tasks of seed {record['seed']}" if record.get("seed") else "",
    }
    return tuple(found.items())


def told_apart(rows: Sequence[Accuracy], method: str) -> tuple[Accuracy, ...]:
    """Rows in order of ways and shots, with words for what tells those of one setting apart.

    Of one setting the run's own method comes first, and statistics of the whole batch come last. What two files say alike
    (support, and both modes) counts once.
    """
    once = {(row.setting, row.setup, row.tasks_key, row.value): row for row in reversed(rows)}
    rows = list(reversed(once.values()))
    ordered = sorted(rows, key=lambda row: (row.ways or 0, row.shots or 0, row.setting, *_unusual(row, method)))
    return tuple(
        replace(row, apart=", ".join(differing(row.setup, [o.setup for o in ordered if o.setting == row.setting])))
        for row in ordered
    )


def _unusual(row: Accuracy, method: str) -> tuple[bool, ...]:
    found = dict(row.setup)
    other_head = found.get("head", "") not in ("", f"head {method}")
    return other_head, bool(found.get("ensemble")), bool(found.get("seed")), row.batch_norm == "batch"


def differing(own: Setup, alike: Sequence[Setup]) -> list[str]:
    """The words of a setup whose values are not the same in all of `alike`."""
    each = [dict(other) for other in alike]
    return [words for name, words in own if words and len({found.get(name) for found in each}) > 1]


@dataclass(frozen=True)
class Pair:
    """One setting under both modes, on the same tasks. difference: batch minus support, low/high its 95 % interval."""

    label: str
    support: float
    batch: float
    difference: float
    low: float
    high: float
    tasks: int
    told: str


def pairs(rows: Sequence[Accuracy]) -> list[Pair]:
    """Settings that were measured with statistics of the support set and of the whole batch, on the same tasks."""
    found = []
    for row in rows:
        if row.batch_norm != "support" or row.tasks_key is None or row.per_task is None:
            continue
        for other in rows:
            same = other.tasks_key == row.tasks_key and _rest(other) == _rest(row)
            if other.batch_norm == "batch" and same and other.per_task is not None:
                found.append(_pair(row, other))
                break
    return found


def _rest(row: Accuracy) -> Setup:
    return tuple(entry for entry in row.setup if entry[0] != MODE)


def _pair(support: Accuracy, batch: Accuracy) -> Pair:
    assert support.per_task is not None  # pairs() asks for both
    assert batch.per_task is not None
    gap = paired_interval(batch.per_task, support.per_task, "draws of tasks")
    more = [words for words in support.apart.split(", ") if words not in ("", SEEN["support"])]
    if not excludes_zero(gap):
        told = "these tasks do not tell the two apart"
    else:
        told = "seeing the other queries helps it" if gap.mean > 0 else "it does better without the other queries"
    return Pair(
        label=", ".join([support.setting, *more]),
        support=support.value,
        batch=batch.value,
        difference=gap.mean,
        low=gap.mean - gap.ci95,
        high=gap.mean + gap.ci95,
        tasks=len(batch.per_task),
        told=told,
    )

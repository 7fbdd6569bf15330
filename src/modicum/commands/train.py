"""`modicum train`: meta-train an encoder and a head, or a network for regression, or train on all classes with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modicum.commands.output import percent
from modicum.commands.progress import progress
from modicum.configs import Evaluate, Train
from modicum.configs.gradient import takes_only_its_ways
from modicum.configs.long_tail import RAC
from modicum.configs.regression import is_regression
from modicum.runtime import ranks


def _show_rac(record: Mapping[str, Any]) -> None:
    """Say what was trained on, what the memory is, and what both encoders had seen before."""
    data, memory, before = record["data"], record["memory"], record["pretraining"]
    parts = ", ".join(f"{count:,} {name}" for name, count in data["parts"].items())
    print(f"data: {data['name']}, {data['pictures']:,} pictures of {len(data['classes'])} classes: {parts}")
    if before["base"] is not None:
        print(f"base branch: pre-training {before['base']}")
    if memory is not None:
        print(f"memory: {memory['items']:,} items; pre-training of its encoder {before['encoder']}")


def run(config: Train) -> int:
    """Train, then say which classes were held out, how good it got, and where the run is."""
    from modicum.training.runs import read_record
    from modicum.training.trainer import train

    with progress("training") as tick:
        result = train(config, progress=tick)
    if ranks().rank > 0:
        return 0
    record = read_record(result.run)[1]
    data, regression = record["data"], is_regression(config)
    parts = ", ".join(f"{len(names)} {name}" for name, names in data["splits"].items())
    if config.method == RAC:
        _show_rac(record)
    elif regression:
        print(f"data: {data['name']}, tasks: {parts or 'a new one for every number'}")
    else:
        print(f"data: {data['name']}, {data['pictures']} pictures, classes: {parts}")
    if record.get("split_rule"):
        print(f"splits: {record['split_rule']}")
    if record.get("note"):
        print(f"note: {record['note']}")
    if result.skipped:
        print(
            f"diverged: {result.skipped} of {result.steps} steps were left out because their loss or gradient was not finite"
        )
    if result.validation is not None and regression:
        print(f"best validation error: {result.validation:.4f} (mean squared)")
    elif result.validation is not None:
        balanced = "balanced " if config.method == RAC else ""
        print(f"best {balanced}validation accuracy: {percent(result.validation)}")
    print(f"run: {result.run} ({result.steps} steps)")
    others = not regression and takes_only_its_ways(config) and config.ways != Evaluate.ways
    print(f"next: modicum evaluate {result.run}" + (f" --ways {config.ways}" if others else ""))
    return 0

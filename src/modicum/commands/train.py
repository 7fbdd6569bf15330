"""`modicum train`: meta-train an encoder and a head, or a network for regression, or train on all classes with a memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modicum.commands.output import percent
from modicum.commands.progress import progress
from modicum.commands.tables import show_trained, show_validation
from modicum.configs import Evaluate, Train
from modicum.configs.gradient import takes_only_its_ways
from modicum.configs.long_tail import RAC
from modicum.configs.neighborhoods import NEIGHBORHOODS, is_table
from modicum.configs.regression import is_regression
from modicum.configs.supervised import SUPERVISED
from modicum.runtime import ranks


def _show_pictures(data: Mapping[str, Any]) -> None:
    """Say which pictures train, validate and test."""
    parts = ", ".join(f"{count:,} {name}" for name, count in data["parts"].items())
    print(f"data: {data['name']}, {data['pictures']:,} pictures of {len(data['classes'])} classes: {parts}")


def _show_rac(record: Mapping[str, Any]) -> None:
    """Say what was trained on, what the memory is, and what both encoders had seen before."""
    memory, before = record["memory"], record["pretraining"]
    _show_pictures(record["data"])
    if before["base"] is not None:
        print(f"base branch: pre-training {before['base']}")
    if memory is not None:
        print(f"memory: {memory['items']:,} items; pre-training of its encoder {before['encoder']}")


def _show_neighborhoods(run: Path, record: Mapping[str, Any]) -> None:
    """Say what was trained on, what the dictionary is, and what rate its steps have learned."""
    from modicum.training.neighborhoods.results import learned
    from modicum.training.neighborhoods.runs import load_neighborhoods

    _show_pictures(record["data"])
    loaded = load_neighborhoods(run)
    trained, found, sizes = loaded.config, learned(loaded), record["parameters"]
    print(f"parameters: {sizes['encoder']:,} of the encoder {trained.backbone}, {sizes['others']:,} behind it")
    if trained.baseline != "none":
        what = "nothing adapts" if trained.modulate == "none" else f"nothing adapts but norms ({trained.modulate}, iFiLM)"
        print(f"baseline: {trained.baseline}, {trained.output_layer} layer, {what}")
        return
    low, high = found["rate_ends"]
    ends = f" on average, {low:.3g} to {high:.3g}" if trained.inner_rates == "diagonal" else ""
    how = "learned" if trained.learn_temperature else "fixed"
    print(f"dictionary: {trained.entries:,} entries, T {found['temperature']:.3g} ({how})")
    rate = f"{found['rate']:.3g}{ends} (learned, from {trained.inner_rate:g})"
    print(f"inner steps: {trained.inner_steps}, at a rate of {rate}")


def _why_early(trained: Train, steps: int) -> str:
    """How many steps were asked for, where patience ended the training before them."""
    if trained.patience is None or not 0 < steps < trained.steps:
        return ""
    return f" of {trained.steps:,}; the last {trained.patience} validations brought nothing better"


def run(config: Train) -> int:
    """Train, then say which classes were held out, how good it got, and where the run is."""
    from modicum.training.runs import read_record
    from modicum.training.trainer import train

    with progress("training") as tick:
        result = train(config, progress=tick)
    if ranks().rank > 0:
        return 0
    trained, record = read_record(result.run)
    data, regression = record["data"], is_regression(config)
    parts = ", ".join(f"{len(names)} {name}" for name, names in data["splits"].items())
    if config.method == RAC:
        _show_rac(record)
    elif is_table(config):
        show_trained(record)
    elif config.method == NEIGHBORHOODS:
        _show_neighborhoods(result.run, record)
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
    if result.validation is not None and is_table(config):
        show_validation(result.validation)
    elif result.validation is not None and regression:
        print(f"best validation error: {result.validation:.4f} (mean squared)")
    elif result.validation is not None:
        balanced = "balanced " if config.method in SUPERVISED else ""
        print(f"best {balanced}validation accuracy: {percent(result.validation)}")
    print(f"run: {result.run} ({result.steps} steps{_why_early(trained, result.steps)})")
    others = not regression and takes_only_its_ways(config) and config.ways != Evaluate.ways
    print(f"next: modicum evaluate {result.run}" + (f" --ways {config.ways}" if others else ""))
    return 0

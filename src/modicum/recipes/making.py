"""What the runner asks for a model: how long its training is, that it be made, how long it took, where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modicum.configs import Quantize, Train
from modicum.errors import DataError
from modicum.files import read_json
from modicum.recipes.measuring import training_seconds
from modicum.recipes.recipe import Trained
from modicum.runtime import Progress


def environment_of(run: Path | None) -> dict[str, Any]:
    """What a run's record says of its machine; empty without a run."""
    found: dict[str, Any] = {} if run is None else read_json(run / "config.json").get("environment", {})
    return found


def length(options: Trained) -> str:
    """As `400 steps`."""
    return f"{options.epochs} epochs" if isinstance(options, Train) and options.epochs else f"{options.steps} steps"


def make(options: Trained, progress: Progress | None) -> None:
    """Train or quantise as configured; errors of `train` and `quantize`."""
    if isinstance(options, Quantize):
        from modicum.training.low_bit.pipeline import quantize

        quantize(options, progress)
        return
    from modicum.training.trainer import train

    train(options, progress)


def trained_seconds(run: Path, elapsed: float) -> float:
    """Seconds of the whole training by the run's log, which another recipe may have made; else of this call."""
    try:
        return round(training_seconds(run)[0], 3)
    except DataError:
        return round(elapsed, 3)

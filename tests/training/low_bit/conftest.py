"""Two small runs to quantise: a classifier of digits, and a few-shot head on digits of other classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modicum.configs import Quantize, Train
from modicum.training.trainer import train

Asking = Callable[..., Quantize]
COMMON = {
    "data": "digits",
    "backbone": "conv4-32",
    "image_size": 16,
    "threads": 1,
    "tensorboard": False,
    "validate_every": 4,
}


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all ten digits without a dictionary."""
    out = tmp_path_factory.mktemp("classifier") / "run"
    train(Train(out=str(out), method="meta-neighborhoods", baseline="vanilla", output_layer="dot", steps=30,
                batch_pictures=32, augmentation="none", **COMMON))  # type: ignore[arg-type]  # fmt: skip
    return out


@pytest.fixture(scope="session")
def few_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of protonet; three digits validate it, three are held out."""
    folder = tmp_path_factory.mktemp("few-shot")
    names = [str(name) for name in range(10)]
    (folder / "splits.json").write_text(json.dumps({"train": names[:4], "val": names[4:7], "test": names[7:]}))
    train(Train(out=str(folder / "run"), splits=str(folder / "splits.json"), ways=3, shots=1, queries=4, batch=2, steps=8,
                validation_tasks=4, validation_ways=3, **COMMON))  # type: ignore[arg-type]  # fmt: skip
    return folder / "run"


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """Few steps, few calibration pictures, nothing measured."""

    def ask(run: Path, **changes: object) -> Quantize:
        """`quantize run` into a folder of this test."""
        options = {"out": str(tmp_path / "out"), "steps": 4, "calibration": 60, "measure": False, "threads": 1, **changes}
        return Quantize(str(run), **options)  # type: ignore[arg-type]

    return ask

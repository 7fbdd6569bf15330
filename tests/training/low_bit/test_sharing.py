"""A run of quantised weights and float activations begins several others, which then need no first stage of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modicum.configs import Quantize
from modicum.errors import ConfigError
from modicum.training.checkpoints import read_checkpoint
from modicum.training.low_bit.begun import begun
from modicum.training.low_bit.pipeline import quantize
from modicum.training.neighborhoods.runs import checkpoint_of

Asking = Callable[..., Quantize]


def test_a_run_of_weights_alone_is_the_first_stage_of_others(asking: Asking, classifier: Path, tmp_path: Path) -> None:
    """What it is begun from are its own weights; the form of the next one is not its own."""
    floats = {"accumulator": "none", "activations": "float", "pretrain_steps": 0, "warmup_steps": 0}
    weights = quantize(asking(classifier, out=str(tmp_path / "weights"), **floats)).run
    asked = asking(weights, out=str(tmp_path / "wraps"), accumulator="8", pretrain_steps=0)
    begin = begun(asked)
    assert begin.backbone == begun(asking(classifier)).backbone  # without an ending
    found, _ = read_checkpoint(checkpoint_of(weights))
    assert all(torch.equal(begin.tensors[name], value) for name, value in found.items())
    made = quantize(asked)
    assert not (made.run / "weights").exists()
    assert made.record["form"]["accumulator"] == 8
    assert [stage["name"] for stage in made.record["stages"]] == ["warm-up", "codes"]
    with pytest.raises(ConfigError, match="is of low-bit layers already"):  # it has step sizes now
        begun(asking(made.run, out=str(tmp_path / "again"), accumulator="8"))


@pytest.mark.parametrize("changed", [{"weights": "ternary"}, {"relu": False}, {"ends": "8"}])
def test_other_weights_or_layers_are_refused(
    asking: Asking, classifier: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    floats = {"accumulator": "none", "activations": "float", "pretrain_steps": 0, "warmup_steps": 0}
    weights = quantize(asking(classifier, out=str(tmp_path / "weights"), **floats)).run
    with pytest.raises(ConfigError, match="the same --weights"):
        begun(asking(weights, out=str(tmp_path / "other"), **{"accumulator": "8", **changed}))

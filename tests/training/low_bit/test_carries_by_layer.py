"""Carries layer by layer: which layers are let through, in which order, and what the rest gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modicum.configs import Quantize, Train
from modicum.errors import ConfigError
from modicum.models import load_encoder
from modicum.quantization.layers import low_bit_layers
from modicum.training.low_bit import pipeline
from modicum.training.low_bit.pipeline import quantize
from modicum.training.low_bit.stages import Stage
from modicum.training.low_bit.subject import Penalties
from modicum.training.runs import read_record
from modicum.training.trainer import train

Asking = Callable[..., Quantize]


class Script:
    """Stages whose validation is written down beforehand."""

    def __init__(self, validations: list[float | None]) -> None:
        self.validations = validations
        self.done = [Stage("codes", Path("codes"), 4, self.validations.pop(0), {})]
        self.tried: list[Stage] = []
        self.calls: list[tuple[str, Path, int, Penalties]] = []

    def train(self, name: str, folder: Path, steps: int, change: Any, penalties: Penalties) -> Stage:
        self.calls.append((name, folder, steps, penalties))
        self.done.append(Stage(name, folder, steps, self.validations.pop(0), {}))
        return self.done[-1]


def carried(monkeypatch: pytest.MonkeyPatch, carries: str, validations: list[float | None]) -> tuple[Script, list[str]]:
    monkeypatch.setattr(pipeline, "_order", lambda *_: ["b", "a", "c"])
    asked = Quantize("run", "out", carries=carries)  # type: ignore[arg-type]
    script, said = Script(validations), []
    pipeline._carry(asked, None, script, 7, said.append)  # type: ignore[arg-type]
    return script, said


def test_all_layers_are_let_through_whatever_it_costs(monkeypatch: pytest.MonkeyPatch):
    script, _ = carried(monkeypatch, "simulate", [0.9, 0.8, 0.1, 0.1, 0.5])
    folders = [str(call[1]) for call in script.calls]
    assert folders == ["out/carries/01-b", "out/carries/02-a", "out/carries/03-c", "out"]
    assert [call[2] for call in script.calls] == [7] * 4
    assert {call[3] for call in script.calls} == {Penalties(0.01, 0.01)}


def test_hybrid_stops_where_more_than_the_drop_is_lost_and_goes_on_from_before(monkeypatch: pytest.MonkeyPatch):
    """2 points below 90 % may be lost: 88.5 % may stand, 87 % may not."""
    script, said = carried(monkeypatch, "hybrid", [0.9, 0.885, 0.87, 0.88])
    assert [call[0] for call in script.calls] == ["carries of b", "carries of a", "final"]
    assert [stage.name for stage in script.done] == ["codes", "carries of b", "final"]
    assert [stage.name for stage in script.tried] == ["carries of a"]
    assert "buffer bit: a, c" in said
    assert [call[3].carried for call in script.calls] == [frozenset("b"), frozenset("ba"), frozenset("b")]


def test_hybrid_without_validation_is_refused_before_any_training(asking: Asking, tmp_path: Path):
    run = tmp_path / "run"
    train(
        Train(
            "digits", str(run), backbone="conv4-32", image_size=16, ways=3, queries=3, batch=1, steps=1,
            tensorboard=False, threads=1,
        )
    )  # fmt: skip
    with pytest.raises(ConfigError, match="validates nothing; take simulate or buffer"):
        quantize(asking(run, carries="hybrid"))
    assert not (tmp_path / "out").exists()


def flags(run: Path) -> dict[str, int]:
    return {name: int(layer.carry) for name, layer in low_bit_layers(load_encoder(run)).items()}


def test_layers_count_carries_one_after_the_other_in_ascending_order_of_their_deviation(asking: Asking, classifier: Path):
    asked = asking(classifier, steps=2, carries="simulate", layer_steps=2)
    record = quantize(asked).record
    out = Path(asked.out)
    order = [folder.name[3:] for folder in sorted((out / "carries").iterdir())]
    assert sorted(order) == ["blocks.1.conv", "blocks.2.conv", "blocks.3.conv"]
    assert set(flags(out / "codes").values()) == {0}
    for place, folder in enumerate(sorted((out / "carries").iterdir())):
        found = flags(folder)
        assert [name for name in order if found[name] == 1] == order[: place + 1]
    assert set(flags(out).values()) == {1}
    mean = low_bit_layers(load_encoder(out))["blocks.1.conv"].carry_mean
    assert mean.shape == (32, 8, 8)
    assert float(mean.mean()) > 5
    names = [row["name"] for row in record["stages"]]
    assert names == ["weights", "warm-up", "codes", *(f"carries of {name}" for name in order), "final"]
    said = read_record(out / "carries" / f"01-{order[0]}")[1]["low_bit"]
    assert said["let_through"] == [order[0]]

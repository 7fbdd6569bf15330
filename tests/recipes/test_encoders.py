"""A run becomes an encoder to ship: half the bytes, the same features, a card whose figures come from the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modicum.configs import Evaluate, Train
from modicum.data.pictures import open_pictures
from modicum.errors import ConfigError, FileFormatError
from modicum.models import embed, load_encoder
from modicum.recipes.encoders import ABOUT, export
from modicum.training.evaluate import evaluate
from modicum.training.trainer import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    train(Train("digits", str(run), steps=2, batch=1, queries=3, shots=1, tensorboard=False))
    return run


def test_export_and_card(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="modicum evaluate"):
        export(trained, "characters", tmp_path / "out")
    result = evaluate(Evaluate(str(trained), tasks=20, shots=[1, 5]))
    out = export(trained, "characters", tmp_path / "out")
    card = (out / "README.md").read_text()
    for row in result["rows"]:
        line = f"| digits | test | 5 | {row['shots']} | {100 * row['accuracy']:.2f} % | ± {100 * row['ci95']:.2f} | 20 |"
        assert line in card
    assert "Intervals are over draws of 20 tasks from the 5 classes of digits (test)." in card
    for word in (ABOUT["characters"].licence, ABOUT["characters"].limits, "step 2 of 2", "conv4-64"):
        assert word in card
    pixels = open_pictures("digits").pixels[:8]
    whole, half = embed(load_encoder(trained), pixels), embed(load_encoder(out), pixels)
    np.testing.assert_allclose(half, whole, rtol=0.02, atol=0.02 * np.abs(whole).max())
    size = {path: sum(file.stat().st_size for file in path.glob("*.safetensors")) for path in (out, trained / "encoder")}
    assert size[out] < 0.6 * size[trained / "encoder"]
    assert "model.safetensors" in (out / "SHA256SUMS").read_text()


def test_unknown_name(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'pictures'"):
        export(trained, "picture", tmp_path / "out")

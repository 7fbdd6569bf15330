"""Small folders of pictures made on the spot; downloads are off, and every test has a cache of its own."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


def png(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    """A PNG of noise, (width, height), different for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(autouse=True)
def alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No network, no data root from outside, an empty cache; tests of real data share the session's cache."""
    monkeypatch.setenv("MODICUM_OFFLINE", "1")
    monkeypatch.delenv("MODICUM_DATA", raising=False)
    if "test_data" not in request.fixturenames:
        monkeypatch.setenv("MODICUM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Makes a folder of class folders: {"cat": 3} is three different pictures in cat/."""

    def make(classes: Mapping[str, int], name: str = "data", size: tuple[int, int] = (32, 32)) -> Path:
        top = tmp_path / name
        for place, (class_name, count) in enumerate(classes.items()):
            for index in range(count):
                path = top / class_name / f"{index:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(1000 * place + index, size))
        return top

    return make

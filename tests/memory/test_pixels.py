"""The encoder `pixels`: its equation by hand and by a loop, and the same numbers from numpy and from torch."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.errors import ConfigError, DataError
from modicum.memory.pixels import DIM, FINGERPRINT, embed_pixels
from modicum.models import embed, fingerprint, load_encoder, save_encoder


def pictures(n: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_worked_by_hand() -> None:
    """A quarter of the pixels is 200, the rest 0: mean 50, std sqrt(.25 150^2 + .75 50^2) = 86.6, so sqrt 3 and -1/sqrt 3.

    The standard deviation with n - 1 would give another number, and so would one of each channel.
    """
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, :24, :, 0] = 200  # a quarter: 24 of 32 rows of one channel of three
    found = embed_pixels(picture)[0].reshape(32, 32, 3)
    assert found[:24, :, 0] == pytest.approx(math.sqrt(3), abs=1e-6)
    assert found[24:, :, 0] == pytest.approx(-1 / math.sqrt(3), abs=1e-6)
    assert found[:, :, 1:] == pytest.approx(-1 / math.sqrt(3), abs=1e-6)


def test_equal_to_a_plain_loop() -> None:
    given = pictures(3)
    for picture, found in zip(given, embed_pixels(given), strict=True):
        values = [int(value) for value in picture.reshape(-1)]
        mean = sum(values) / DIM
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / DIM)
        assert found == pytest.approx([(value - mean) / std for value in values], abs=1e-6)


@pytest.mark.parametrize("size", [32, 37])
def test_torch_gives_the_same_bits(size: int) -> None:
    given = pictures(11, size)
    given[3] = 7  # of one colour
    expected = embed_pixels(given)
    assert np.array_equal(embed(load_encoder("pixels"), given), expected)
    assert not expected[3].any()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    given = pictures(7)
    assert np.array_equal(embed_pixels(given[2:3])[0], embed_pixels(given)[2])


def test_float_pictures_give_nearly_the_same() -> None:
    given = pictures(4)
    x = torch.from_numpy(given).permute(0, 3, 1, 2).float() / 255
    assert load_encoder("pixels")(x).numpy() == pytest.approx(embed_pixels(given), abs=1e-5)


def test_the_fingerprint_needs_no_torch_and_is_that_of_the_encoder() -> None:
    assert fingerprint(load_encoder("pixels")) == FINGERPRINT
    code = "import sys; from modicum.memory.pixels import FINGERPRINT; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_can_be_saved_and_loaded_like_any_encoder(tmp_path: Path) -> None:
    save_encoder(load_encoder("pixels"), tmp_path / "encoder", "# pixels\n")
    loaded = load_encoder(tmp_path / "encoder")
    assert fingerprint(loaded) == FINGERPRINT
    assert np.array_equal(embed(loaded, pictures(3)), embed_pixels(pictures(3)))


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 32, 32, 1), np.uint8), np.zeros((2, 31, 32, 3), np.uint8), np.zeros((2, 32, 32, 3)), pictures(1)[0]],
)
def test_what_it_cannot_read_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"pixels: expected uint8 \(n, 32 or more, 32 or more, 3\)"):
        embed_pixels(wrong)


def test_another_size_is_refused_by_the_encoder() -> None:
    with pytest.raises(ConfigError, match="pixels reads 32x32 only, found 40x40"):
        load_encoder("pixels")(torch.zeros(1, 3, 40, 40))

"""RandAugment in batches: each operation against torchvision's on one picture, windows by hand, draws by place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from modicum.augmentation.rand_augment import (
    FILL,
    OPERATIONS,
    apply_operation,
    centre_crop,
    draw_operations,
    rand_augment,
)
from modicum.errors import ConfigError, DataError


def photographs(n: int, channels: int = 3, side: int = 24) -> Tensor:
    """Smooth random pictures of values 20 to 230."""
    noise = torch.rand(n, channels, side + 8, side + 8)
    smooth = torch.nn.functional.avg_pool2d(noise, 9, 1)
    low, high = smooth.amin((1, 2, 3), keepdim=True), smooth.amax((1, 2, 3), keepdim=True)
    return ((smooth - low) / (high - low) * 210 + 20).round().to(torch.uint8)


def one(name: str, x: Tensor, a: float) -> Tensor:
    """torchvision's operation on a single picture (C, H, W) at signed strength a, as its RandAugment calls it."""
    bilinear, fill, side = InterpolationMode.BILINEAR, [FILL], x.shape[-1]

    def affine(move: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
        found: Tensor = tv.affine(x, 0.0, list(move), 1.0, list(shear), bilinear, fill, [0.0, 0.0])
        return found

    found: dict[str, object] = {
        "identity": lambda: x,
        "auto-contrast": lambda: tv.autocontrast(x),
        "equalize": lambda: tv.equalize(x),
        "rotate": lambda: tv.rotate(x, 30 * a, bilinear, fill=fill),
        "solarize": lambda: tv.solarize(x, min(255.0, math.ceil(256 * (1 - abs(a))))),
        "colour": lambda: tv.adjust_saturation(x, 1 + 0.9 * a),
        "posterize": lambda: tv.posterize(x, 8 - round(4 * abs(a))),
        "contrast": lambda: tv.adjust_contrast(x, 1 + 0.9 * a),
        "brightness": lambda: tv.adjust_brightness(x, 1 + 0.9 * a),
        "sharpness": lambda: tv.adjust_sharpness(x, 1 + 0.9 * a),
        "shear-x": lambda: affine(shear=(math.degrees(math.atan(0.3 * a)), 0)),
        "shear-y": lambda: affine(shear=(0, math.degrees(math.atan(0.3 * a)))),
        "translate-x": lambda: affine(move=(-0.45 * a * side, 0)),
        "translate-y": lambda: affine(move=(0, -0.45 * a * side)),
    }[name]
    return found()  # type: ignore[operator]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [3, 1])
def test_every_operation_is_torchvisions_picture_by_picture(name: str, channels: int) -> None:
    """Strengths differ within the batch; shifts are 5 and -5 whole pixels at 0.45 * 24 a, torchvision knows no others.

    At edges torchvision multiplies a pixel half outside by its share twice, so only what is wholly inside is compared.
    """
    x = photographs(4, channels)
    a = torch.tensor([5 / 10.8, -5 / 10.8, 1.0, -0.1]) if name.startswith("translate") else torch.tensor([0.1, -0.5, 1, -1])
    many = apply_operation(name, x, a)
    assert many.dtype == torch.uint8
    for i in range(4 if not name.startswith("translate") else 2):
        wanted = one(name, x[i], float(a[i]))
        inside = (one(name, torch.zeros_like(x[i]), float(a[i])) == 0) | (name in ("equalize", "solarize"))
        assert inside.float().mean() > 0.6
        gap = (many[i].int() - wanted.int()).abs() * inside
        assert int(gap.max()) <= 1, (i, int(gap.max()))
    changed = (many != x).flatten(1).any(1)
    still = name == "identity" or (name == "colour" and channels == 1)
    assert changed[2].item() is not still


def test_strength_zero_changes_nothing_where_there_is_a_strength() -> None:
    x = photographs(2)
    for name in OPERATIONS:
        if name not in ("auto-contrast", "equalize"):
            assert torch.equal(apply_operation(name, x, torch.zeros(2)), x), name


def test_the_window_by_hand() -> None:
    """A ramp 10 c over 8 columns: half the side about the middle shows 2.75, 3.25 .. of c; mirrored it falls."""
    ramp = (10 * torch.arange(8)).to(torch.uint8).expand(1, 1, 8, 8)
    half = centre_crop(ramp, 0.5)
    assert half[0, 0, 0].tolist() == [18, 22, 28, 32, 38, 42, 48, 52]  # 17.5, 22.5, .. rounded half to even
    plain = {"layers": 0, "crop": 1.0, "scale": (1.0, 1.0)}
    assert torch.equal(rand_augment(ramp, 0, 0, flip=0.0, **plain), ramp)  # type: ignore[arg-type]
    assert torch.equal(rand_augment(ramp, 0, 0, flip=1.0, **plain), ramp.flip(-1))  # type: ignore[arg-type]
    zoomed = rand_augment(ramp, 0, 0, layers=0, crop=1.0, scale=(2.0, 2.0), flip=0.0)
    assert torch.equal(zoomed, half)
    shrunk = rand_augment(ramp + 1, 0, 0, layers=0, crop=1.0, scale=(0.5, 0.5), flip=0.0)
    assert (shrunk[0, 0, 0] == FILL).all()
    assert shrunk[0, 0, 4, [0, 1, 6, 7]].tolist() == [FILL] * 4
    assert shrunk[0, 0, 4, 2:6].tolist() == [6, 26, 46, 66]


def test_a_part_of_a_batch_gets_what_the_whole_would() -> None:
    x = photographs(8)
    whole = rand_augment(x, 3, 11)
    parts = [rand_augment(x[4 * i : 4 * i + 4], 3, 11, slice(4 * i, 4 * i + 4)) for i in range(2)]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, rand_augment(x, 3, 11))
    assert not torch.equal(whole, rand_augment(x, 3, 12))
    assert not torch.equal(whole, rand_augment(x, 4, 11))
    assert whole.shape == x.shape
    assert torch.equal(x, x.clone())


def test_the_pictures_given_stay_as_they_are() -> None:
    x = photographs(16)
    before = x.clone()
    rand_augment(x, 0, 0, crop=1.0, scale=(1.0, 1.0))
    assert torch.equal(x, before)


def test_draws_are_what_the_table_says() -> None:
    """Operations alike, magnitude 1 with deviation 0.5, cut at 0; scales as many below 1 as above; half flipped."""
    draws = draw_operations(20_000, 0, 0)
    assert draws.operation.shape == (20_000, 3)
    assert np.bincount(draws.operation.ravel(), minlength=14) / 60_000 == pytest.approx([1 / 14] * 14, abs=0.005)
    assert (10 * draws.strength.mean(), 10 * np.median(draws.strength)) == pytest.approx((1.0, 1.0), abs=0.02)
    assert 10 * draws.strength.std() == pytest.approx(0.49, abs=0.02)
    assert draws.strength.min() == 0
    assert (draws.flip.mean(), (draws.sign > 0).mean(), (draws.scale < 1).mean()) == pytest.approx((0.5,) * 3, abs=0.02)
    assert 0.75 <= draws.scale.min() < 0.76 < 1.32 < draws.scale.max() <= 1.33
    never = draw_operations(1_000, 0, 0, probability=0.0, noise=0.0, magnitude=4)
    assert not never.operation.any()
    assert set(never.strength.ravel().tolist()) == {0.4}
    half = draw_operations(20_000, 0, 0, probability=0.5).operation
    assert (half == 0).mean() == pytest.approx(0.5 + 0.5 / 14, abs=0.01)


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match=r"x: expected square uint8 pictures .* found torch.float32"):
        rand_augment(torch.zeros(1, 3, 8, 8), 0, 0)
    with pytest.raises(DataError, match=r"found torch.uint8 \(1, 3, 8, 9\)"):
        rand_augment(torch.zeros(1, 3, 8, 9, dtype=torch.uint8), 0, 0)
    with pytest.raises(ConfigError, match="magnitude: expected 0 to 10, found 11"):
        draw_operations(1, 0, 0, magnitude=11)
    with pytest.raises(ConfigError, match="crop: expected more than 0"):
        centre_crop(photographs(1), 0.0)

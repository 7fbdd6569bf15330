"""AutoAugment, Cutout, padded crop: operations against Pillow, the policy against torchvision's, squares by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from modicum.augmentation.auto_augment import (
    NAMES,
    POLICY,
    apply_policy_operation,
    augment_pictures,
    cutout,
    draw_pictures,
)
from modicum.errors import ConfigError, DataError

GREY = (128, 128, 128)
TORCHVISION = {
    "colour": "Color", "auto-contrast": "AutoContrast", "translate-x": "TranslateX", "translate-y": "TranslateY",
    "shear-x": "ShearX", "shear-y": "ShearY",
}  # fmt: skip


def photographs(n: int, channels: int = 3, side: int = 24) -> Tensor:
    """Random pictures of values 10 to 240, smoothed over 5 pixels."""
    noise = torch.nn.functional.avg_pool2d(torch.rand(n, channels, side + 4, side + 4), 5, 1)
    return (noise - 0.5).mul(600).add(125).clamp(10, 240).to(torch.uint8)


def pillow(name: str, picture: Tensor, m: int, sign: int) -> Tensor:
    """The released code's operation at magnitude m of 0..9 on one picture (3, H, W), written with Pillow."""
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    side = image.size[0]
    shear, shift, factor = sign * 0.3 * m / 9, sign * 150 / 331 * m / 9 * side, 1 + sign * 0.9 * m / 9

    def moved(matrix: tuple[float, ...], how: Image.Resampling = Image.Resampling.NEAREST) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=GREY)

    def rotated() -> Image.Image:
        turned = image.convert("RGBA").rotate(30 * m / 9)
        return Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert("RGB")

    found = {
        "shear-x": lambda: moved((1, shear, 0, 0, 1, 0), Image.Resampling.BICUBIC),
        "shear-y": lambda: moved((1, 0, 0, shear, 1, 0), Image.Resampling.BICUBIC),
        "translate-x": lambda: moved((1, 0, shift, 0, 1, 0)),
        "translate-y": lambda: moved((1, 0, 0, 0, 1, shift)),
        "rotate": rotated,
        "colour": lambda: ImageEnhance.Color(image).enhance(factor),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(factor),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "posterize": lambda: ImageOps.posterize(image, int(np.round(np.linspace(8, 4, 10))[m])),
        "solarize": lambda: ImageOps.solarize(image, float(np.linspace(256, 0, 10)[m])),
        "auto-contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "invert": lambda: ImageOps.invert(image),
    }[name]()
    return torch.from_numpy(np.array(found)).permute(2, 0, 1)


@pytest.mark.parametrize("name", [*NAMES[1:], "shear-x"])
@pytest.mark.parametrize("side", [32, 28])
def test_every_operation_is_pillows(name: str, side: int) -> None:
    """All magnitudes and both signs in one batch. Moves to the bit, but for places of a rotation that Pillow rounds."""
    cases = [(m, sign) for m in range(10) for sign in (-1, 1)]
    x = photographs(len(cases), 3, side)
    x[:, :, :3, :5] = 20 + 200 * torch.randint(0, 2, (len(cases), 3, 3, 5), dtype=torch.uint8)  # hard edges in a corner
    many = apply_policy_operation(name, x, torch.tensor([sign * m / 9 for m, sign in cases], dtype=torch.float64))
    wanted = torch.stack([pillow(name, picture, m, sign) for picture, (m, sign) in zip(x, cases, strict=True)])
    gap = (many.int() - wanted.int()).abs()
    if name == "rotate":
        assert (gap > 0).float().mean() < 1e-3
    else:
        exact = name.startswith(("shear", "translate")) or name in ("invert", "equalize", "posterize", "solarize")
        assert int(gap.max()) <= (0 if exact else 1)
    if name not in ("auto-contrast", "equalize", "invert"):
        assert (gap[:2] == 0).all()
        assert torch.equal(many[:2], x[:2])  # magnitude 0 changes nothing
    assert (many[-1] != x[-1]).any()


def test_the_policy_is_torchvisions() -> None:
    """Names, probabilities and magnitudes of the 25 pairs, in their order; theirs have None where there is no magnitude.

    One probability of the released code is another: 0.8, not 0.6, of the second operation of pair 16.
    """
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10)._get_policies(AutoAugmentPolicy.CIFAR10)
    assert len(POLICY) == len(theirs) == 25
    assert (POLICY[16][1], theirs[16][1]) == ((0.8, "equalize", 4), ("Equalize", 0.6, None))
    for ours, wanted in zip(POLICY[:16] + POLICY[17:], theirs[:16] + theirs[17:], strict=True):
        for (probability, name, m), (their_name, their_probability, their_m) in zip(ours, wanted, strict=True):
            assert (TORCHVISION.get(name, name.capitalize()), probability) == (their_name, their_probability)
            assert their_m in (None, m)
            assert (their_m is None) == (name in ("auto-contrast", "equalize", "invert"))


def test_draws_are_what_the_policy_says() -> None:
    """Frequencies over 100,000 places: pairs alike, each coin its probability, signs, windows and squares uniform."""
    n = 100_000
    draws = draw_pictures(0, n, 32, 0, 0)
    for layer in (0, 1):
        wanted = dict.fromkeys(NAMES, 0.0)
        for pair in POLICY:
            wanted[pair[layer][1]] += pair[layer][0] / 25
        wanted["identity"] = 1 - sum(wanted.values())
        found = np.bincount(draws.operation[:, layer], minlength=len(NAMES)) / n
        assert found == pytest.approx([wanted[name] for name in NAMES], abs=0.005)
        strength = draws.strength[:, layer]
        some = strength[strength != 0]
        assert (some > 0).mean() == pytest.approx(0.5, abs=0.01)
        assert set(np.round(9 * np.abs(strength)).astype(int)) == {pair[layer][2] for pair in POLICY}
    assert np.bincount(draws.top) / n == pytest.approx([1 / 9] * 9, abs=0.005)
    assert np.bincount(draws.left) / n == pytest.approx([1 / 9] * 9, abs=0.005)
    assert np.bincount(draws.centre.ravel()) / (2 * n) == pytest.approx([1 / 32] * 32, abs=0.003)
    assert draws.flip.mean() == pytest.approx(0.5, abs=0.01)
    both = np.array([[draws.flip, draws.strength[:, 0] > 0, draws.top > 4, draws.centre[:, 0] > 15]], float)[0]
    assert np.abs(np.corrcoef(both) - np.eye(4)).max() < 0.02


def test_cutout_by_hand() -> None:
    """About (2, 5) of 8: rows 0..3, columns 3..6; of 32 about (16, 0): 16 rows and the 8 columns inside the picture."""
    x = torch.full((1, 1, 8, 8), 7, dtype=torch.uint8)
    cutout(x, torch.tensor([[2, 5]]))
    assert x[0, 0].ne(7).nonzero().tolist() == [[row, column] for row in range(4) for column in range(3, 7)]
    assert set(x[x != 7].tolist()) == {0}
    many = torch.ones(2, 3, 32, 32, dtype=torch.uint8)
    cutout(many, torch.tensor([[16, 0], [31, 31]]))
    expected = torch.ones(2, 32, 32, dtype=torch.uint8)
    expected[0, 8:24, :8] = 0
    expected[1, 23:, 23:] = 0
    assert torch.equal(many, expected[:, None].expand(2, 3, 32, 32))


@pytest.mark.parametrize("channels", [3, 1])
def test_a_step_is_its_pictures_one_by_one(channels: int) -> None:
    """A loop over pictures in the released order: pad 4, crop, flip, two operations, a square of 16."""
    x = photographs(64, channels, 32)
    draws = draw_pictures(0, 64, 32, 5, 9)
    whole = augment_pictures(x, 5, 9)
    plain = augment_pictures(x, 5, 9, kind="crop-flip")
    for i, picture in enumerate(x):
        padded = torch.zeros(channels, 40, 40, dtype=torch.uint8)
        padded[:, 4:36, 4:36] = picture
        one = padded[:, draws.top[i] : draws.top[i] + 32, draws.left[i] : draws.left[i] + 32]
        one = one.flip(-1) if draws.flip[i] else one
        assert torch.equal(plain[i], one)
        for name, a in zip(draws.operation[i], draws.strength[i], strict=True):
            if name:
                one = apply_policy_operation(NAMES[name], one[None], torch.tensor([a]))[0]
        (row, column), one = draws.centre[i], one.clone()
        one[:, max(row - 8, 0) : row + 8, max(column - 8, 0) : column + 8] = 0
        assert torch.equal(whole[i], one), i
    crops = augment_pictures(x, 5, 9, kind="crop")
    assert all(torch.equal(crops[i], plain[i].flip(-1) if draws.flip[i] else plain[i]) for i in range(64))
    assert augment_pictures(x, 5, 9, kind="none") is x


def test_a_part_of_a_batch_gets_what_the_whole_would_and_pictures_stay() -> None:
    x = photographs(12, 3, 32)
    before = x.clone()
    whole = augment_pictures(x, 3, 11)
    parts = [augment_pictures(x[4 * i : 4 * i + 4], 3, 11, slice(4 * i, 4 * i + 4)) for i in range(3)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, augment_pictures(x, 3, 12))
    assert not torch.equal(whole, augment_pictures(x, 4, 11))
    assert torch.equal(x, before)


def test_grey_pictures_have_no_colour_operation() -> None:
    x = photographs(3, 1)
    assert torch.equal(apply_policy_operation("colour", x, torch.tensor([1.0, -1.0, 0.5])), x)


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match=r"x: expected square uint8 pictures .* found torch.float32"):
        augment_pictures(torch.zeros(1, 3, 8, 8), 0, 0)
    with pytest.raises(ConfigError, match="kind: expected one of auto-augment, crop-flip, crop, none; found 'cutout'"):
        augment_pictures(photographs(1), 0, 0, kind="cutout")  # type: ignore[arg-type]

"""Encoder: normalisation and polarity worked by hand, shapes, precisions, and what bad pictures get."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder, light_strokes
from modicum.errors import ConfigError, DataError


class Flat(nn.Module):
    """Hands the normalised pixels on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def flat(spec: ImageSpec) -> Encoder:
    return Encoder(Flat(), spec, spec.channels * spec.size**2, "flat", {})


def test_normalisation_by_hand():
    """uint8 51 is 0.2; (0.2 - 0.1) / 0.5 = 0.2, (0.2 - 0.4) / 2 = -0.1, (0.2 - 0) / 1 = 0.2."""
    encoder = flat(ImageSpec(1, 3, (0.1, 0.4, 0.0), (0.5, 2.0, 1.0)))
    out = encoder(torch.full((1, 3, 1, 1), 51, dtype=torch.uint8))
    torch.testing.assert_close(out, torch.tensor([[0.2, -0.1, 0.2]]))
    torch.testing.assert_close(encoder(torch.full((1, 3, 1, 1), 0.2)), out)


def test_polarity_by_hand():
    """The border decides, not the whole picture: a bright middle on a dark border stays, a dark stroke on white turns."""
    light_on_dark = torch.zeros(1, 5, 5)
    light_on_dark[:, 1:4, 1:4] = 1.0  # mean 0.36, border 0
    mostly_light = torch.ones(1, 5, 5)
    mostly_light[:, 1:4, 1:4] = 0.0  # border 1
    half = torch.full((1, 5, 5), 0.5)  # not above one half
    out = light_strokes(torch.stack([light_on_dark, mostly_light, half]))
    assert torch.equal(out[0], light_on_dark)
    assert torch.equal(out[1], 1 - mostly_light)
    assert torch.equal(out[2], half)


def test_polarity_counts_corners_once():
    """3x3: eight border pixels; five of them at 1 make 0.625, with the corners counted twice the mean would be 6/12."""
    picture = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]])
    assert torch.equal(light_strokes(picture), 1 - picture)


def test_an_inverted_picture_has_the_same_features():
    encoder = build_encoder("conv4-64", ImageSpec(28, 1, strokes="light")).eval()
    strokes = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    strokes[:, :, 8:20, 13:15] = 255
    torch.testing.assert_close(encoder(strokes), encoder(255 - strokes))
    plain = build_encoder("conv4-64", ImageSpec(28, 1)).eval()
    assert not torch.allclose(plain(strokes), plain(255 - strokes))


def test_leading_dimensions_are_kept():
    encoder = build_encoder("conv4-32", ImageSpec(16, 3)).eval()
    x = torch.randint(0, 256, (2, 3, 4, 3, 16, 16), dtype=torch.uint8)
    out = encoder(x)
    assert out.shape == (2, 3, 4, 32)
    torch.testing.assert_close(out[1, 2, 3], encoder(x[1, 2, 3]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_precision_follows_the_parameters(dtype: torch.dtype):
    encoder = build_encoder("conv4-32", ImageSpec(16, 1, (0.5,), (0.25,))).eval()
    x = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8)
    exact = encoder.double()(x)
    out = encoder.to(dtype)(x)
    assert out.dtype == dtype
    error = ((out.double() - exact).norm() / exact.norm()).item()
    assert error < {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05}[dtype]


def test_constants_are_neither_parameters_nor_saved():
    encoder = build_encoder("conv4-32", ImageSpec(16, 1, (0.5,), (0.25,)))
    names = {name for name, _ in encoder.named_parameters()} | set(encoder.state_dict())
    assert not names & {"mean", "std"}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 16, 16), r"expected pictures \(..., 1, H, W\), found shape \(2, 3, 16, 16\)"),
        (torch.zeros(16, 16), r"found shape \(16, 16\)"),
        (torch.full((1, 1, 16, 16), float("nan")), "NaN or infinity"),
        (torch.full((1, 1, 16, 16), float("-inf")), "NaN or infinity"),
        (torch.full((1, 1, 16, 16), 255.0), r"in \[0, 1\], found 255; divide by 255"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.int64), "found torch.int64"),
    ],
)
def test_bad_pictures_are_named(x: torch.Tensor, message: str):
    with pytest.raises(DataError, match=message):
        build_encoder("conv4-32", ImageSpec(16, 1))(x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0, "channels": 1}, "size >= 1"),
        ({"size": 8, "channels": 2}, "1 or 3 channels"),
        ({"size": 8, "channels": 1, "mean": (0.1, 0.2)}, "spec mean: expected one value or one per channel, found 2"),
        ({"size": 8, "channels": 1, "std": (0.0,)}, "spec std"),
        ({"size": 8, "channels": 1, "mean": ("half",)}, "spec mean: expected numbers, found"),
        ({"size": 8, "channels": 1, "strokes": "dark"}, "found 'dark'"),
    ],
)
def test_a_spec_that_makes_no_sense(fields: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        ImageSpec(**fields)


def test_a_spec_survives_json():
    spec = ImageSpec(32, 3, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "light")
    assert ImageSpec(**spec.as_record()) == spec


def test_unknown_and_too_small():
    with pytest.raises(ConfigError, match=r"unknown backbone 'conv4-46' \(did you mean 'conv4-64'\?\)"):
        build_encoder("conv4-46", ImageSpec(28, 1))
    with pytest.raises(ConfigError, match="16x16 pixels, found 8x8"):
        build_encoder("resnet12", ImageSpec(8, 3))


def test_gradients_through_an_encoder_under_vmap_and_grad():
    """torch.func: per-picture gradients of a scalar equal those of a loop."""
    encoder = build_encoder("conv4-32", ImageSpec(16, 1, strokes="light")).double().eval()
    parameters = dict(encoder.named_parameters())
    x = torch.rand(3, 1, 16, 16, dtype=torch.float64)

    def loss(weights: dict, picture: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(encoder, weights, (picture,)).square().sum()

    batched = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for index in range(3):
        single = torch.func.grad(loss)(parameters, x[index])
        for name in parameters:
            torch.testing.assert_close(batched[name][index], single[name])

"""One table, backbone x property. A new backbone is one line in `BACKBONES` of the registry (or below, for outside ones)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.errors import ConfigError
from modicum.models import fingerprint, load_encoder, save_encoder
from modicum.registry import BACKBONES

OURS = sorted(BACKBONES)
ALL = [*OURS, "timm/test_resnet", "timm/test_vit", "torchvision/squeezenet1_1"]
LARGER = {"alexnet": 64}
"""Pixels a side for backbones that small pictures are too small for."""


def encoder_of(name: str, channels: int = 3) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(name, ImageSpec(LARGER.get(name, 32), channels, (0.5,), (0.25,)))


def pictures_of(name: str, channels: int = 3, least: int = 32) -> torch.Tensor:
    side = LARGER.get(name, least)
    return torch.rand(2, channels, side, side)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ALL)
def test_output_shape_is_what_was_said(name: str, channels: int):
    encoder = encoder_of(name, channels).eval()
    x = pictures_of(name, channels)[:, None]
    out = encoder(x)
    assert out.shape == (2, 1, encoder.n_features)
    assert encoder.backbone.in_channels == channels
    assert encoder.n_features == encoder.backbone.n_features(LARGER.get(name, 32))
    assert (out.flatten(0, 1).std(0) > 0).any()  # pictures differ, so features do


@pytest.mark.parametrize("name", ALL)
def test_a_forward_pass_in_evaluation_changes_nothing(name: str):
    encoder = encoder_of(name).eval()
    before = fingerprint(encoder)
    x = pictures_of(name)
    first = encoder(x)
    assert torch.equal(encoder(x), first)
    assert fingerprint(encoder) == before


@pytest.mark.parametrize("name", ALL)
def test_gradient_reaches_every_parameter(name: str):
    encoder = encoder_of(name)
    for key, parameter in encoder.named_parameters():  # some start at 0, which stops gradients for now
        if parameter.dim() == 1 and key.endswith("weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    features, _ = forward_training(encoder, pictures_of(name), copy_buffers(encoder))
    features.square().sum().backward()
    without = [key for key, p in encoder.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert without == []


@pytest.mark.parametrize("name", ALL)
def test_save_and_load(name: str, tmp_path: Path):
    encoder = encoder_of(name)
    _, buffers = forward_training(encoder, pictures_of(name), copy_buffers(encoder))
    encoder.load_state_dict(buffers, strict=False)  # statistics that are not the fresh ones
    loaded = load_encoder(save_encoder(encoder, tmp_path / "e", "# card\n"))
    x = (pictures_of(name) * 255).to(torch.uint8)
    assert torch.equal(loaded(x), encoder.eval()(x))
    assert fingerprint(loaded) == fingerprint(encoder)


@pytest.mark.parametrize("name", OURS)
def test_float64_derivative_along_a_random_direction(name: str):
    """Gradient against a central difference in input space; the full Jacobian would take minutes for the wide ones."""
    encoder = encoder_of(name, 1).double().eval()
    x = pictures_of(name, 1, 16).double().mul(0.8).add(0.1).requires_grad_()
    direction = torch.randn_like(x)
    pull = torch.randn_like(encoder(x))
    (gradient,) = torch.autograd.grad((encoder(x) * pull).sum(), x)
    step = 1e-7
    with torch.no_grad():
        rise = ((encoder(x + step * direction) - encoder(x - step * direction)) * pull).sum() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(rise.item(), rel=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_other_precisions_give_the_same_to_rounding(name: str):
    encoder = encoder_of(name).eval()
    x = pictures_of(name, least=16)
    with torch.no_grad():
        single = encoder(x)
        half, double = (encoder.to(dtype)(x).float() for dtype in (torch.bfloat16, torch.float64))
        exact = encoder_of(name).eval().double()(x).float()
    assert ((single - exact).norm() / exact.norm()).item() < 1e-5
    for rounded in (half, double):  # the second was rounded by the first
        assert ((rounded - exact).norm() / exact.norm()).item() < 0.06


@pytest.mark.parametrize("name", OURS)
def test_other_picture_shapes(name: str):
    """Wrong channels and small pictures are named; `min_size` itself works."""
    backbone = encoder_of(name).backbone.eval()
    least = backbone.min_size
    assert backbone(torch.rand(1, 3, least, least)).shape == (1, backbone.n_features(least))
    with pytest.raises(ConfigError, match=rf"at least {least}x{least} pixels, found {least}x{least - 1}"):
        backbone(torch.rand(1, 3, least, least - 1))
    with pytest.raises(ConfigError, match=r"expected pictures \(B, 3, H, W\), found shape \(1, 1, 32, 32\)"):
        backbone(torch.rand(1, 1, 32, 32))

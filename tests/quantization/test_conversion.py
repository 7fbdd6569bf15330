"""Conversion of any module in place, its errors, and low-bit encoders by name: probed, saved, trained, transformed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from modicum.adaptation.learner import HeadLearner
from modicum.adaptation.protonet import ProtoNetHead
from modicum.backbones.batch_norm import copy_buffers, forward_batch, forward_frozen, forward_own, support_buffers
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.backbones.ifilm import ModulatedNorm
from modicum.backbones.probe import probe
from modicum.configs.low_bit import LowBit, split_low_bit
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError
from modicum.models import fingerprint, load_encoder, save_encoder
from modicum.quantization.calibration import calibrate
from modicum.quantization.conversion import convert
from modicum.quantization.layers import (
    CODES,
    FLOAT,
    WARM_UP,
    WEIGHTS,
    LowBitConv2d,
    LowBitLinear,
    low_bit_layers,
    set_stage,
    simulate_carries,
)
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d
from modicum.training.objectives import training_features

SPEC = ImageSpec(32, 3)


class Small(nn.Module):
    """Registers its layers in another order than they run in, and takes ReLUs as layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.last = nn.Conv2d(4, 4, 1)
        self.middle = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.first = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.flat_norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.last(self.relu(self.middle(x))))
        out: Tensor = self.fc(self.flat_norm(x.mean((2, 3))))
        return out


EXAMPLE = torch.zeros(1, 2, 8, 8)


def test_layers_are_swapped_in_place_in_the_order_in_which_they_run() -> None:
    module = Small()
    parameters = dict(module.named_parameters())
    assert convert(module, LowBit("ternary", 12, "relu", 3.0), EXAMPLE) == ["middle", "last", "fc"]
    assert {name: id(p) for name, p in module.named_parameters()} == {name: id(p) for name, p in parameters.items()}
    assert type(module.first) is nn.Conv2d
    assert type(module.middle) is LowBitConv2d
    assert type(module.fc) is LowBitLinear
    assert type(module.norm) is FoldableNorm2d
    assert type(module.flat_norm) is FoldableNorm1d
    assert module.middle.arithmetic == ("ternary", 12, "relu", 3.0)
    assert list(low_bit_layers(module)) == ["middle", "last", "fc"]


def test_running_an_example_changes_nothing() -> None:
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 4, 3))
    state, before = torch.get_rng_state(), copy_buffers(module)
    convert(module, LowBit(), torch.ones(1, 2, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(module.get_buffer(name), value) for name, value in before.items())
    assert all(part.training for part in module.modules())
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_a_first_layer_of_eight_bits() -> None:
    module = Small()
    names = convert(module, LowBit("binary", 8, ends="8"), EXAMPLE)
    assert names == ["first", "middle", "last", "fc"]
    assert module.first.arithmetic[:2] == ("8", None)  # type: ignore[union-attr]
    assert module.middle.arithmetic[:2] == ("binary", 8)  # type: ignore[union-attr]
    found = calibrate(module, [torch.randn(40, 2, 8, 8)], LowBit("binary", 8, ends="8"))
    assert (found["first"].bits, found["first"].signed) == (8, True)
    x = torch.randn(4, 2, 8, 8)
    module.eval()
    first = module.first(x)
    set_stage(module, CODES)
    assert 0 < (module.first(x) - first).abs().max() < 0.02 * first.abs().max()


def test_layers_kept_in_float_compute_what_they_did() -> None:
    module, plain = Small().eval(), Small().eval()
    plain.load_state_dict(module.state_dict())
    assert convert(module, LowBit(), EXAMPLE, ["middle", "fc"]) == ["last"]
    assert {name: int(layer.stage) for name, layer in low_bit_layers(module).items()} == {
        "middle": FLOAT, "last": WEIGHTS, "fc": FLOAT,
    }  # fmt: skip
    set_stage(module, FLOAT, ["last"])
    x = torch.randn(3, 2, 8, 8)
    torch.testing.assert_close(module(x), plain(x), rtol=1e-5, atol=1e-6)


def test_float_weights_change_nothing() -> None:
    module = Small()
    assert convert(module, LowBit("float", None), EXAMPLE) == []
    assert type(module.middle) is nn.Conv2d
    assert type(module.norm) is nn.BatchNorm2d


def test_relus_are_taken_out_where_the_form_has_none() -> None:
    module = Small()
    convert(module, LowBit(relu=False), EXAMPLE)
    assert type(module.relu) is nn.Identity


class Mixed(Small):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(super().forward(x))


def test_relus_that_are_function_calls_cannot_be_taken_out() -> None:
    module = Mixed()
    with pytest.raises(ConfigError, match="relu: the module calls ReLU as a function"):
        convert(module, LowBit(relu=False), EXAMPLE)
    assert type(module.relu) is nn.ReLU
    assert type(module.norm) is nn.BatchNorm2d
    with pytest.raises(ConfigError, match=r"relu: the module has no nn\.ReLU"):
        build_encoder("conv4-64+low-bit-binary-8-smooth-2-without-relu", SPEC)


class Odd(nn.Conv2d):
    """As timm's convolutions that standardise their weights."""


class Holder(nn.Module):
    def __init__(self, odd: nn.Module, times: int) -> None:
        super().__init__()
        self.first, self.odd, self.times, self.end = nn.Conv2d(2, 4, 3, padding=1), odd, times, nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(self.times):
            x = self.odd(x)
        out: Tensor = self.end(x)
        return out


@pytest.mark.parametrize(
    ("odd", "times", "why"),
    [
        (Odd(4, 4, 1), 1, "is a Odd"),
        (nn.ConvTranspose2d(4, 4, 1), 1, "is a ConvTranspose2d"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), 1, "pads with 'circular'"),
        (nn.Conv2d(4, 4, 1), 2, "runs 2 times"),
        (nn.Conv2d(4, 4, 1), 0, "never runs"),
    ],
)
def test_layers_that_cannot_be_converted_are_named_and_kept_on_request(odd: nn.Module, times: int, why: str) -> None:
    module = Holder(odd, times)
    with pytest.raises(ConfigError, match=f"layer 'odd' {why}.*--keep_float odd"):
        convert(module, LowBit(), EXAMPLE)
    assert type(module.end) is nn.Conv2d  # nothing was changed
    assert convert(module, LowBit(), EXAMPLE, ["odd"]) == ["end"]
    assert module.odd is odd
    lenient = Holder(odd, times)
    assert convert(lenient, LowBit(), EXAMPLE, strict=False) == ["end"]
    assert lenient.odd is odd


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keep_float.*'second'"):
        convert(Small(), LowBit(), EXAMPLE, ["second"])
    with pytest.raises(ConfigError, match="no layer is left"):
        convert(Small(), LowBit(), EXAMPLE, ["middle", "last", "fc"])
    with pytest.raises(ConfigError, match=r"no nn\.Conv2d or nn\.Linear"):
        convert(nn.Sequential(nn.ReLU()), LowBit(), EXAMPLE)
    module = Small()
    convert(module, LowBit(), EXAMPLE)
    with pytest.raises(ConfigError, match="already"):
        convert(module, LowBit(), EXAMPLE)
    with pytest.raises(ConfigError, match="pixels"):
        build_encoder("pixels+low-bit-binary-8-smooth-2", SPEC)
    with pytest.raises(ConfigError, match="low-bit"):
        build_encoder("conv4-64+low-bit-binary", SPEC)


def test_a_layer_that_stands_in_two_places_keeps_doing_so() -> None:
    module = Small()
    module.alias = module.middle
    convert(module, LowBit(), EXAMPLE)
    assert module.alias is module.middle
    assert type(module.alias) is LowBitConv2d


NAMES = ["conv4-32", "conv4-48+ifilm-all-3", "resnet29", "timm/test_efficientnet"]


def low_bit(name: str, ending: str = LowBit("binary", 6).ending, digits: Tensor | None = None) -> Encoder:
    """Calibrated on pictures, with statistics of batch norm that are those of the pictures."""
    torch.manual_seed(0)
    encoder = build_encoder(name + ending, SPEC if digits is None else ImageSpec(16, 1))
    x = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8) if digits is None else digits
    norms = [part for part in encoder.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for momentum in (1.0, 0.1):
        for norm in norms:
            norm.momentum = momentum
        encoder.train()(x)
    form = split_low_bit(encoder.name)[1]
    assert form is not None
    calibrate(encoder.backbone, [encoder.normalised(x)], form, overflow=0.1)
    return encoder.eval()


@pytest.mark.parametrize("name", NAMES)
def test_backbones_by_name_run_in_every_stage_and_mode_and_come_back_by_name(name: str, tmp_path: Path) -> None:
    encoder = low_bit(name)
    assert encoder.config["backbone"] == encoder.name == name + LowBit("binary", 6).ending
    layers = low_bit_layers(encoder.backbone)
    weights = [part for part in encoder.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert len(layers) == len(weights) - 1
    x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    outputs = []
    for stage in (WEIGHTS, WARM_UP, CODES):
        set_stage(encoder.backbone, stage)
        probe(encoder, x)
        features, buffers = support_buffers(encoder, x)
        torch.testing.assert_close(forward_frozen(encoder, x, buffers), features, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(forward_batch(encoder, x), features)
        own, _ = forward_own(encoder, x, dict(encoder.named_parameters()))
        assert own.shape == features.shape
        outputs.append(encoder(x).detach())
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)
    assert not torch.allclose(outputs[1], outputs[2], atol=1e-3)
    set_stage(encoder.backbone, FLOAT, [next(iter(layers))])
    if not name.startswith(("timm/", "torchvision/")):
        save_encoder(encoder, tmp_path / "encoder", "card")
        again = load_encoder(tmp_path / "encoder")
        assert fingerprint(again) == fingerprint(encoder)
        assert torch.equal(again(x), encoder(x))
        assert any(isinstance(part, ModulatedNorm) for part in again.modules()) == ("ifilm" in name)


def test_features_do_not_depend_on_the_other_pictures() -> None:
    """To the bit up to the pooling, for sums of integers have no order; so to rounding of the rest."""
    encoder = low_bit("conv4-64")
    set_stage(encoder.backbone, CODES)
    x = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(encoder(x)[3:5], encoder(x[3:5]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stage", [WEIGHTS, WARM_UP, CODES])
def test_protonet_trains_through_low_bit_layers(stage: int) -> None:
    """The learner's own path: statistics of the batch, buffers as values, gradients to all parameters, a falling loss."""
    images, labels = load_digits(n_class=5, return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:12] for c in range(5)])
    y = torch.from_numpy(labels[chosen])
    x = nn.functional.interpolate(torch.from_numpy(images[chosen]).float().view(-1, 1, 8, 8) / 16, size=(16, 16))
    encoder = low_bit("conv4-32", LowBit("ternary", 8).ending, x)
    set_stage(encoder.backbone, stage)
    learner = HeadLearner(encoder, ProtoNetHead())
    if stage == CODES:
        simulate_carries(encoder, x, ["blocks.3.conv"])
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        features, buffers = training_features(encoder, x)
        adapted = learner.head.fit(LabelledSet(features[::2], y[::2]), 5)
        loss = nn.functional.cross_entropy(adapted(features[1::2]), y[1::2])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters())
    assert sum(losses[-6:]) < 0.75 * sum(losses[:6])
    moved = {name for name, value in buffers.items() if not torch.equal(value, encoder.get_buffer(name))}
    carried = {"backbone.blocks.3.conv.carry_mean"} if stage == CODES else set()
    assert {name.rpartition(".")[2] for name in moved} - {"carry_mean"} == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    assert {name for name in moved if name.endswith("carry_mean")} == carried

"""ResNet-29 and ResNet-56 against their equations, worked out layer by layer; sizes and numbers of parameters by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.preact_resnet import PreactResNet, resnet29, resnet29_signed, resnet56, resnet56_signed
from modicum.errors import ConfigError


def lively(model: nn.Module) -> nn.Module:
    """In float64, with weights, biases and statistics of batch norm that all matter."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value, low, high in ((part.weight, 0.5, 1.5), (part.bias, -0.5, 0.5)):
                nn.init.uniform_(value, low, high)
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    return model.double()


def norm(u: Tensor, state: dict[str, Tensor], name: str, training: bool) -> Tensor:
    axes, shape = (0, 2, 3), (1, -1, 1, 1)
    mean = u.mean(axes) if training else state[f"{name}.running_mean"]
    variance = u.var(axes, correction=0) if training else state[f"{name}.running_var"]
    u = (u - mean.view(shape)) / (variance.view(shape) + 0.001).sqrt()
    return u * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def reference(state: dict[str, Tensor], x: Tensor, n: int, signed: bool, training: bool, misread: bool = False) -> Tensor:
    """The docstring's equations; misread: the shortcut sees what the first convolution sees."""

    def a(u: Tensor, name: str) -> Tensor:
        return norm(u, state, name, training).clamp(min=0)

    h = a(F.conv2d(x, state["conv.weight"], padding=1), "norm")
    for stage in range(3):
        for block in range(n):
            at = f"stages.{stage}.{block}."
            before = h if stage == block == 0 else a(h, at + "norm1")
            step = 2 if block == 0 and stage > 0 else 1
            r = F.conv2d(before[:, :, ::step, ::step], state[at + "conv1.weight"])
            r = F.conv2d(a(r, at + "norm2"), state[at + "conv2.weight"], padding=1)
            r = F.conv2d(a(r, at + "norm3"), state[at + "conv3.weight"])
            kept = before if misread else h
            h = r + (F.conv2d(kept[:, :, ::step, ::step], state[at + "shortcut.weight"]) if block == 0 else h)
    return (norm(h, state, "final", training) if signed else a(h, "final")).mean((2, 3))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("depth", [11, 29])
def test_the_network_is_its_equations(depth: int, signed: bool, training: bool) -> None:
    torch.manual_seed(depth)
    model = lively(PreactResNet(3, depth, signed=signed)).train(training)
    x = torch.randn(4, 3, 9, 12, dtype=torch.float64)  # odd sides too: a stride of 2 keeps pixels 0, 2, ..
    state = {name: value.clone() for name, value in model.state_dict().items()}
    n = (depth - 2) // 9
    expected = reference(state, x, n, signed, training)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)
    assert (expected < 0).any().item() is signed
    assert not torch.allclose(reference(state, x, n, signed, training, misread=True), expected, rtol=1e-3)


@pytest.mark.parametrize(("depth", "maker", "signed"), [(29, resnet29, resnet29_signed), (56, resnet56, resnet56_signed)])
def test_sizes_and_numbers_of_parameters_by_hand(depth: int, maker: object, signed: object) -> None:
    """A batch norm of C channels has 2 C, a convolution before * after * side^2; n blocks in each stage."""
    n = (depth - 2) // 9
    stem = 3 * 16 * 9 + 2 * 16
    stage0 = (16 * 16 + 32 + 16 * 16 * 9 + 32 + 16 * 64 + 16 * 64) + (n - 1) * (128 + 64 * 16 + 32 + 2304 + 32 + 16 * 64)
    stage1 = (128 + 64 * 64 + 128 + 64 * 64 * 9 + 128 + 64 * 128 + 64 * 128) + (n - 1) * (
        256 + 128 * 64 + 128 + 36_864 + 128 + 64 * 128
    )
    stage2 = (256 + 128 * 128 + 256 + 128 * 128 * 9 + 256 + 128 * 256 + 128 * 256) + (n - 1) * (
        512 + 256 * 128 + 256 + 147_456 + 256 + 128 * 256
    )
    assert stem + stage0 + stage1 + stage2 + 512 == {29: 838_160, 56: 1_655_120}[depth]
    for make in (maker, signed):
        model = make(3)  # type: ignore[operator]
        assert sum(p.numel() for p in model.parameters()) == {29: 838_160, 56: 1_655_120}[depth]
        assert [model.n_features(side) for side in (28, 32, 64)] == [256] * 3
        assert sum(isinstance(part, nn.Conv2d) for part in model.modules()) + 1 == depth + 3  # 3 shortcuts, 1 classifier


def test_layers_start_as_released() -> None:
    """Xavier uniform: between +- sqrt(6 / (side^2 (before + after))); eps 0.001, momentum 0.1."""
    model = resnet29(3)
    weight = model.get_parameter("stages.2.0.conv2.weight")
    bound = (6 / (9 * 256)) ** 0.5
    assert bound * 0.999 < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert {(part.eps, part.momentum) for part in model.modules() if isinstance(part, nn.BatchNorm2d)} == {(0.001, 0.1)}
    assert {part.bias for part in model.modules() if isinstance(part, nn.Conv2d)} == {None}


def test_last_norms_are_those_of_last_blocks() -> None:
    blocks = [f"stages.{stage}.2.norm{k}" for stage in range(3) for k in (1, 2, 3)]
    assert resnet29(3).last_norms == (*blocks, "final")
    single = PreactResNet(3, 11)
    assert len(single.last_norms) == 9  # the very first block has no first batch norm
    for name in single.last_norms:
        assert isinstance(single.get_submodule(name), nn.BatchNorm2d)


@pytest.mark.parametrize("depth", [2, 28, 50])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ConfigError, match=rf"depth: expected 9 n \+ 2 layers .* found {depth}"):
        PreactResNet(3, depth)

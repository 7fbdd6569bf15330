"""DenseNet40-BC as released, against its equations layer by layer; sizes and numbers of parameters by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.densenet import DenseNet, densenet40_bc, densenet40_bc_signed
from modicum.errors import ConfigError


def reference(model: DenseNet, x: Tensor, layers: int) -> Tensor:
    """The docstring's equations, by a loop over names; no dropout."""
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def norm(u: Tensor, name: str) -> Tensor:
        shape, axes = (1, -1, 1, 1), (0, 2, 3)
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if model.training:
            mean, variance = u.mean(axes), u.var(axes, correction=0)
        u = (u - mean.view(shape)) / (variance.view(shape) + 0.001).sqrt()
        return u * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)

    def relu(u: Tensor) -> Tensor:
        return u.clamp(min=0)

    u = F.conv2d(x, state["conv.weight"], padding=1)
    for block in range(3):
        for layer in range(layers):
            at = f"blocks.{block}.{layer}."
            narrow = F.conv2d(relu(norm(u, at + "norm1")), state[at + "conv1.weight"])
            new = F.conv2d(relu(norm(narrow, at + "norm2")), state[at + "conv2.weight"], padding=1)
            u = torch.cat([u, new], 1)
        if block < 2:
            at = f"transitions.{block}."
            u = F.conv2d(relu(norm(u, at + "norm")), state[at + "conv.weight"])
            u = u[:, :, : u.shape[2] // 2 * 2, : u.shape[3] // 2 * 2]
            u = (u[:, :, ::2, ::2] + u[:, :, 1::2, ::2] + u[:, :, ::2, 1::2] + u[:, :, 1::2, 1::2]) / 4
    u = norm(u, "final")
    return (u if model.signed else relu(u)).mean((2, 3))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("layers", "signed"), [(3, False), (12, True)])
def test_the_network_is_its_equations(layers: int, signed: bool, training: bool) -> None:
    torch.manual_seed(layers)
    model = DenseNet(3, layers=layers, drop_rate=0.0, signed=signed).double().train(training)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    x = torch.randn(4, 3, 10, 9, dtype=torch.float64)
    expected = reference(model, x, layers)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)
    assert (expected < 0).any().item() is signed


def test_sizes_and_numbers_of_parameters_by_hand() -> None:
    """A layer on c channels: 2 c + 48 c + 96 + 9 * 48 * 12 = 50 c + 5,280; channels 24 -> 168, 84 -> 228, 114 -> 258."""
    blocks = [sum(50 * (start + 12 * i) + 5_280 for i in range(12)) for start in (24, 84, 114)]
    transitions = [2 * 168 + 168 * 84, 2 * 228 + 228 * 114]
    assert 3 * 9 * 24 + sum(blocks) + sum(transitions) + 2 * 258 == 484_140
    for model in (densenet40_bc(3), densenet40_bc_signed(3)):
        assert sum(p.numel() for p in model.parameters()) == 484_140
        assert [model.n_features(side) for side in (28, 32, 64)] == [258] * 3
    assert DenseNet(3, layers=6).n_features(32) == 132  # Huang et al.'s of 40 layers
    assert densenet40_bc(3).last_norms == ("transitions.0.norm", "transitions.1.norm", "final")


def test_a_fifth_is_dropped_after_every_convolution_but_the_first() -> None:
    """In training only: the share of zeros in what follows each convolution, and its scale."""
    model = densenet40_bc(3)
    rates = {name: part.p for name, part in model.named_modules() if isinstance(part, nn.Dropout)}
    assert len(rates) == 36 + 2
    assert set(rates.values()) == {0.2}
    seen: list[Tensor] = []
    layer = model.blocks[0][0]  # type: ignore[index]
    hook = layer.dropout.register_forward_hook(lambda _, given, out: seen.append(out / given[0]))
    x = torch.rand(4, 3, 32, 32)
    model.train()(x)
    assert len(seen) == 2  # after the 1x1 and after the 3x3 convolution
    for ratio in seen:
        ratio = ratio[~ratio.isnan()]
        assert (ratio == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
        assert ratio.max().item() == pytest.approx(1.25)
    hook.remove()
    assert torch.equal(model.eval()(x), model(x))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="drop_rate: expected a rate in"):
        DenseNet(3, drop_rate=1.0)
    with pytest.raises(ConfigError, match="layers, growth: expected at least 1, found 0, 12"):
        DenseNet(3, layers=0)

"""VGG-7 and ResNet-20 against their equations, worked out layer by layer; sizes and numbers of parameters by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.cifar_resnet import BasicBlock, CifarResNet, resnet20, resnet20_8
from modicum.backbones.vgg7 import VGG7, vgg7, vgg7_16, vgg7_32
from modicum.errors import ConfigError


def lively(model: nn.Module) -> nn.Module:
    """In float64, with weights, biases and statistics of batch norm that all matter."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            for value, low, high in ((part.weight, 0.5, 1.5), (part.bias, -0.5, 0.5)):
                nn.init.uniform_(value, low, high)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2)
    return model.double()


def norm(u: Tensor, state: dict[str, Tensor], name: str, training: bool) -> Tensor:
    axes, shape = ((0, 2, 3), (1, -1, 1, 1)) if u.dim() == 4 else ((0,), (1, -1))
    mean = u.mean(axes) if training else state[f"{name}.running_mean"]
    variance = u.var(axes, correction=0) if training else state[f"{name}.running_var"]
    u = (u - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
    return u * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)


def reference(state: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    """The docstring's equations for pictures of 32 pixels."""
    h = x
    for index in range(6):
        name = f"blocks.{index}"
        h = norm(F.conv2d(h, state[f"{name}.conv.weight"], padding=1), state, f"{name}.norm", training).clamp(min=0)
        if index in (1, 3, 5):
            h = h.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    return norm(h.flatten(1) @ state["linear.weight"].T, state, "norm", training).clamp(min=0)


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_its_equations(training: bool) -> None:
    torch.manual_seed(0)
    model = lively(VGG7(3, 4)).train(training)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(model(x), reference(state, x, training), rtol=1e-9, atol=1e-9)


def test_widths_by_hand() -> None:
    """Of width w: 27 w + 9 (w w + w 2w + 4 w w + 2w 4w + 16 w w) weights of convolutions and 16 * 4w * 8w of the layer."""
    for make, w in ((vgg7, 128), (vgg7_32, 32), (vgg7_16, 16)):
        model = make(3)
        weights = 27 * w + 9 * 31 * w * w + 512 * w * w
        norms = 2 * (w + w + 2 * w + 2 * w + 4 * w + 4 * w + 8 * w)
        assert sum(p.numel() for p in model.parameters()) == weights + norms
        assert model.n_features(32) == model.n_features(64) == 8 * w
        assert [block.conv.out_channels for block in model.blocks] == [w, w, 2 * w, 2 * w, 4 * w, 4 * w]  # type: ignore[union-attr]


def test_maps_of_other_sizes_are_averaged_to_four_pixels() -> None:
    """64 pixels leave 8 a side, averaged two by two: as a linear layer on the average."""
    torch.manual_seed(0)
    model = VGG7(1, 2).double().eval()
    maps: list[Tensor] = []
    model.linear.register_forward_pre_hook(lambda layer, given: maps.append(given[0]))
    model.pool.register_forward_hook(lambda layer, given, out: maps.append(out))
    model(torch.randn(2, 1, 64, 64, dtype=torch.float64))
    *_, pooled, read = maps
    expected = torch.stack([
        pooled[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3)) for i in range(4) for j in range(4)
    ], -1)  # fmt: skip
    torch.testing.assert_close(read, expected.flatten(1))


def test_relus_are_modules() -> None:
    """So that they can be taken out: seven of them, and none of them a function."""
    model = vgg7_16(3)
    assert sum(isinstance(part, nn.ReLU) for part in model.modules()) == 7
    for block in model.blocks:
        block.relu = nn.Identity()  # type: ignore[assignment]
    model.relu = nn.Identity()  # type: ignore[assignment]
    torch.manual_seed(0)
    assert (model(torch.randn(4, 3, 32, 32)) < 0).any()


def residual_reference(state: dict[str, Tensor], x: Tensor, width: int, n: int, training: bool) -> Tensor:
    """The docstring's equations."""
    h = norm(F.conv2d(x, state["conv.weight"], padding=1), state, "norm", training).clamp(min=0)
    for stage in range(3):
        for block in range(n):
            at = f"stages.{stage}.{block}."
            step = 2 if block == 0 and stage > 0 else 1
            r = F.conv2d(h, state[at + "conv1.weight"], stride=step, padding=1)
            r = norm(r, state, at + "norm1", training).clamp(min=0)
            r = norm(F.conv2d(r, state[at + "conv2.weight"], padding=1), state, at + "norm2", training)
            kept = torch.zeros_like(r)
            kept[:, : h.shape[1]] = h[:, :, ::step, ::step]
            h = (r + kept).clamp(min=0)
    return h.mean((2, 3))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("depth", "width"), [(8, 3), (20, 2)])
def test_the_residual_network_is_its_equations(depth: int, width: int, training: bool) -> None:
    torch.manual_seed(depth)
    model = lively(CifarResNet(3, depth, width)).train(training)
    x = torch.randn(4, 3, 9, 12, dtype=torch.float64)  # odd sides too: a stride of 2 keeps pixels 0, 2, ..
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(
        model(x), residual_reference(state, x, width, (depth - 2) // 6, training), rtol=1e-9, atol=1e-9
    )


def test_shortcuts_without_parameters() -> None:
    """Every second pixel, then channels of zeros; nothing where nothing changes."""
    x = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    shrunk = BasicBlock(1, 2, 2).shortcut(x)
    assert shrunk.tolist() == [[[[1.0, 3.0], [9.0, 11.0]], [[0.0, 0.0], [0.0, 0.0]]]]
    assert BasicBlock(1, 1, 1).shortcut(x) is x


def test_residual_parameters_by_hand() -> None:
    """He et al. print 0.27 million for 20 layers. A stage's first block has fewer input channels than the others."""
    for make, w in ((resnet20, 16), (resnet20_8, 8)):
        weights = 27 * w + 9 * (6 * w * w + (2 + 5 * 4) * w * w + (8 + 5 * 16) * w * w)
        norms = 2 * (w + 6 * w + 6 * 2 * w + 6 * 4 * w)
        assert sum(p.numel() for p in make(3).parameters()) == weights + norms
        assert make(3).n_features(32) == 4 * w
    assert sum(p.numel() for p in resnet20(3).parameters()) == 269_722 - 650  # the published count has the classifier


def test_last_norms_end_the_stages() -> None:
    model = resnet20(3)
    assert model.last_norms == tuple(f"stages.{stage}.2.norm{k}" for stage in range(3) for k in (1, 2))
    for name in model.last_norms:
        assert isinstance(model.get_submodule(name), torch.nn.BatchNorm2d)


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_depths_that_make_no_stages_are_refused(depth: int) -> None:
    with pytest.raises(ConfigError, match=rf"expected 6 n \+ 2 layers .* found {depth}"):
        CifarResNet(3, depth)

"""The ConvNet of Meta-Neighborhoods against its equations; sizes and numbers of parameters by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.mn_convnet import MNConvNet, conv4_192, conv4_192_signed


def largest_of_nine(u: Tensor) -> Tensor:
    """Windows of 3x3 from every second pixel on, whole ones only."""
    return u.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_the_network_is_its_equations(signed: bool, training: bool) -> None:
    """Activation before the pool, as released, against the module's faster order."""
    torch.manual_seed(1)
    model = MNConvNet(3, signed=signed).double().train(training)
    for part in model.norms:
        nn.init.uniform_(part.weight, -1.5, 1.5)  # type: ignore[arg-type]
        nn.init.uniform_(part.bias, -0.5, 0.5)  # type: ignore[arg-type]
        part.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr, operator]
        part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    x = torch.randn(3, 3, 14, 11, dtype=torch.float64)
    u, shape = x, (1, -1, 1, 1)
    for index in range(4):
        u = F.conv2d(u, model.convs[index].weight, padding=1)  # type: ignore[arg-type]
        norm: nn.BatchNorm2d = model.norms[index]  # type: ignore[assignment]
        mean = u.mean((0, 2, 3)) if training else norm.running_mean.clone()
        variance = u.var((0, 2, 3), correction=0) if training else norm.running_var.clone()
        u = (u - mean.view(shape)) / (variance.view(shape) + 0.001).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)
        u = u if signed and index == 3 else u.clamp(min=0)
        u = largest_of_nine(u) if index < 2 else u
    torch.testing.assert_close(model(x), u.mean((2, 3)), rtol=1e-10, atol=1e-10)
    assert (u.mean((2, 3)) < 0).any().item() is signed


def test_sizes_and_numbers_of_parameters_by_hand() -> None:
    by_hand = 9 * (3 * 24 + 24 * 96 + 96 * 192 + 192 * 192) + 2 * (24 + 96 + 192 + 192)
    assert by_hand == 520_056
    for model in (conv4_192(3), conv4_192_signed(3)):
        assert sum(p.numel() for p in model.parameters()) == by_hand
        assert [model.n_features(side) for side in (28, 32, 64)] == [192] * 3


def test_pools_leave_no_border() -> None:
    """32 -> 15 -> 7: torch's usual padding would give 16 and 8."""
    model, sides = conv4_192(1), []
    for conv in model.convs:
        conv.register_forward_hook(lambda _, given, out: sides.append((given[0].shape[-1], out.shape[-1])))
    model(torch.rand(2, 1, 32, 32))
    assert sides == [(32, 32), (15, 15), (7, 7), (7, 7)]

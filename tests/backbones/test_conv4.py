"""Conv4: the fast order against the textbook's, a value worked by hand, the papers' numbers of features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.backbones.backbone import channels_last
from modicum.backbones.conv4 import Conv4, ConvBlock, conv4_32, conv4_48, conv4_64
from modicum.errors import ConfigError


def textbook(model: Conv4, x: Tensor, slope: float) -> Tensor:
    """Convolution, batch norm by the batch, activation, THEN max-pool, in row-major memory."""
    for block in model.blocks:
        x = F.conv2d(x.contiguous(), block.conv.weight.contiguous(), padding=1)
        x = F.batch_norm(x, None, None, block.norm.weight, block.norm.bias, training=True)
        x = F.max_pool2d(F.leaky_relu(x, slope), 2)
    return x.flatten(1)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("channels", [1, 3])
def test_pool_before_activation_is_the_textbook_order_with_its_gradients(slope: float, channels: int):
    model = Conv4(channels, filters=5, slope=slope).double()
    for block in model.blocks:  # both signs, so that the activation has something to do
        torch.nn.init.normal_(block.norm.weight)
        torch.nn.init.normal_(block.norm.bias)
    x = torch.rand(6, channels, 35, 33, dtype=torch.float64, requires_grad=True)
    ours, theirs = model(x), textbook(model, x, slope)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    pull = torch.randn_like(ours)
    inputs = [x, *model.parameters()]
    for mine, reference in zip(
        torch.autograd.grad(ours, inputs, pull), torch.autograd.grad(theirs, inputs, pull), strict=True
    ):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-10)


def test_a_block_by_hand():
    """One picture -1 -2 / -3 -4 through an identity filter: its maximum -1, times the slope; a ReLU would give 0."""
    block = ConvBlock(1, 1, slope=0.1).double().eval()
    block.norm.eps = 0.0
    with torch.no_grad():
        block.conv.weight.zero_()[0, 0, 1, 1] = 1.0
        out = block(torch.tensor([[[[-1.0, -2.0], [-3.0, -4.0]]]], dtype=torch.float64))
    assert out.tolist() == [[[[-0.1]]]]


@pytest.mark.parametrize(
    ("make", "filters", "slope", "at_84"), [(conv4_64, 64, 0.0, 1600), (conv4_32, 32, 0.0, 800), (conv4_48, 48, 0.01, 1200)]
)
def test_the_papers_numbers(make, filters: int, slope: float, at_84: int):
    model = make(3)
    assert model.n_features(84) == at_84
    assert model.n_features(28) == filters
    assert {block.slope for block in model.blocks} == {slope}
    assert not any(name.endswith("conv.bias") for name, _ in model.named_parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_see_channels_last(channels: int):
    """Also with one channel, where torch's own conversion does nothing and the slow kernels run."""
    model = conv4_64(channels)
    seen = model.blocks[0].conv(channels_last(torch.rand(2, channels, 28, 28)))
    assert seen.stride() == (28 * 28 * 64, 1, 28 * 64, 64)


def test_a_small_picture_is_refused_with_both_sizes():
    with pytest.raises(ConfigError, match=r"16x16 pixels, found 12x12"):
        conv4_64(1).n_features(12)
    with pytest.raises(ConfigError, match=r"16x16 pixels, found 40x15"):
        conv4_64(1)(torch.zeros(1, 1, 40, 15))

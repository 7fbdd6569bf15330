"""Four convolution blocks, the small backbone of few-shot learning.

Jake Snell, Kevin Swersky, Richard Zemel: Prototypical Networks for Few-shot Learning, NeurIPS 2017, arXiv 1703.05175
(64 filters); Oriol Vinyals et al.: Matching Networks for One Shot Learning, NeurIPS 2016, arXiv 1606.04080 (origin).

    h_0 = x,  h_i = pool_2x2(act(BN(conv_3x3(h_{i-1})))),  features = flatten(h_4)

| symbol | variable |
|---|---|
| number of filters of every convolution | `filters` |
| act(u) = max(u, slope * u) | `slope`: 0 is ReLU |

`conv4_32` is the MAML one (Finn et al. 2017, arXiv 1703.03400), `conv4_48` that of MAML++ (Antoniou et al. 2019, arXiv
1810.09502) and ALFA (Baik et al. 2020, arXiv 2011.00209): 48 filters and LeakyReLU, whose slope the papers do not state
and the released code leaves at its framework's default, 0.01. Their linear layer is the head's business.

*Deviations*, all without effect on the function learned: no bias in the convolutions (batch norm subtracts it again); the
max-pool stands before the activation (act does not decrease, so max and act commute, and so do their gradients: the pool
picks the same pixel; it saves three quarters of the activation's work); channels-last memory on the way;
the three behind a convolution in one pass where they can be (`norm_pool`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.norm_pool import norm_pool_activate


class ConvBlock(nn.Module):
    """Convolution 3x3, batch norm, max-pool 2x2, activation: (B, C, H, W) -> (B, filters, H // 2, W // 2)."""

    def __init__(self, in_channels: int, filters: int, slope: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(filters)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """The block's output; see the module's equations."""
        return norm_pool_activate(self.conv(x), self.norm, self.slope)


class Conv4(Backbone):
    """Four blocks: (B, C, H, W) -> (B, filters * (H // 16) * (W // 16)); at least 16 pixels a side. 0 <= slope < 1."""

    def __init__(self, in_channels: int, filters: int = 64, slope: float = 0.0) -> None:
        super().__init__(in_channels, min_size=16)
        widths = (in_channels, filters, filters, filters)
        self.filters = filters
        self.blocks = nn.Sequential(*(ConvBlock(width, filters, slope) for width in widths))
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        return self.filters * (size // 16) ** 2

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(x)
        return features.flatten(1)


def conv4_64(in_channels: int) -> Conv4:
    """64 filters, ReLU: 64 features at 28x28, 1,600 at 84x84 (Snell et al. 2017)."""
    return Conv4(in_channels, 64)


def conv4_32(in_channels: int) -> Conv4:
    """32 filters, ReLU: 800 features at 84x84 (Finn et al. 2017)."""
    return Conv4(in_channels, 32)


def conv4_48(in_channels: int) -> Conv4:
    """48 filters, LeakyReLU 0.01: 1,200 features at 84x84 (MAML++, ALFA)."""
    return Conv4(in_channels, 48, slope=0.01)

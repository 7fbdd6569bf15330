"""VGG-7, the network of CIFAR-10 in papers on quantised weights, and narrower twins of it.

Fengfu Li, Bo Zhang, Bin Liu: Ternary Weight Networks, arXiv 1605.04711 (origin); Renkun Ni, Hong-min Chu, Oscar Castaneda,
Ping-yeh Chiang, Christoph Studer, Tom Goldstein: WrapNet, ICLR 2021, arXiv 2007.13242. After Karen Simonyan, Andrew
Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv 1409.1556.

    2 x (w C3) - MP2 - 2 x (2w C3) - MP2 - 2 x (4w C3) - MP2 - 8w FC
    h_0 = x,  h_i = relu(BN(conv_3x3(h_{i-1}))),  a maximum over 2x2 pixels behind h_2, h_4 and h_6
    features = relu(BN(W flatten(h_6)))                             8w; behind them stands the classifier, outside of it

| name | w | features | weights |
|---|---|---|---|
| `vgg7` | 128, as published | 1,024 | 13.0 million |
| `vgg7-32` | 32, for runs at reduced scale | 256 | 0.8 million |
| `vgg7-16` | 16, likewise | 128 | 0.2 million |

The pool stands behind the ReLU, so what it takes the maximum of are the numbers that a quantised network rounds; for both
do not decrease, it could stand before either. ReLUs are modules of their own, so that a network without them can be made.

*Deviations*. Convolutions and W have no bias (batch norm subtracts it again). W is made for pictures of 32 pixels, whose
last map has 4 pixels a side; maps of another size are averaged to that, as torchvision's networks do it. Papers name neither
initial weights nor dropout: torch's usual ones, and none.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone

SIDE = 4
"""Pixels a side of the map that the fully connected layer reads."""


class ConvNormReLU(nn.Module):
    """relu(BN(conv_3x3(x))): (B, before, H, W) -> (B, after, H, W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out: Tensor = self.relu(self.norm(self.conv(x)))
        return out


class VGG7(Backbone):
    """(B, C, H, W) -> (B, 8 width), at least 8 pixels a side. width: filters of the first two convolutions."""

    def __init__(self, in_channels: int, width: int = 128) -> None:
        super().__init__(in_channels, min_size=8)
        self.width = width
        widths = (in_channels, width, width, 2 * width, 2 * width, 4 * width, 4 * width)
        self.blocks = nn.ModuleList(ConvNormReLU(before, after) for before, after in pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(4 * width * SIDE**2, 8 * width, bias=False)
        self.norm = nn.BatchNorm1d(8 * width)
        self.relu = nn.ReLU()
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        return 8 * self.width

    def _features(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2:
                x = self.pool(x)
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.adaptive_avg_pool2d(x, SIDE)
        features: Tensor = self.relu(self.norm(self.linear(x.flatten(1))))
        return features


def vgg7(in_channels: int) -> VGG7:
    """128-128-256-256-512-512 filters, 1,024 features (Li et al. 2016)."""
    return VGG7(in_channels, 128)


def vgg7_32(in_channels: int) -> VGG7:
    """A quarter as wide: 32 filters first, 256 features."""
    return VGG7(in_channels, 32)


def vgg7_16(in_channels: int) -> VGG7:
    """An eighth as wide: 16 filters first, 128 features."""
    return VGG7(in_channels, 16)

"""The densely connected network of Meta-Neighborhoods, called DenseNet40-BC there.

Gao Huang, Zhuang Liu, Laurens van der Maaten, Kilian Weinberger: Densely Connected Convolutional Networks, CVPR 2017,
arXiv 1608.06993; in the form of the code released with Siyuan Shan, Yang Li, Junier Oliva: Meta-Neighborhoods, NeurIPS
2020, arXiv 1909.09140.

    a(u) = relu(BN(u)),   each a with a batch norm of its own
    layer(u) = drop(conv_3x3(a(drop(conv_1x1(a(u))))))            4 growth, then growth channels
    block: u <- [u, layer(u)]  `LAYERS` times                     [,]: along channels
    transition(u) = mean_pool_2x2(drop(conv_1x1(a(u))))           half the channels
    h = conv_3x3(x), block, transition, block, transition, block; features = mean over pixels of relu(BN(h)) (signed: BN(h))

| symbol | variable | value |
|---|---|---|
| growth | `growth` | 12 |
| drop, rate | `drop_rate` | 0.2 |
| channels | | 24 -> 168 -> 84 -> 228 -> 114 -> 258 |

Convolutions, batch norm and "signed" are those of `preact_resnet`.

*Deviations*. This is the released code's network, whose 258 features are the paper's; with 12 layers in a block it has 76
convolutions and a classifier. Huang et al.'s DenseNet-BC of 40 layers has (40 - 4) / 6 = 6 layers in a block, so 24 -> 96 ->
48 -> 120 -> 60 -> 132 features: `DenseNet(in_channels, layers=6)`. They use no dropout where pictures are augmented; the
released code does. Dropout draws from torch's global generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.preact_resnet import batch_norm, convolution, norm_relu, pooled
from modicum.errors import ConfigError

LAYERS, BLOCKS = 12, 3


class DenseLayer(nn.Module):
    """(B, before, H, W) -> (B, growth, H, W)."""

    def __init__(self, before: int, growth: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = batch_norm(before)
        self.conv1 = convolution(before, 4 * growth, 1)
        self.norm2 = batch_norm(4 * growth)
        self.conv2 = convolution(4 * growth, growth, 3)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """What the layer adds to x."""
        out = self.dropout(self.conv1(norm_relu(x, self.norm1)))
        new: Tensor = self.dropout(self.conv2(norm_relu(out, self.norm2)))
        return new


class Transition(nn.Module):
    """(B, before, H, W) -> (B, before // 2, H // 2, W // 2)."""

    def __init__(self, before: int, drop_rate: float) -> None:
        super().__init__()
        self.norm = batch_norm(before)
        self.conv = convolution(before, before // 2, 1)
        self.dropout = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """See the module's equations."""
        return F.avg_pool2d(self.dropout(self.conv(norm_relu(x, self.norm))), 2)


class DenseNet(Backbone):
    """(B, C, H, W) -> (B, D), at least 4 pixels a side; D = 258 as published. 0 <= drop_rate < 1, layers >= 1."""

    def __init__(
        self, in_channels: int, *, layers: int = LAYERS, growth: int = 12, drop_rate: float = 0.2, signed: bool = False
    ) -> None:
        super().__init__(in_channels, min_size=4)
        if layers < 1 or growth < 1:
            raise ConfigError(f"layers, growth: expected at least 1, found {layers}, {growth}")
        if not 0 <= drop_rate < 1:
            raise ConfigError(f"drop_rate: expected a rate in [0, 1), found {drop_rate}")
        self.signed = signed
        width = 2 * growth
        self.conv = convolution(in_channels, width, 3)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for index in range(BLOCKS):
            self.blocks.append(nn.ModuleList(DenseLayer(width + i * growth, growth, drop_rate) for i in range(layers)))
            width += layers * growth
            if index < BLOCKS - 1:
                self.transitions.append(Transition(width, drop_rate))
                width //= 2
        self.width = width
        self.final = batch_norm(width)
        self.to(memory_format=torch.channels_last)

    @property
    def last_norms(self) -> tuple[str, ...]:
        """Those of the transitions, which end their blocks, and the final one."""
        return (*(f"transitions.{index}.norm" for index in range(len(self.transitions))), "final")

    def _n_features(self, size: int) -> int:
        return self.width

    def _features(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for index, block in enumerate(self.blocks):
            for layer in block:  # type: ignore[attr-defined]
                x = torch.cat([x, layer(x)], 1)
            if index < BLOCKS - 1:
                x = self.transitions[index](x)
        return pooled(x, self.final, self.signed)


def densenet40_bc(in_channels: int) -> DenseNet:
    """Three blocks of 12 layers, 258 features."""
    return DenseNet(in_channels)


def densenet40_bc_signed(in_channels: int) -> DenseNet:
    """Three blocks of 12 layers, 258 features of both signs."""
    return DenseNet(in_channels, signed=True)

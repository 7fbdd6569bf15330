"""The four-layer ConvNet of Meta-Neighborhoods, for digits: MNIST and SVHN.

Siyuan Shan, Yang Li, Junier Oliva: Meta-Neighborhoods, NeurIPS 2020, arXiv 1909.09140, and the code released with it.

    h = pool(a(conv_24(x))),  h = pool(a(conv_96(h))),  h = a(conv_192(h)),  h = BN(conv_192(h))
    a(u) = relu(BN(u)),   pool: maximum of 3x3, stride 2, no padding
    features = mean over pixels of relu(h)  (signed: of h)         192; maps of 32, 15, 7 pixels a side for pictures of 32

All convolutions are 3x3, without bias; they, batch norm and "signed" are those of `preact_resnet`.

*Deviations*. The released code has no last ReLU whatever the output layer is, so "signed" is its network under a dot layer
too; the other one follows its larger networks. The pool stands before the activation (see `conv4`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.preact_resnet import batch_norm, convolution, norm_relu, pooled

WIDTHS = (24, 96, 192, 192)


class MNConvNet(Backbone):
    """(B, C, H, W) -> (B, 192), at least 7 pixels a side."""

    def __init__(self, in_channels: int, *, signed: bool = False) -> None:
        super().__init__(in_channels, min_size=7)
        self.signed = signed
        self.convs = nn.ModuleList(
            convolution(before, after, 3) for before, after in zip((in_channels, *WIDTHS), WIDTHS, strict=False)
        )
        self.norms = nn.ModuleList(batch_norm(width) for width in WIDTHS)
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        return WIDTHS[-1]

    def _features(self, x: Tensor) -> Tensor:
        for index in (0, 1):
            x = F.relu(F.max_pool2d(self.norms[index](self.convs[index](x)), 3, 2), inplace=True)
        x = norm_relu(self.convs[2](x), self.norms[2])
        return pooled(self.convs[3](x), self.norms[3], self.signed)


def conv4_192(in_channels: int) -> MNConvNet:
    """24-96-192-192 filters, 192 features."""
    return MNConvNet(in_channels)


def conv4_192_signed(in_channels: int) -> MNConvNet:
    """24-96-192-192 filters, 192 features of both signs."""
    return MNConvNet(in_channels, signed=True)

"""AlexNet with batch norm, the form of it that networks of few bits are made from.

Alex Krizhevsky, Ilya Sutskever, Geoffrey Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS
2012 (origin); Mohammad Rastegari, Vicente Ordonez, Joseph Redmon, Ali Farhadi: XNOR-Net, ECCV 2016, arXiv 1603.05279, and
Shuchang Zhou et al.: DoReFa-Net, arXiv 1606.06160 (batch norm in place of local response normalisation); one of the three
ImageNet networks of WrapNet (Ni et al., ICLR 2021, arXiv 2007.13242).

    h_i = relu(BN(conv(h_{i-1})));  a maximum over 3x3 pixels, stride 2, behind h_1, h_2 and h_5
    features = h_7,  h_i = relu(BN(W_i h_{i-1})) for i = 6, 7                          4,096; behind them the classifier

| layer | filters | kernel | stride | padding | map at 224 pixels, pooled |
|---|---|---|---|---|---|
| conv1 | 96 | 11 | 4 | 2 | 55, 27 |
| conv2 | 256 | 5 | 1 | 2 | 27, 13 |
| conv3 | 384 | 3 | 1 | 1 | 13 |
| conv4 | 384 | 3 | 1 | 1 | 13 |
| conv5 | 256 | 3 | 1 | 1 | 13, 6 |
| fc6 | 4,096 | | | | |
| fc7 | 4,096 | | | | |

*Deviations*. One tower without groups, as these papers have it. Neither WrapNet nor its dissertation chapter names the form,
so widths are XNOR-Net's. No dropout, whose place batch norm takes; no bias. fc6 is made for pictures of 224 pixels; maps of
other sizes are averaged to 6 pixels a side, as torchvision's network does it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone

CONVOLUTIONS = ((96, 11, 4, 2), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1))
"""Filters, side of the kernel, stride, padding."""
POOLED = (0, 1, 4)
"""Which of these a pool follows."""
SIDE, FEATURES = 6, 4_096


class AlexNet(Backbone):
    """(B, C, H, W) -> (B, 4096), at least 63 pixels a side."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, min_size=63)
        befores = (in_channels, *(shape[0] for shape in CONVOLUTIONS))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, filters, side, stride, padding, bias=False)
            for before, (filters, side, stride, padding) in zip(befores, CONVOLUTIONS, strict=False)
        )
        widths = (befores[-1] * SIDE**2, FEATURES)
        self.linears = nn.ModuleList(nn.Linear(before, FEATURES, bias=False) for before in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(shape[0]) for shape in CONVOLUTIONS)
        self.linear_norms = nn.ModuleList(nn.BatchNorm1d(FEATURES) for _ in self.linears)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(len(CONVOLUTIONS) + 2))
        self.pool = nn.MaxPool2d(3, 2)
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        return FEATURES

    def _features(self, x: Tensor) -> Tensor:
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = self.relus[index](norm(conv(x)))
            if index in POOLED:
                x = self.pool(x)
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.adaptive_avg_pool2d(x, SIDE)
        x = x.flatten(1)
        for index, (linear, norm) in enumerate(zip(self.linears, self.linear_norms, strict=True)):
            x = self.relus[len(self.convs) + index](norm(linear(x)))
        return x

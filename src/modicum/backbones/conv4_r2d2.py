"""Four wide convolution blocks, the network of R2-D2.

Luca Bertinetto, Joao F. Henriques, Philip H. S. Torr, Andrea Vedaldi: Meta-learning with differentiable closed-form
solvers, ICLR 2019, arXiv 1805.08136.

    h_0 = x,  h_i = drop_i(act(pool_i(BN(conv_3x3(h_{i-1}))))),  act(u) = max(u, 0.1 u)
    features = flatten(pool'(h_3)) | flatten(h_4)          (concatenated)

| symbol | variable | Bertinetto et al. ("bertinetto") | Lee et al. ("lee") |
|---|---|---|---|
| filters of the blocks | `WIDTHS` | 96, 192, 384, 512 | the same |
| pool_1..3 | | 2x2 | 2x2 |
| pool_4 | `stride` | 2x2, stride 1 | 2x2 |
| pool' | | 2x2, stride 1 | none |
| activation of block 4 | | yes | none |
| dropout of blocks 3, 4 | `dropout` | one rate: 0.1 mini-ImageNet, 0.4 CIFAR-FS, 0 Omniglot | 0.1, 0.3 |
| features at 28, 32, 84 px | | 3,584, 8,064, 72,576 | 3,968, 8,192, 51,200 |

*Deviations*. The released code of the paper's authors gives the first column, and their numbers of features are the
paper's; the code released with MetaOptNet (Kwonjoon Lee et al., CVPR 2019, arXiv 1904.03758), with which the R2-D2 rows of
later papers were made, gives the second. The first is the default here, with dropout 0.1. Both pool before the
activation, as the order above says. No bias in the convolutions (batch norm subtracts it again). Dropout draws from
torch's global generator.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.norm_pool import norm_pool_activate
from modicum.errors import ConfigError

WIDTHS = (96, 192, 384, 512)
SLOPE = 0.1
Arrangement = Literal["bertinetto", "lee"]


class Block(nn.Module):
    """Convolution 3x3, batch norm, max-pool 2x2 of the given stride, LeakyReLU (or none), dropout."""

    def __init__(self, in_channels: int, filters: int, stride: int = 2, active: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(filters)
        self.dropout = nn.Dropout(dropout)
        self.stride = stride
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, H', W')."""
        if self.stride == 2 and self.active:
            fused: Tensor = self.dropout(norm_pool_activate(self.conv(x), self.norm, SLOPE))
            return fused
        x = F.max_pool2d(self.norm(self.conv(x)), 2, self.stride)
        dropped: Tensor = self.dropout(F.leaky_relu(x, SLOPE) if self.active else x)
        return dropped


class Conv4R2D2(Backbone):
    """(B, C, H, W) -> (B, D), at least 16 pixels a side; D = 896 (H // 8 - 1)(W // 8 - 1) as "bertinetto".

    dropout: rates of the third and fourth block, each in [0, 1).
    """

    def __init__(
        self, in_channels: int, arrangement: Arrangement = "bertinetto", dropout: tuple[float, float] = (0.1, 0.1)
    ) -> None:
        super().__init__(in_channels, min_size=16)
        if arrangement not in ("bertinetto", "lee"):
            raise ConfigError(f"arrangement: expected 'bertinetto' or 'lee', found {arrangement!r}")
        if not all(0 <= rate < 1 for rate in dropout):
            raise ConfigError(f"dropout: expected rates in [0, 1), found {dropout}")
        self.original = arrangement == "bertinetto"
        self.block1 = Block(in_channels, WIDTHS[0])
        self.block2 = Block(WIDTHS[0], WIDTHS[1])
        self.block3 = Block(WIDTHS[1], WIDTHS[2], dropout=dropout[0])
        stride = 1 if self.original else 2
        self.block4 = Block(WIDTHS[2], WIDTHS[3], stride, active=self.original, dropout=dropout[1])
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        if self.original:
            return (WIDTHS[2] + WIDTHS[3]) * (size // 8 - 1) ** 2
        return WIDTHS[2] * (size // 8) ** 2 + WIDTHS[3] * (size // 16) ** 2

    def _features(self, x: Tensor) -> Tensor:
        third = self.block3(self.block2(self.block1(x)))
        fourth = self.block4(third)
        if self.original:
            third = F.max_pool2d(third, 2, 1)
        return torch.cat((third.flatten(1), fourth.flatten(1)), 1)


def conv4_r2d2_lee(in_channels: int) -> Conv4R2D2:
    """The arrangement released with MetaOptNet, dropout 0.1 and 0.3: 8,192 features at 32x32, 51,200 at 84x84."""
    return Conv4R2D2(in_channels, "lee", (0.1, 0.3))

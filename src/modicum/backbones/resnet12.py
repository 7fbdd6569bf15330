"""ResNet-12, the large backbone of few-shot learning, in the two forms the numbers of the papers were made with.

Boris Oreshkin et al.: TADAM, NeurIPS 2018, arXiv 1805.10123 (origin); Kwonjoon Lee et al.: Meta-Learning with
Differentiable Convex Optimization, CVPR 2019, arXiv 1904.03758 (MetaOptNet); Sungyong Baik et al.: ALFA, NeurIPS 2020,
arXiv 2011.00209, section E.2; Golnaz Ghiasi et al.: DropBlock, NeurIPS 2018, arXiv 1810.12890.

    r = BN(conv_3x3(act(BN(conv_3x3(act(BN(conv_3x3(x))))))))        three convolutions of the block's width
    block(x) = drop(pool_2x2(act(r + BN(conv_1x1(x)))))

    DropBlock on (H, W): seed ~ Bernoulli(gamma), every seed blanks the b x b block it is the upper left corner of,
    gamma = rate / b^2 * H W / ((H - b + 1)(W - b + 1)),  out = x * mask * numel(mask) / sum(mask)

| symbol | variable | MetaOptNet | ALFA |
|---|---|---|---|
| widths | `widths` | 64, 160, 320, 640 | 64, 128, 256, 512 |
| act(u) = max(u, slope * u) | `slope` | 0.1 | 0 (ReLU) |
| drop | `drop_rate` | 0.1: dropout in blocks 1 and 2, DropBlock in 3 and 4 | none |
| b | `block` | 5 at 84x84, 2 at 32x32 | |
| features | `pooled` | flattened: 16,000 at 84x84, 2,560 at 32x32 | mean over pixels: 512 |
| initial weights | | Kaiming normal, fan-out | Xavier uniform |

*Deviations*. MetaOptNet's code lets DropBlock's rate grow with the number of forward calls, counted in the module; here
`drop_rate` is a plain attribute that a training loop may set (`drop_rate_at` is that schedule), so that forward changes
nothing. ALFA's paper pools after every block and does not say how pixels are averaged; its code leaves out the last
block's pool, pads the third's by one pixel, and averages over all pixels; here all four blocks pool, without padding, and
pixels are averaged. The pool stands before the activation (see `conv4`). Random draws are torch's global generator's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.errors import ConfigError


def drop_block(x: Tensor, rate: float, block: int, generator: torch.Generator | None = None) -> Tensor:
    """x (B, C, H, W) with blocks of `block` pixels a side blanked, about `rate` of all pixels, and rescaled.

    0 <= rate < 1; block is cut to the size of the map. generator: where the seeds come from, None is torch's global one.
    """
    if rate == 0:
        return x
    batch, channels, height, width = x.shape
    block = min(block, height, width)
    rows, columns = height - block + 1, width - block + 1
    gamma = rate / block**2 * (height * width) / (rows * columns)
    draws = torch.rand(batch, channels, rows, columns, generator=generator, device=x.device)
    seeds = (draws < gamma).to(x.dtype)
    mask = 1 - F.max_pool2d(F.pad(seeds, [block - 1] * 4), block, 1)
    return x * mask * (mask.numel() / mask.sum().clamp(min=1))


def drop_rate_at(forward_passes: int, rate: float = 0.1, ramp: int = 40_000) -> float:
    """MetaOptNet's schedule: from 0 linearly to `rate` over `ramp` forward passes."""
    return rate * min(1.0, forward_passes / ramp)


class ResidualBlock(nn.Module):
    """(B, C, H, W) -> (B, width, H // 2, W // 2), before dropping."""

    def __init__(self, in_channels: int, width: int, slope: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=1, bias=False) for channels in (in_channels, width, width)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.skip = nn.Conv2d(in_channels, width, 1, bias=False)
        self.skip_norm = nn.BatchNorm2d(width)
        self.slope = slope

    def _activation(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope) if self.slope else F.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output; see the module's equations."""
        out = x
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            out = norm(conv(out))
            if index < 2:
                out = self._activation(out)
        out = out + self.skip_norm(self.skip(x))
        return self._activation(F.max_pool2d(out, 2))


class ResNet12(Backbone):
    """(B, C, H, W) -> (B, D), at least 16 pixels a side; D = widths[-1], times (H // 16)(W // 16) unless `pooled`.

    block: side of DropBlock's blocks, None takes 5 for pictures of 64 pixels and more, else 2. 0 <= drop_rate < 1.
    drop_rate is that of dropout; block_rate, DropBlock's, starts there, and a training loop may ramp it (`drop_rate_at`).
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        *,
        slope: float = 0.0,
        drop_rate: float = 0.0,
        block: int | None = None,
        pooled: bool = False,
        initialise: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(in_channels, min_size=16)
        if not 0 <= drop_rate < 1:
            raise ConfigError(f"drop_rate: expected a rate in [0, 1), found {drop_rate}")
        self.width = widths[-1]
        self.drop_rate = self.block_rate = drop_rate
        self.block = block
        self.pooled = pooled
        inputs = (in_channels, *widths[:-1])
        self.blocks = nn.ModuleList(
            ResidualBlock(before, after, slope) for before, after in zip(inputs, widths, strict=True)
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                initialise(part.weight)
        self.to(memory_format=torch.channels_last)

    def _n_features(self, size: int) -> int:
        return self.width * (1 if self.pooled else (size // 16) ** 2)

    def _drop(self, x: Tensor, index: int, block: int) -> Tensor:
        rate = self.drop_rate if index < 2 else self.block_rate
        if not self.training or rate == 0:
            return x
        return F.dropout(x, rate) if index < 2 else drop_block(x, rate, block)

    def _features(self, x: Tensor) -> Tensor:
        block = self.block or (5 if x.shape[-1] >= 64 else 2)
        for index, layer in enumerate(self.blocks):
            x = self._drop(layer(x), index, block)
        return x.mean((2, 3)) if self.pooled else x.flatten(1)


def _kaiming(weight: Tensor) -> Tensor:
    return nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="leaky_relu")


def resnet12_metaoptnet(in_channels: int) -> ResNet12:
    """Widths 64-160-320-640, LeakyReLU 0.1, DropBlock, features flattened (Lee et al. 2019)."""
    return ResNet12(in_channels, (64, 160, 320, 640), slope=0.1, drop_rate=0.1, initialise=_kaiming)


def resnet12_alfa(in_channels: int) -> ResNet12:
    """Widths 64-128-256-512, ReLU, average pooling: 512 features (Baik et al. 2020)."""
    return ResNet12(in_channels, (64, 128, 256, 512), pooled=True, initialise=nn.init.xavier_uniform_)

"""ResNet-20 for small pictures, with shortcuts that have no parameters.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385,
section 4.2; one of the two CIFAR-10 networks of WrapNet (Ni et al., ICLR 2021, arXiv 2007.13242).

    n = (depth - 2) / 6 blocks in each of three stages of w, 2w, 4w channels; w = 16
    h = relu(BN(conv_3x3(x)))
    r = BN(conv2_3x3(relu(BN(conv1_3x3(h)))))
    h <- relu(r + s(h))
    s(h) = h;  in the first block of the second and the third stage, where conv1 has stride 2, every second pixel of h,
           and channels of zeros behind its own (the paper's option A)
    features = mean over pixels of h                                                       4w

| name | depth | w | features | weights |
|---|---|---|---|---|
| `resnet20` | 20 | 16 | 64 | 0.27 million |
| `resnet20-8` | 20 | 8, for runs at reduced scale | 32 | 0.07 million |

Weights are normal with variance 2 / fan-out (He et al., ICCV 2015, arXiv 1502.01852); no bias. ReLUs are modules of their
own, so that a network without them can be made; the pre-activation networks stand in `preact_resnet`.

*Deviations*: of the paper none; a picture below 4 pixels is refused.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.errors import ConfigError


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


class BasicBlock(nn.Module):
    """(B, before, H, W) -> (B, after, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(before, after, stride)
        self.norm1 = nn.BatchNorm2d(after)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(after, after)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.padded = after - before

    def shortcut(self, x: Tensor) -> Tensor:
        """s(x) of the module's equations."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.padded)) if self.padded else x

    def forward(self, x: Tensor) -> Tensor:
        """The block's output; see the module's equations."""
        out = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        added: Tensor = self.relu2(out + self.shortcut(x))
        return added


class CifarResNet(Backbone):
    """(B, C, H, W) -> (B, 4 width), at least 4 pixels a side. depth: 6 n + 2 with n >= 1, else `ConfigError`."""

    def __init__(self, in_channels: int, depth: int = 20, width: int = 16) -> None:
        super().__init__(in_channels, min_size=4)
        n, rest = divmod(depth - 2, 6)
        if n < 1 or rest:
            raise ConfigError(f"depth: expected 6 n + 2 layers (8, 14, 20, .. 110), found {depth}")
        self.width = width
        self.conv = _convolution(in_channels, width)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.stages = nn.ModuleList()
        before = width
        for stage in range(3):
            after = width * 2**stage
            first = BasicBlock(before, after, stride=1 if stage == 0 else 2)
            self.stages.append(nn.Sequential(first, *(BasicBlock(after, after, 1) for _ in range(n - 1))))
            before = after
        self.to(memory_format=torch.channels_last)

    @property
    def last_norms(self) -> tuple[str, ...]:
        """Those of the last block of every stage."""
        last = [(index, len(stage) - 1) for index, stage in enumerate(self.stages)]  # type: ignore[arg-type]
        return tuple(f"stages.{index}.{block}.norm{k}" for index, block in last for k in (1, 2))

    def _n_features(self, size: int) -> int:
        return 4 * self.width

    def _features(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))


def resnet20(in_channels: int) -> CifarResNet:
    """16-32-64 channels, 64 features (He et al. 2016)."""
    return CifarResNet(in_channels, 20)


def resnet20_8(in_channels: int) -> CifarResNet:
    """Half as wide: 8-16-32 channels, 32 features."""
    return CifarResNet(in_channels, 20, 8)

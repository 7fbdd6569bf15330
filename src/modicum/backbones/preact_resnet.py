"""Pre-activation residual networks of bottlenecks for small pictures: ResNet-29 and ResNet-56 of Meta-Neighborhoods.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv
1603.05027; in the form of the code released with Siyuan Shan, Yang Li, Junier Oliva: Meta-Neighborhoods, NeurIPS 2020,
arXiv 1909.09140, which is that of the example "ResNet v2" of Keras.

    n = (depth - 2) / 9 bottlenecks in each of three stages;   a_i(u) = relu(BN_i(u))
    h = relu(BN(conv_3x3(x)))                                                    16 channels
    r = conv3_1x1(a_3(conv2_3x3(a_2(conv1_1x1(a_1(h))))))                        a_1 is left out in the very first block
    h <- r + h,  in the first block of a stage  r + shortcut_1x1(h)              the shortcut sees h itself, without a_1
    features = mean over pixels of relu(BN(h))      (signed: of BN(h))           256

| stage | channels of conv1, conv2 | of the sum | stride of conv1 and shortcut in the first block |
|---|---|---|---|
| 0 | 16 | 64 | 1 |
| 1 | 64 | 128 | 2 |
| 2 | 128 | 256 | 2 |

Convolutions have no bias and Xavier uniform weights; batch norm has eps 0.001 and momentum 0.1 (TensorFlow's decay 0.9).
"signed" is for a cosine output layer: without the last ReLU features have both signs.

*Deviations*. The paper names depths only; everything above is the released code's. Its 1x1 convolutions of stride 2 under
padding "SAME" pad nothing, so torch's pick the same pixels. Its moving mean starts without the pull towards 0 that torch's
has in the first steps (`zero_debias_moving_mean`), which is gone after about 50. A picture below 4 pixels is refused.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone
from modicum.backbones.batch_norm_kernels import plain
from modicum.errors import ConfigError

STAGES = ((16, 64, 1), (64, 128, 2), (128, 256, 2))
"""Inner channels, channels of the sum, stride of the first block."""


def convolution(before: int, after: int, side: int, stride: int = 1) -> nn.Conv2d:
    """`before` to `after` channels, square kernel of odd side, "SAME" at stride 1, no bias, Xavier uniform weights."""
    made = nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False)
    nn.init.xavier_uniform_(made.weight)
    return made


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """With the eps of TensorFlow's layer, 0.001; momentum 0.1, its decay of 0.9."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def norm_relu(x: Tensor, norm: nn.Module) -> Tensor:
    """relu(norm(x)) of x (B, C, H, W)."""
    # In place: batch norm's backward reads its input, so its output may be overwritten.
    return F.relu(norm(x), inplace=True)


def pooled(x: Tensor, norm: nn.Module, signed: bool) -> Tensor:
    """Features (B, C): mean over pixels of relu(norm(x)), or of norm(x) where signed, for x (B, C, H, W)."""
    return (norm(x) if signed else norm_relu(x, norm)).mean((2, 3))


class Bottleneck(nn.Module):
    """(B, before, H, W) -> (B, after, ceil(H / stride), ceil(W / stride)).

    projected: the shortcut is a 1x1 convolution; activated: a_1 stands before the first one.
    """

    def __init__(self, before: int, width: int, after: int, stride: int, *, projected: bool, activated: bool) -> None:
        super().__init__()
        self.norm1 = batch_norm(before) if activated else None
        self.conv1 = convolution(before, width, 1, stride)
        self.norm2 = batch_norm(width)
        self.conv2 = convolution(width, width, 3)
        self.norm3 = batch_norm(width)
        self.conv3 = convolution(width, after, 1)
        self.shortcut = convolution(before, after, 1, stride) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        """The block's output; see the module's equations."""
        out = self.conv1(x if self.norm1 is None else norm_relu(x, self.norm1))
        out = self.conv2(norm_relu(out, self.norm2))
        out = self.conv3(norm_relu(out, self.norm3))
        kept: Tensor = x if self.shortcut is None else self.shortcut(x)
        # In place: a convolution's backward does not read its output, and new memory costs more than adding.
        added: Tensor = out.add_(kept) if plain(out, kept) else out + kept
        return added


class PreactResNet(Backbone):
    """(B, C, H, W) -> (B, 256), at least 4 pixels a side. depth: 9 n + 2 with n >= 1, else `ConfigError`."""

    def __init__(self, in_channels: int, depth: int, *, signed: bool = False) -> None:
        super().__init__(in_channels, min_size=4)
        n, rest = divmod(depth - 2, 9)
        if n < 1 or rest:
            raise ConfigError(f"depth: expected 9 n + 2 layers (11, 20, 29, .. 56), found {depth}")
        self.signed = signed
        self.conv = convolution(in_channels, STAGES[0][0], 3)
        self.norm = batch_norm(STAGES[0][0])
        self.stages = nn.ModuleList()
        before = STAGES[0][0]
        for index, (width, after, stride) in enumerate(STAGES):
            first = Bottleneck(before, width, after, stride, projected=True, activated=index > 0)
            others = (Bottleneck(after, width, after, 1, projected=False, activated=True) for _ in range(n - 1))
            self.stages.append(nn.Sequential(first, *others))
            before = after
        self.final = batch_norm(before)
        self.to(memory_format=torch.channels_last)

    @property
    def last_norms(self) -> tuple[str, ...]:
        """Those of the last block of every stage, and the final one."""
        last = [(index, len(stage) - 1) for index, stage in enumerate(self.stages)]  # type: ignore[arg-type]
        names = [f"stages.{index}.{block}.norm{k}" for index, block in last for k in (1, 2, 3)]
        return (*(name for name in names if name != "stages.0.0.norm1"), "final")

    def _n_features(self, size: int) -> int:
        return STAGES[-1][1]

    def _features(self, x: Tensor) -> Tensor:
        x = norm_relu(self.conv(x), self.norm)
        for stage in self.stages:
            x = stage(x)
        return pooled(x, self.final, self.signed)


def resnet29(in_channels: int) -> PreactResNet:
    """Nine bottlenecks, 256 features."""
    return PreactResNet(in_channels, 29)


def resnet29_signed(in_channels: int) -> PreactResNet:
    """Nine bottlenecks, 256 features of both signs."""
    return PreactResNet(in_channels, 29, signed=True)


def resnet56(in_channels: int) -> PreactResNet:
    """Eighteen bottlenecks, 256 features."""
    return PreactResNet(in_channels, 56)


def resnet56_signed(in_channels: int) -> PreactResNet:
    """Eighteen bottlenecks, 256 features of both signs."""
    return PreactResNet(in_channels, 56, signed=True)

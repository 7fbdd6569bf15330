"""ResNet-18 and ResNet-50 for pictures of 224 pixels: torchvision's networks without weights and without classifier.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385;
two of the three ImageNet networks of WrapNet (Ni et al., ICLR 2021, arXiv 2007.13242).

    h = pool_3x3/2(relu(BN(conv_7x7/2(x)))), four stages of blocks, features = mean over pixels

| name | blocks | features |
|---|---|---|
| `resnet18` | 2, 2, 2, 2 of two 3x3 convolutions | 512 |
| `resnet50` | 3, 4, 6, 3 bottlenecks, stride in the 3x3 convolution | 2,048 |

They differ from `torchvision/resnet18` in the number of channels, which may be any, and in that they have a least picture
size said beforehand; names of parameters are torchvision's behind `network.`.

*Deviations*: torchvision's, whose bottleneck has its stride in the 3x3 convolution in place of the first 1x1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
FEATURES = {18: 512, 50: 2_048}


class ImageNetResNet(Backbone):
    """(B, C, H, W) -> (B, 512) for depth 18, (B, 2048) for depth 50; any size."""

    def __init__(self, in_channels: int, depth: int) -> None:
        from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

        super().__init__(in_channels, min_size=1)
        self.depth = depth
        self.network = ResNet(BasicBlock if depth == 18 else Bottleneck, list(BLOCKS[depth]), num_classes=1)
        self.network.fc = nn.Identity()
        if in_channels != 3:
            self.network.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.network.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    @property
    def last_norms(self) -> tuple[str, ...]:
        """Those of the last block of every stage."""
        per_block = 2 if self.depth == 18 else 3
        return tuple(
            f"network.layer{stage}.{blocks - 1}.bn{k}"
            for stage, blocks in enumerate(BLOCKS[self.depth], 1)
            for k in range(1, per_block + 1)
        )

    def _n_features(self, size: int) -> int:
        return FEATURES[self.depth]

    def _features(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features


def resnet18(in_channels: int) -> ImageNetResNet:
    """Eight blocks, 512 features."""
    return ImageNetResNet(in_channels, 18)


def resnet50(in_channels: int) -> ImageNetResNet:
    """Sixteen bottlenecks, 2,048 features."""
    return ImageNetResNet(in_channels, 50)

"""The encoder `pixels` in torch: the standardised picture itself, for code that wants an `Encoder`. No parameters.

Equation, sizes and fingerprint: `modicum.memory.pixels`, whose numbers these are for uint8 pictures, to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.errors import ConfigError

SIZE, CHANNELS = 32, 3


class PixelEncoder(Encoder):
    """Pictures (..., 3, 32, 32), uint8 or float in [0, 1] -> (..., 3072): less its mean, over its standard deviation.

    Values lie in the order height, width, channel. Zeros for a picture of one value.
    """

    def __init__(self, spec: ImageSpec) -> None:
        if (spec.size, spec.channels) != (SIZE, CHANNELS):
            raise ConfigError(f"pixels: reads {SIZE}x{SIZE} pixels of 3 channels, found {spec.size} and {spec.channels}")
        n_features = SIZE * SIZE * CHANNELS
        super().__init__(nn.Identity(), spec, n_features, "pixels", {"backbone": "pixels", "spec": spec.as_record()})

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., 3072) float32; errors as `Encoder.normalised`, and for another size."""
        if x.dim() >= 3 and x.shape[-2:] != (SIZE, SIZE):
            raise ConfigError(f"image size: pixels reads {SIZE}x{SIZE} only, found {x.shape[-2]}x{x.shape[-1]}; crop them")
        values = x.double() if x.dtype == torch.uint8 else self.normalised(x).double() * 255
        whole = values.movedim(-3, -1).flatten(-3)
        total = whole.sum(-1, keepdim=True)  # whole numbers below 2^53: exact in any order
        radicand = self.n_features * (whole * whole).sum(-1, keepdim=True) - total * total
        return ((self.n_features * whole - total) / radicand.clamp(min=1).sqrt()).to(self.mean.dtype)

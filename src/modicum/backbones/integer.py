"""An integer network as an encoder: pictures as they are, features from sums that wrap.

The file of an integer network says which backbone it was made from and which pictures that reads; its encoder is used like
any other but cannot be trained, for it has no parameters. Every picture runs on its own, so features do not depend on what
else is in a batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from modicum.backbones.backbone import Backbone
from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.errors import ConfigError, FileFormatError
from modicum.files import sha256
from modicum.quantization.integer.network import IntegerNetwork

DIGEST = "integers"
"""In an encoder's configuration: SHA-256 of the file it was read from."""


@final
class IntegerBackbone(Backbone):
    """Prepared pictures (B, C, H, W) of the network's one size -> features (B, D), without gradients."""

    def __init__(self, network: IntegerNetwork) -> None:
        channels, height, width = network.steps.shape
        super().__init__(channels, min_size=min(height, width))
        self.network = network

    def check_size(self, height: int, width: int) -> None:
        """As `Backbone.check_size`; an integer network has one size."""
        if (height, width) != self.network.steps.shape[1:]:
            only = "x".join(map(str, self.network.steps.shape[1:]))
            raise ConfigError(f"image size: this integer network takes {only} pixels only, found {height}x{width}")

    def _n_features(self, size: int) -> int:
        return self.network.n_features

    def _features(self, x: Tensor) -> Tensor:
        rows = [self.network(picture[None]) for picture in x]
        found = torch.cat(rows) if rows else x.new_zeros(0, self.network.n_features)
        return found.to(x.device, x.dtype)


def load_integer_encoder(path: Path | str, threads: int = 1) -> Encoder:
    """The encoder of an integer network's file, in evaluation mode; `FileFormatError` where the file is none or damaged."""
    network = IntegerNetwork.load(path, threads)
    try:
        spec, name = ImageSpec(**network.about["spec"]), str(network.about["backbone"])
    except (KeyError, TypeError, ConfigError) as error:
        raise FileFormatError(f"{path}: does not say which pictures its network reads ({error})") from error
    if (spec.channels, spec.size, spec.size) != network.steps.shape:
        raise FileFormatError(f"{path}: its network reads {network.steps.shape}, its record says {spec.size} pixels")
    config = {"backbone": name, "spec": spec.as_record(), DIGEST: sha256(path)}
    return Encoder(IntegerBackbone(network), spec, network.n_features, name, config).eval()

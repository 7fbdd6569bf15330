"""What every backbone of ours is: pictures in, flat features out, with the sizes it accepts said beforehand."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from modicum.errors import ConfigError


def channels_last(x: Tensor) -> Tensor:
    """The same pictures (B, C, H, W) laid out with the channels last, which CPU convolutions and pools are fastest on.

    Written as permutations, because vmap knows no memory formats. One channel needs its strides said: torch counts
    (B, 1, H, W) as both layouts and then picks the slow one.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], x.shape[2], x.shape[3], 1).permute(0, 3, 1, 2)
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


class Backbone(nn.Module, ABC):
    """Pictures (B, C, H, W) float -> features (B, D). Height and width in pixels, at least `min_size` each."""

    in_channels: int
    min_size: int

    def __init__(self, in_channels: int, min_size: int) -> None:
        super().__init__()
        if in_channels < 1:
            raise ConfigError(f"in_channels: expected at least 1, found {in_channels}")
        self.in_channels = in_channels
        self.min_size = min_size

    @property
    def last_norms(self) -> tuple[str, ...]:
        """Qualified names of the batch norms that end its stages, the final one last; empty: it has no stages."""
        return ()

    def check_size(self, height: int, width: int) -> None:
        """Raise `ConfigError` where pictures of that size leave nothing after the last pooling."""
        if min(height, width) < self.min_size:
            need = f"{self.min_size}x{self.min_size}"
            name = type(self).__name__
            raise ConfigError(
                f"image size: {name} needs at least {need} pixels, found {height}x{width}; use larger pictures"
            )

    def n_features(self, size: int) -> int:
        """Number of features D of square pictures of `size` pixels a side; `ConfigError` where they are too small."""
        self.check_size(size, size)
        return self._n_features(size)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D) of pictures (B, C, H, W); `ConfigError` for another number of channels or too small ones."""
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ConfigError(f"x: expected pictures (B, {self.in_channels}, H, W), found shape {tuple(x.shape)}")
        self.check_size(x.shape[2], x.shape[3])
        return self._features(channels_last(x))

    @abstractmethod
    def _n_features(self, size: int) -> int: ...

    @abstractmethod
    def _features(self, x: Tensor) -> Tensor: ...

"""A backbone with the pictures it was made for: size, channels, normalisation, polarity of strokes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from modicum.backbones.backbone import Backbone, channels_last
from modicum.backbones.ifilm import modulate_norms, split_name
from modicum.configs.low_bit import split_low_bit
from modicum.errors import ConfigError, DataError
from modicum.quantization.conversion import convert
from modicum.registry import BACKBONES, resolve

Strokes = Literal["as-is", "light"]
OVERSHOOT = 16.0
"""Float pictures lie in [0, 1]; augmentation may overshoot a little, 0..255 by mistake exceeds this."""


@dataclass(frozen=True)
class ImageSpec:
    """What an encoder is shown: square pictures of `size` pixels, 1 or 3 channels, (x - mean) / std per channel of [0, 1].

    strokes "light": pictures with a bright border are inverted first, so that strokes are light on dark.
    """

    size: int
    channels: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    strokes: Strokes = "as-is"

    def __post_init__(self) -> None:
        if self.size < 1 or self.channels not in (1, 3):
            raise ConfigError(f"spec: expected size >= 1 and 1 or 3 channels, found {self.size} and {self.channels}")
        for name in ("mean", "std"):
            try:
                values = tuple(float(value) for value in getattr(self, name))
            except (TypeError, ValueError, OverflowError) as error:
                raise ConfigError(f"spec {name}: expected numbers, found {getattr(self, name)!r}") from error
            if len(values) not in (1, self.channels):
                raise ConfigError(f"spec {name}: expected one value or one per channel, found {len(values)}")
            object.__setattr__(self, name, values)
        if not all(value > 0 for value in self.std):
            raise ConfigError(f"spec std: expected values above 0, found {self.std}")
        if self.strokes not in ("as-is", "light"):
            raise ConfigError(f"spec strokes: expected 'as-is' or 'light', found {self.strokes!r}")

    def as_record(self) -> dict[str, Any]:
        """A JSON-able record; `ImageSpec(**record)` gives the spec back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def light_strokes(x: Tensor) -> Tensor:
    """Pictures (..., C, H, W) in [0, 1], each inverted to 1 - x where its outermost pixels are above 0.5 on average."""
    height, width = x.shape[-2:]
    edge = torch.zeros(height, width, dtype=torch.bool, device=x.device)
    edge[[0, -1], :] = True
    edge[:, [0, -1]] = True
    weight = edge.to(x.dtype) / edge.sum()
    brightness = (x.mean(-3) * weight).sum((-2, -1))[..., None, None, None]
    return torch.where(brightness > 0.5, 1 - x, x)


def _check_values(x: Tensor) -> None:
    try:
        low, high = (float(extreme) for extreme in torch.aminmax(x.detach()))
    except RuntimeError:  # inside vmap values cannot be looked at; whoever called it has checked its pictures
        return
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise DataError("x: expected finite pictures, found NaN or infinity in them")
    if high > OVERSHOOT:
        raise DataError(f"x: expected float pictures in [0, 1], found {high:g}; divide by 255 or pass uint8")


class Encoder(nn.Module):
    """Pictures (..., C, H, W), uint8 or float in [0, 1] -> features (..., D) in the precision of the parameters.

    name: how the backbone is called (registry name, "timm/NAME", "torchvision/NAME"); config: what `build_encoder` or
    `load_encoder` needs to make it again. Mean and std are constants: no parameters, and not saved with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, spec: ImageSpec, n_features: int, name: str, config: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.spec = spec
        self.n_features = n_features
        self.name = name
        self.config = dict(config)
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(getattr(spec, key)).reshape(-1, 1, 1), persistent=False)

    def normalised(self, x: Tensor) -> Tensor:
        """Pictures (..., C, H, W) as the backbone gets them, in the encoder's dtype; errors as `forward`."""
        if x.dim() < 3 or x.shape[-3] != self.spec.channels:
            expected = f"(..., {self.spec.channels}, H, W)"
            raise DataError(f"x: expected pictures {expected}, found shape {tuple(x.shape)}; channels stand before height")
        own = x.dtype == torch.uint8
        if own:
            x = x.to(self.mean.dtype).div_(255)
        elif x.is_floating_point():
            if x.numel() and not torch.compiler.is_compiling():
                _check_values(x)
            x = x.to(self.mean.dtype)
        else:
            raise DataError(f"x: expected uint8 (0..255) or float ([0, 1]) pictures, found {x.dtype}")
        if self.spec.strokes == "light":
            x = light_strokes(x)
        if own and self.spec.strokes == "as-is":  # a fresh copy: in place saves two passes through new memory
            return x.sub_(self.mean).div_(self.std)
        return (x - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """Features (..., D). `DataError`: wrong channels, dtype or non-finite values; `ConfigError`: too small a picture."""
        x = self.normalised(x)
        features: Tensor = self.backbone(channels_last(x.flatten(0, -4) if x.dim() > 3 else x[None]))
        return features.reshape(*x.shape[:-3], features.shape[-1])


def build_encoder(backbone: str, spec: ImageSpec) -> Encoder:
    """A fresh encoder by registry name, "pixels", "timm/NAME" or "torchvision/NAME"; parameters by torch's generator.

    Behind the name may stand "+ifilm-all-10" and the like, see `ifilm.split_name`, and behind that an ending as
    "+low-bit-binary-8-smooth-2", see `configs.low_bit`. `ConfigError` for unknown names (says the nearest) and endings, and
    for a picture size below the backbone's minimum.
    """
    whole, form = split_low_bit(backbone)
    name, modulation = split_name(whole)
    if name == "pixels":
        from modicum.backbones.pixels import PixelEncoder

        if modulation is not None:
            raise ConfigError("iFiLM: pixels has no batch norm to modulate; choose another backbone")
        if form is not None:
            raise ConfigError("low-bit: pixels has no layer to quantise; choose another backbone")
        return PixelEncoder(spec)
    if name.startswith(("timm/", "torchvision/")):
        from modicum.backbones.external import External

        model: Backbone = External(name, spec.channels, spec.size)
    else:
        model = resolve("backbone", BACKBONES, name)(spec.channels)
    if modulation is not None:
        modulate_norms(model, modulation.where, modulation.entries)
    if form is not None:
        convert(model, form, torch.zeros(1, spec.channels, spec.size, spec.size), strict=False)
    config = {"backbone": backbone, "spec": spec.as_record()}
    return Encoder(model, spec, model.n_features(spec.size), backbone, config)

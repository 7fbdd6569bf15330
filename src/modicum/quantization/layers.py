"""Low-bit convolutions and linear layers that take the place of torch's, and what is switched on all of a network's at once.

The arithmetic is that of `low_bit_layer`. A layer made by `of` has the very parameters of the one it replaces, under the
same names.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.quantization.low_bit_layer import (
    ALONE,
    BUFFER,
    CODES,
    FLOAT,
    LET_THROUGH,
    WARM_UP,
    WEIGHTS,
    Arithmetic,
    LowBitLayer,
    number,
)
from modicum.quantization.watching import Record, Watch, watching

__all__ = [
    "ALONE", "BUFFER", "CODES", "FLOAT", "LET_THROUGH", "WARM_UP", "WEIGHTS", "Arithmetic", "LowBitConv2d", "LowBitLayer",
    "LowBitLinear", "Record", "Watch", "low_bit_layers", "number", "set_carry", "set_stage", "simulate_carries", "watching",
]  # fmt: skip


@final
class LowBitConv2d(LowBitLayer, nn.Conv2d):
    """x (B, C, H, W) -> (B, O, H', W'), any stride, padding with zeros, dilation and groups."""

    @classmethod
    def of(cls, layer: nn.Conv2d, name: str, arithmetic: Arithmetic) -> LowBitConv2d:
        """With the parameters of `layer`; `ConfigError` where it pads with anything but zeros."""
        if layer.padding_mode != "zeros":
            raise ConfigError(f"layer {name!r}: expected padding with zeros, found {layer.padding_mode}; keep it in float")
        made = cls(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            device="meta",
        )
        made.weight, made.bias = layer.weight, layer.bias
        made._begin(name, arithmetic, layer.weight.detach())
        return made.train(layer.training)

    def products(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution of x (B, C, H, W) by weight, without bias."""
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def per_channel(self, values: Tensor) -> Tensor:
        """(O, 1, 1)."""
        return values.view(-1, 1, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs in the layer's stage; see `low_bit_layer`."""
        stage = number(self.stage)
        if stage == FLOAT:
            return super().forward(input)
        out = self.low_bit_forward(input, stage)
        return out if self.bias is None else out + self.bias.view(-1, 1, 1)


@final
class LowBitLinear(LowBitLayer, nn.Linear):
    """x (..., I) -> (..., O)."""

    @classmethod
    def of(cls, layer: nn.Linear, name: str, arithmetic: Arithmetic) -> LowBitLinear:
        """With the parameters of `layer`."""
        made = cls(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        made.weight, made.bias = layer.weight, layer.bias
        made._begin(name, arithmetic, layer.weight.detach())
        return made.train(layer.training)

    def products(self, x: Tensor, weight: Tensor) -> Tensor:
        """x times weight (O, I), without bias."""
        return F.linear(x, weight)

    def per_channel(self, values: Tensor) -> Tensor:
        """(O,)."""
        return values

    def forward(self, input: Tensor) -> Tensor:
        """Outputs in the layer's stage; see `low_bit_layer`."""
        stage = number(self.stage)
        if stage == FLOAT:
            return super().forward(input)
        out = self.low_bit_forward(input, stage)
        return out if self.bias is None else out + self.bias


def low_bit_layers(module: nn.Module) -> dict[str, LowBitLayer]:
    """The low-bit layers of a converted module by their names, those in float too, in order of execution."""
    layers = {part for part in module.modules() if isinstance(part, LowBitLayer)}
    return {part.name: part for part in sorted(layers, key=lambda part: part.place)}


def _chosen(module: nn.Module, names: Collection[str] | None) -> list[LowBitLayer]:
    layers = low_bit_layers(module)
    unknown = [name for name in names or () if name not in layers]
    if unknown:
        raise ConfigError(f"layers: expected some of {', '.join(layers)}; found {unknown[0]!r}")
    return [layer for name, layer in layers.items() if names is None or name in names]


def set_stage(module: nn.Module, stage: int, names: Collection[str] | None = None) -> None:
    """Set the stage of the layers named, None: of all but those in float. `ConfigError` for unknown names and stages."""
    if stage not in (WEIGHTS, WARM_UP, CODES, FLOAT):
        raise ConfigError(f"stage: expected {WEIGHTS}, {WARM_UP}, {CODES} or {FLOAT}, found {stage}")
    for layer in _chosen(module, names):
        if names is not None or number(layer.stage) != FLOAT:
            layer.stage.fill_(stage)


def set_carry(module: nn.Module, carry: int, names: Collection[str] | None = None) -> None:
    """Set ALONE or BUFFER for the layers named, None: for all. Carries let through: `simulate_carries`."""
    if carry not in (ALONE, BUFFER):
        raise ConfigError(f"carry: expected {ALONE} (alone) or {BUFFER} (buffer bit), found {carry}")
    for layer in _chosen(module, names):
        layer.carry.fill_(carry)
        layer.carry_mean = layer.carry_mean.new_zeros(0)


@torch.no_grad()
def simulate_carries(module: nn.Module, x: Tensor, names: Collection[str] | None = None) -> None:
    """Let carries through in the layers named, None: in all that wrap; their means begin as those of the input x.

    `ConfigError`: weights other than binary and ternary, exact sums, or a layer that does not run on codes yet.
    """
    was = {part: part.training for part in module.modules()}
    try:
        with watching(penalties=False, carries=True) as watch:
            module.eval()(x)
    finally:
        for part, training in was.items():
            part.training = training
    counted = {record.name: record.carries for record in watch.records if record.carries is not None}
    for layer in _chosen(module, counted if names is None else names):
        found = counted.get(layer.name)
        if found is None:
            raise ConfigError(f"layer {layer.name!r}: carries need binary or ternary weights, sums that wrap, and codes")
        layer.carry.fill_(LET_THROUGH)
        layer.carry_mean = found.to(layer.carry_mean.dtype)

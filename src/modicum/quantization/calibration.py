"""Step sizes of a network's activations from pictures: so that a share p of the sums overflows, or with least error.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242, section 2.3.3 of the dissertation's chapter. The network has low-bit
weights and float activations (stage `WEIGHTS`). For every layer, from the inputs a that it gets then,

    s_x = the smallest step with rate(z(s_x)) <= p                         one_step: with the mean rate over layers <= p
    top = max over a of round(a / s_x), rounded up to 2^B - 1              so the bits B of activations are a result

or, where B bits are asked for, top = 2^B - 1 and the s_x of least mean squared error. Inputs below 0 make codes signed.

*Readings*. At most 8 bits: a step that would need more is enlarged to what 8 bits reach, and `Calibrated.enlarged` says so.
Rates are those over the first pictures, `PICTURES` or as many as fit `MEMORY`; extremes are over all. A layer with
8-bit ends takes the step that its largest input needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modicum.configs.low_bit import NARROWEST, WIDEST, LowBit
from modicum.errors import ConfigError, DataError
from modicum.quantization.layers import BUFFER, FLOAT, WEIGHTS, LowBitLayer, low_bit_layers, number
from modicum.quantization.overflow import best_step, overflows, smallest_step

MEMORY = 1 << 30
"""Bytes of all layers' inputs that are kept, each layer's the same."""
PICTURES = 256
"""Of which a layer's inputs are kept at most: millions of sums, for each of which a step overflows or not."""
SAMPLE = 1 << 18
"""Values that a step of least error is chosen on."""
CHUNK = 64
"""Pictures whose sums are held at once."""


class Calibrated(NamedTuple):
    """What calibration found for a layer. bits: of its codes; overflow: share of sums; enlarged: 8 bits were too few."""

    step: float
    bits: int
    signed: bool
    overflow: float
    enlarged: bool


@dataclass
class _Seen:
    """Inputs of a layer: extremes of all, and the first ones."""

    room: int
    lowest: float = 0.0
    highest: float = 0.0
    kept: list[Tensor] = field(default_factory=list)
    pictures: int = field(default_factory=lambda: PICTURES)

    def see(self, x: Tensor) -> None:
        """Take in inputs x (B, ...); `DataError` where they are not finite."""
        low, high = (float(value) for value in torch.aminmax(x))
        if not math.isfinite(high - low):
            raise DataError("calibration: a layer's inputs are not finite; is the network trained?")
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        fits = min(len(x), self.pictures, self.room // max(1, x[:1].numel() * x.element_size()))
        fits = max(fits, 0 if self.kept else 1)
        self.pictures -= fits
        if fits:
            self.kept.append(x[:fits].clone())
            self.room -= self.kept[-1].numel() * x.element_size()

    @property
    def signed(self) -> bool:
        return self.lowest < 0

    def step_of(self, top: int) -> float:
        """The smallest step under which no code passes top."""
        return max(self.highest / max(top, 0.5), -self.lowest / (top + 1))


@contextmanager
def _pretraining(module: nn.Module, layers: Iterable[LowBitLayer]) -> Iterator[None]:
    """Evaluation mode with float activations."""
    was = {part: part.training for part in module.modules()}
    stages = [(layer, number(layer.stage)) for layer in layers]
    try:
        for layer, _ in stages:
            layer.stage.fill_(WEIGHTS)
        module.eval()
        yield
    finally:
        for layer, stage in stages:
            layer.stage.fill_(stage)
        for part, training in was.items():
            part.training = training


def _look(module: nn.Module, layers: dict[str, LowBitLayer], batches: Iterable[Tensor]) -> dict[str, _Seen]:
    """What the layers get to see of the batches."""
    seen = {name: _Seen(MEMORY // len(layers)) for name in layers}

    def hook(layer: Any, given: tuple[Tensor, ...]) -> None:
        seen[layer.name].see(given[0].detach())

    handles = [layer.register_forward_pre_hook(hook) for layer in layers.values()]
    extremes: list[tuple[float, float]] = []
    try:
        with _pretraining(module, layers.values()):
            for x in batches:
                if len(x):
                    low, high = torch.aminmax(x)
                    extremes.append((float(low), float(high)))
                    module(x)
    finally:
        for handle in handles:
            handle.remove()
    if not extremes:
        raise DataError("calibration: expected pictures to choose step sizes on, found none")
    if min(low for low, _ in extremes) == max(high for _, high in extremes):
        raise DataError(
            "calibration: all numbers of all pictures are the same; expected pictures like those to be classified"
        )
    for name, found in seen.items():
        if found.lowest == found.highest == 0:
            raise DataError(f"calibration: layer {name!r} gets nothing but 0 from these pictures; is the network trained?")
    return seen


def _rate(layer: LowBitLayer, seen: _Seen, step: float, bits: int, top: int) -> float:
    """Share of a layer's sums over the inputs kept that overflow under a step."""
    integers = layer.low_bit_weights().integers
    inverse = (1 / torch.tensor(step, dtype=integers.dtype)).to(integers.device)
    low, over, count = (-top - 1 if seen.signed else 0), 0, 0
    for kept in seen.kept:
        for x in torch.split(kept, CHUNK):
            z = layer.products((x * inverse).round_().clamp_(low, top), integers)
            over += int(overflows(z, bits).sum())
            count += z.numel()
    return over / count


def _bits_of(step: float, seen: _Seen) -> int:
    """Bits of the codes that a step gives."""
    if seen.signed:
        most = max(round(seen.highest / step), -round(seen.lowest / step) - 1)
        return max(1, most.bit_length() + 1)
    return max(1, round(seen.highest / step).bit_length())


def _top(bits: int, signed: bool) -> int:
    return (1 << (bits - signed)) - 1


def _by_overflow(
    layers: dict[str, LowBitLayer], seen: dict[str, _Seen], share: float, bits: int, together: bool
) -> dict[str, float]:
    """Step sizes by names; `together`: the same for all."""

    def width(layer: LowBitLayer) -> int:
        return bits - 1 if number(layer.carry) == BUFFER else bits

    def search(names: list[str]) -> float:
        """The smallest step whose mean rate over the layers named is at most the share."""

        def rate(step: float) -> float:
            found = [_rate(layers[n], seen[n], step, width(layers[n]), _top(8, seen[n].signed)) for n in names]
            return sum(found) / len(found)

        low = max(seen[n].step_of(_top(8, seen[n].signed)) for n in names)
        high = max(2.5 * max(seen[n].highest, -seen[n].lowest) for n in names)
        return smallest_step(rate, share, low, max(low, high))

    if together:
        return dict.fromkeys(layers, search(list(layers)))
    return {name: search([name]) for name in layers}


def _sample(seen: _Seen) -> Tensor:
    values = torch.cat([kept.flatten() for kept in seen.kept])
    return values[:: max(1, len(values) // SAMPLE)]


@torch.no_grad()
def calibrate(
    module: nn.Module,
    batches: Iterable[Tensor],
    form: LowBit,
    *,
    overflow: float = 0.05,
    bits: int | None = None,
    one_step: bool = False,
    step_bits: int | None = None,
) -> dict[str, Calibrated]:
    """Choose and set step sizes of all low-bit layers that are not in float; what was found, by name.

    batches: inputs of the module. overflow: p, a share. bits: B, 1 to 8, asked for. one_step: one size for all layers.
    step_bits: accumulator that p is about, default the form's, 8 where sums are exact. `DataError`: no pictures, constant
    ones, a layer that gets 0 only. `ConfigError`: nothing to calibrate, numbers out of range.
    """
    if not 0 <= overflow < 1:
        raise ConfigError(f"overflow: expected a share in [0, 1), found {overflow}")
    if bits is not None and not 1 <= bits <= 8:
        raise ConfigError(f"activations: expected 1 to 8 bits, found {bits}")
    b = step_bits or form.accumulator or 8
    if not NARROWEST <= b <= WIDEST:
        raise ConfigError(f"step_bits: expected {NARROWEST} to {WIDEST}, found {b}")
    layers = {name: layer for name, layer in low_bit_layers(module).items() if number(layer.stage) != FLOAT}
    if not layers:
        raise ConfigError("calibration: the module has no low-bit layer")
    seen = _look(module, layers, batches)
    ends = {name: layer for name, layer in layers.items() if layer.arithmetic.weights == "8"}
    inner = {name: layer for name, layer in layers.items() if name not in ends}
    if bits is None:
        steps = _by_overflow(inner, seen, overflow, b, one_step) if inner else {}
    else:
        steps = {
            n: best_step(_sample(seen[n]), -_top(bits, True) - 1 if seen[n].signed else 0, _top(bits, seen[n].signed))
            for n in inner
        }
    steps |= {name: seen[name].step_of(127) for name in ends}
    return {name: _set(layer, seen[name], steps[name], b, None if name in ends else bits) for name, layer in layers.items()}


def _set(layer: LowBitLayer, seen: _Seen, step: float, b: int, asked: int | None) -> Calibrated:
    """Put a step into a layer."""
    end = layer.arithmetic.weights == "8"
    signed = end or seen.signed
    bits = 8 if end else asked or min(8, _bits_of(step, seen))
    least = seen.step_of(_top(8, signed))
    layer.set_codes(step, _top(bits, signed), signed)
    width = layer.bits if layer.arithmetic.bits is not None else b
    rate = 0.0 if end or width is None else _rate(layer, seen, step, width, _top(bits, signed))
    enlarged = not end and asked is None and step <= least * (1 + 1e-9)
    return Calibrated(float(layer.step), bits, signed, rate, enlarged)

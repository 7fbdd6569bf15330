"""What the layers of a network do on pictures: overflow, codes, carries and sums of low-bit layers, work of all.

    rate = share of sums z outside [-2^(b-1), 2^(b-1)),      R_o = mean of max(|z| - 2^(b-1), 0)
    carries: count of Algorithm 1 for each neuron; their mean over pictures, and their deviation, averaged over neurons

z is the sum before it wraps, without carries of neighbours. b is the accumulator's bits less a buffer bit; where sums are
exact, the bits asked about. Everything is measured in evaluation mode by watching what goes into a layer; layers and their
buffers do not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modicum.quantization.carries import carries_of_sums, count_negatives
from modicum.quantization.layers import CODES, FLOAT, LowBitLayer, number
from modicum.quantization.overflow import overflow_penalty, overflow_rate
from modicum.quantization.weights import weight_bits

BINS = 64
"""Of the histogram of sums, over twice the accumulator's range; sums outside are counted in its outermost bins."""
CHUNK = 64
"""Pictures whose sums are held at once."""


@dataclass(frozen=True)
class LayerStatistics:
    """A layer that ran, in order of execution. What does not apply is None.

    name: in the module. kind: Conv2d or Linear. shape: of its weights. outputs: neurons of one picture; macs: its
    multiply-accumulates. stage, carry: as the layer's buffers say, None for a layer in float. weight_bits, bits: of
    weights and of a sum (None: exact). step, activation_bits, signed: of its inputs' codes. overflow: share of sums
    beyond `bits_asked`. penalty: R_o. carry_mean, carry_deviation. histogram (BINS,): counts of sums from -2^b to 2^b.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    outputs: int
    macs: int
    stage: int | None = None
    carry: int | None = None
    weight_bits: int | None = None
    bits: int | None = None
    bits_asked: int | None = None
    step: float | None = None
    activation_bits: int | None = None
    signed: bool | None = None
    overflow: float | None = None
    penalty: float | None = None
    carry_mean: float | None = None
    carry_deviation: float | None = None
    histogram: tuple[int, ...] | None = None

    @property
    def weights(self) -> int:
        """Number of weights."""
        return torch.Size(self.shape).numel()

    @property
    def fan_in(self) -> int:
        """Summands of one output."""
        return torch.Size(self.shape[1:]).numel()


class _Carries:
    """Mean and deviation of carries over pictures, for each neuron."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def see(self, carries: Tensor) -> None:
        """Take in counts (B, ...)."""
        carries = carries.double()
        self.count += len(carries)
        self.total = self.total + carries.sum(0)
        self.squares = self.squares + carries.square().sum(0)

    def found(self) -> tuple[float, float]:
        mean = torch.as_tensor(self.total / self.count)
        variance = torch.as_tensor(self.squares / self.count) - mean.square()
        return float(mean.mean()), float(variance.clamp(min=0).sqrt().mean())


class _Low:
    """What is gathered of one low-bit layer on codes; bits: asked about where its sums are exact."""

    def __init__(self, layer: LowBitLayer, bits: int) -> None:
        self.layer, self.bits = layer, layer.bits or bits
        self.over, self.penalty, self.count = 0.0, 0.0, 0
        self.carries = _Carries() if layer.arithmetic.weights in ("binary", "ternary") else None
        self.histogram = torch.zeros(BINS, dtype=torch.int64)

    @torch.no_grad()
    def see(self, x: Tensor) -> None:
        """Take in inputs x (B, ...) of the layer."""
        layer, bits = self.layer, self.bits
        integers = layer.low_bit_weights().integers
        for part in torch.split(x, CHUNK):
            q = layer.codes(part)
            wide = layer.largest_sum >= 2**24
            z = layer.products(*((q.double(), integers.double()) if wide else (q, integers.to(q.dtype)))).round()
            n = z.numel()
            self.over += float(overflow_rate(z, bits)) * n
            self.penalty += float(overflow_penalty(z, bits)) * n
            self.count += n
            place = ((z + 2**bits) * (BINS / 2 ** (bits + 1))).floor().clamp_(0, BINS - 1)
            self.histogram += torch.bincount(place.long().flatten().cpu(), minlength=BINS)
            if self.carries is not None:
                ternary = layer.arithmetic.weights == "ternary"
                w = integers.to(q.dtype)
                negative = count_negatives(q, w, layer.products, signed=bool(number(layer.signed)), ternary=ternary)
                self.carries.see(carries_of_sums(z, negative.to(z.dtype), bits))

    def found(self) -> dict[str, Any]:
        """The statistics of all inputs so far."""
        layer = self.layer
        mean, deviation = (None, None) if self.carries is None else self.carries.found()
        return {
            "step": float(layer.step), "signed": bool(number(layer.signed)),
            "activation_bits": number(layer.top).bit_length() + number(layer.signed), "bits_asked": self.bits,
            "overflow": self.over / self.count, "penalty": self.penalty / self.count,
            "carry_mean": mean, "carry_deviation": deviation, "histogram": tuple(self.histogram.tolist()),
        }  # fmt: skip


def _work(layer: nn.Module, outputs: int) -> tuple[tuple[int, ...], int]:
    """(shape of the weights, multiply-accumulates of one picture)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return tuple(weight.shape), outputs * weight[0].numel()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, training in was.items():
            part.training = training


@torch.no_grad()
def layer_statistics(module: nn.Module, batches: Iterable[Tensor], bits: int = 8) -> list[LayerStatistics]:
    """Statistics of every convolution and linear layer that runs, in order of execution.

    batches: inputs of the module, one after the other. bits: the accumulator that overflow is counted for where sums are
    exact. Without batches the list is empty.
    """
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    outputs: dict[str, int] = {}
    low: dict[str, _Low] = {}

    def watch(name: str) -> Any:
        """A hook that takes in what a layer gets."""

        def hook(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            """Notes the size of the output of a picture, and the codes that a low-bit layer gets; changes nothing."""
            outputs.setdefault(name, out[0].numel())
            if isinstance(layer, LowBitLayer) and number(layer.stage) == CODES:
                x = given[0].detach()
                low.setdefault(name, _Low(layer, bits)).see(x.float() if x.dtype != torch.float64 else x)

        return hook

    handles = [part.register_forward_hook(watch(name)) for name, part in layers.items()]
    try:
        with _evaluating(module):
            for x in batches:
                module(x)
    finally:
        for handle in handles:
            handle.remove()
    return [_row(name, layers[name], n, low.get(name)) for name, n in outputs.items()]


def _row(name: str, layer: nn.Module, outputs: int, low: _Low | None) -> LayerStatistics:
    shape, macs = _work(layer, outputs)
    kind = "Linear" if isinstance(layer, nn.Linear) else "Conv2d"
    if not isinstance(layer, LowBitLayer) or number(layer.stage) == FLOAT:
        return LayerStatistics(name, kind, shape, outputs, macs)
    return LayerStatistics(
        layer.name, kind, shape, outputs, macs, stage=number(layer.stage), carry=number(layer.carry),
        weight_bits=weight_bits(layer.arithmetic.weights), bits=layer.bits, **({} if low is None else low.found()),
    )  # fmt: skip

"""Convolutions and linear layers with weights of few bits, codes as inputs and sums that wrap.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242. With integers w_q and scales s_w of `weights`, a step s_x for inputs,
wrap and f of `cyclic`

    q = clamp(round(a / s_x), low, top),   z = sum w_q q,   m = wrap(z),   out = f(m) s_w s_x   (+ bias)

| symbol | variable |
|---|---|
| s_x, 1 / s_x (one rounding) | `step`, `inverse` |
| top; low is 0, or -top - 1 where inputs have signs | `top`, `signed` |

| `stage` | inputs | sums |
|---|---|---|
| 0 `WEIGHTS` | a | out = sum s_w w_q a: pre-training |
| 1 `WARM_UP` | a / s_x, real | z is real, m and f as above |
| 2 `CODES` | q | integers |
| 255 `FLOAT` | a | the layer as it was before conversion |

| `carry` | |
|---|---|
| 0 `ALONE` | nothing crosses into a neighbour |
| 1 `LET_THROUGH` | m = wrap(z + count - round(mean)): the carries of `carries` are added to the sum, their mean taken away |
| 2 `BUFFER` | a buffer bit: wrap, f and overflow have b - 1 bits |

The mean of the carries is that of the batch in training, where the buffer `carry_mean` (one number for each neuron) follows
it as a moving average, and the buffer in evaluation. Its gradient, and that of the added count, are left out; R_c has one.

Integers are exact: a sum of products of integers is, in any order, while it stays below 2^24 in float32; larger layers add
in float64, up to 2^31, and beyond `ConfigError`. Sums are rounded, for a convolution may be made of rounded transforms. All
constants of a layer are buffers, so that `functional_call` may replace them; what decides between ways (`top`, `signed`,
`stage`, `carry`) stays in the CPU's memory wherever the layer is, for reading it must not wait for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modicum.configs.low_bit import Cyclic
from modicum.errors import ConfigError
from modicum.quantization.carries import carries_of_sums, carry_variance, count_negatives
from modicum.quantization.cyclic import cyclic, wrap
from modicum.quantization.overflow import overflow_penalty, overflow_rate
from modicum.quantization.straight_through import codes_through, round_through
from modicum.quantization.watching import Record, Watch, watcher
from modicum.quantization.weights import Kind, LowBitWeights, largest_weight, low_bit_weights

WEIGHTS, WARM_UP, CODES, FLOAT = 0, 1, 2, 255
ALONE, LET_THROUGH, BUFFER = 0, 1, 2
MOMENTUM = 0.1
"""Of the moving average of carries."""
FLAGS = ("top", "signed", "stage", "carry")


class Arithmetic(NamedTuple):
    """How a layer computes: kind of weights, accumulator bits b (None: exact sums), what follows a sum, its slope k."""

    weights: Kind
    bits: int | None
    cyclic: Cyclic
    slope: float


def number(flag: Tensor) -> int:
    """The value of a flag (); inside vmap that of the first of equal ones."""
    while torch._C._functorch.is_functorch_wrapped_tensor(flag):
        flag = torch._C._functorch.get_unwrapped(flag)
    return int(flag if flag.dim() == 0 else flag.flatten()[0])


class LowBitLayer(nn.Module):
    """What `LowBitConv2d` and `LowBitLinear` share.

    name: where the layer stands in the converted module; place: after how many other low-bit ones it runs.
    """

    weight: Tensor
    step: Tensor
    inverse: Tensor
    top: Tensor
    signed: Tensor
    stage: Tensor
    carry: Tensor
    carry_mean: Tensor
    name: str
    place: int = 0
    arithmetic: Arithmetic

    def _begin(self, name: str, arithmetic: Arithmetic, like: Tensor) -> None:
        self.name, self.arithmetic = name, arithmetic
        self.register_buffer("step", torch.ones((), dtype=like.dtype, device=like.device))
        self.register_buffer("inverse", torch.ones((), dtype=like.dtype, device=like.device))
        self.register_buffer("top", torch.tensor(1))
        self.register_buffer("signed", torch.tensor(False))
        self.register_buffer("stage", torch.tensor(WEIGHTS, dtype=torch.uint8))
        self.register_buffer("carry", torch.tensor(ALONE, dtype=torch.uint8))
        self.register_buffer("carry_mean", torch.zeros(0, dtype=like.dtype, device=like.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LowBitLayer:
        flags = {name: self._buffers[name] for name in FLAGS}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._buffers.update(flags)
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: Any,
        unexpected: Any,
        errors: Any,
    ) -> None:
        found = state_dict.get(f"{prefix}carry_mean")
        if isinstance(found, Tensor):  # its shape is that of the layer's output, which a fresh layer does not know
            self.carry_mean = self.carry_mean.new_zeros(found.shape)
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)

    @property
    def bits(self) -> int | None:
        """Bits that a sum has here: b, less a buffer bit; None: as many as it needs."""
        b = self.arithmetic.bits
        return b if b is None or number(self.carry) != BUFFER else b - 1

    @property
    def low(self) -> int:
        """The smallest code."""
        return -number(self.top) - 1 if number(self.signed) else 0

    @property
    def taps(self) -> int:
        """Summands of one output."""
        return self.weight[0].numel()

    @property
    def largest_sum(self) -> int:
        """What no sum exceeds."""
        return self.taps * largest_weight(self.arithmetic.weights) * max(number(self.top), -self.low)

    @torch.no_grad()
    def set_codes(self, step: float, top: int, signed: bool) -> None:
        """Fix s_x and the range of the codes; `ConfigError`: not positive, beyond 8 bits, or sums beyond 2^31."""
        if not 0 < step < float("inf") or not (0 <= top <= 127 if signed else 1 <= top <= 255):
            raise ConfigError(f"layer {self.name!r}: expected a step above 0 and codes of 1 to 8 bits, found {step}, {top}")
        self.step.fill_(step)
        self.inverse.copy_(1 / self.step)
        self.top.fill_(top)
        self.signed.fill_(signed)
        if self.largest_sum >= 2**31:
            raise ConfigError(f"layer {self.name!r}: sums of {self.taps} products up to {self.largest_sum} pass 2^31")

    def unit(self, scale: Tensor) -> Tensor:
        """s_w s_x (O,) of the weights' scales (O,)."""
        return scale * self.step

    def low_bit_weights(self) -> LowBitWeights:
        """Integers and scales of the layer's weights, differentiable."""
        return low_bit_weights(self.weight, self.arithmetic.weights)

    def codes(self, x: Tensor) -> Tensor:
        """q of inputs x, in their dtype."""
        return codes_through(x, self.inverse.to(x.dtype), self.low, number(self.top))

    def products(self, x: Tensor, weight: Tensor) -> Tensor:
        """Sums over taps of inputs times weights, without bias."""
        raise NotImplementedError

    def per_channel(self, values: Tensor) -> Tensor:
        """Values (O,) as they broadcast against outputs."""
        raise NotImplementedError

    def _sums(self, q: Tensor, w: Tensor, stage: int) -> Tensor:
        """z in floating point, of integers exact; see the module's text."""
        wide, device = self.largest_sum >= 2**24, q.device.type
        mixed = torch.amp.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            z = self.products(q.double(), w.double()) if wide else self.products(q, w.to(q.dtype))
        return round_through(z) if stage == CODES else z

    def low_bit_forward(self, x: Tensor, stage: int) -> Tensor:
        """Outputs in the stages 0 to 2, without bias."""
        integers, scale = self.low_bit_weights()
        if stage == WEIGHTS:
            return self.products(x, integers * scale.view(-1, *(1,) * (integers.dim() - 1)))
        x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        q = self.codes(x) if stage == CODES else x * self.inverse
        z = self._sums(q, integers, stage)
        watch, bits = watcher(), self.bits
        counts = self._carries(z, q, integers, bits, watch) if stage == CODES and bits is not None else None
        m = z
        if bits is not None and (self.arithmetic.cyclic != "none" or not self.training):
            m = wrap(z if counts is None else z + self._contamination(counts), bits)
        if watch is not None:
            watch.records.append(self._record(watch, stage, z, q, m, counts))
        c = m if bits is None else cyclic(m, bits, self.arithmetic.cyclic, self.arithmetic.slope)
        return c.to(x.dtype) * self.per_channel(self.unit(scale))

    def _carries(self, z: Tensor, q: Tensor, integers: Tensor, bits: int, watch: Watch | None) -> Tensor | None:
        """Counts like z where the layer simulates carries or somebody counts them, else None."""
        kind, let_through = self.arithmetic.weights, number(self.carry) == LET_THROUGH
        if kind not in ("binary", "ternary"):
            if let_through:
                raise ConfigError(
                    f"layer {self.name!r}: carries are counted for binary and ternary weights, found {kind} bits"
                )
            return None
        if not let_through and (watch is None or not watch.carries):
            return None
        signed, ternary = bool(number(self.signed)), kind == "ternary"
        n = count_negatives(q, integers.to(q.dtype), self.products, signed=signed, ternary=ternary)
        return carries_of_sums(z, n.to(z.dtype), bits)

    @torch.no_grad()
    def _contamination(self, counts: Tensor) -> Tensor:
        """What `carry` adds to sums (B, ...): counts less their mean, a constant of the backward pass."""
        if number(self.carry) != LET_THROUGH:
            return torch.zeros((), dtype=counts.dtype, device=counts.device)
        if self.carry_mean.shape != counts.shape[1:]:
            raise ConfigError(
                f"layer {self.name!r}: its mean of carries has shape {tuple(self.carry_mean.shape)}, its output "
                f"{tuple(counts.shape[1:])}; call simulate_carries with pictures of this size"
            )
        if not self.training:
            return counts - self.carry_mean.round()
        mean = counts.mean(0)
        self.carry_mean.lerp_(mean.to(self.carry_mean.dtype), MOMENTUM)
        return counts - mean.round()

    def _record(self, watch: Watch, stage: int, z: Tensor, q: Tensor, m: Tensor, counts: Tensor | None) -> Record:
        bits, statistics = self.bits, watch.statistics
        lowest, highest = torch.aminmax(q.detach()) if statistics and stage == CODES else (None, None)
        return Record(
            self.name,
            penalty=overflow_penalty(z, bits) if watch.penalties and bits is not None else None,
            overflow=overflow_rate(z.detach(), bits) if statistics and bits is not None else None,
            lowest=lowest,
            highest=highest,
            carry_variance=None if counts is None else carry_variance(counts),
            carries=None if counts is None else counts.detach().mean(0),
            sums=m.detach().to(torch.int32) if watch.sums and stage == CODES else None,
        )

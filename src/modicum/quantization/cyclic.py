"""Sums that wrap, and the cyclic activation that makes wrapping harmless.

Renkun Ni, Hong-min Chu, Oscar Castaneda, Ping-yeh Chiang, Christoph Studer, Tom Goldstein: WrapNet: Neural Net Inference
with Ultra-Low-Precision Arithmetic, ICLR 2021, arXiv 2007.13242. For an accumulator of b bits and h = 2^(b-1)

    m = mod(z + h, 2^b) - h                                              in [-h, h)
    f(m) = m where |m| <= k h / (k + 1),   k h - k m above,   -k h - k m below
    c(z) = f(m):   continuous, of period 2^b, 0 at all multiples of h

| kind | what follows m | its derivative |
|---|---|---|
| smooth | f(m) | 1, beyond the border -k |
| absolute | abs(m) | sign(m) |
| relu | max(f(m), 0) | that of f where f > 0, else 0 |
| modulo, none | m | 1 |

| symbol | variable |
|---|---|
| z, m | `z`, `m` (...) integers or reals |
| b, k | `bits`, `slope` |

Both directions: `wrap` is m forward and the identity backward (its derivative but for the jumps, which f closes); `cyclic`
is as in the table, both ways. f is computed as sign(m) min(abs(m), k (h - abs(m))), which is the same.

*Readings*. Absolute and ReLU-like functions are drawn in the paper, not written. For integers z the results are exact
integers wherever k is one; where k has more than a few binary digits f is computed in float64 and rounded once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modicum.configs.low_bit import Cyclic


class _Wrap(torch.autograd.Function):
    """z -> m."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, bits: int) -> Tensor:
        """m; every step is exact for integers below 2^22 in float32."""
        laps = (z + 2 ** (bits - 1)).mul_(2.0**-bits).floor_()
        m: Tensor = torch.sub(z, laps, alpha=2**bits)
        return m

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        """g."""
        return g, None


class _Fold(torch.autograd.Function):
    """m -> f(m), |m| or max(f(m), 0)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor, bits: int, kind: Cyclic, slope: float) -> tuple[Tensor, Tensor]:
        """The value, and the derivative as int8: 1 and -1 for its sign, 2 and -2 where the slope enters, or 0."""
        size = m.abs()
        if kind == "absolute":
            return size, torch.sign(m).to(torch.int8)
        after = _falling(size, bits, slope)
        code = (after < size).to(torch.int8).mul_(-3).add_(1)
        value = torch.minimum(size, after)
        if kind == "relu":
            positive = m > 0
            return value * positive, code * positive * (value > 0)
        return torch.copysign(value, m), code

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """The derivative."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.slope = inputs[3]

    @staticmethod
    def backward(ctx: Any, g: Tensor, of_code: Tensor) -> tuple[Tensor, None, None, None]:
        """g times 1, -1, -k or 0."""
        (code,) = ctx.saved_tensors
        factor = torch.where(code == -2, -ctx.slope, code.to(g.dtype))
        return g * factor, None, None, None


def _falling(size: Tensor, bits: int, slope: float) -> Tensor:
    """k (h - size), rounded once."""
    rest: Tensor = 2 ** (bits - 1) - size
    if float(slope * 16).is_integer() and slope < 16:  # exact in any precision
        product: Tensor = rest.mul_(slope)
    else:
        product = (rest.double() * slope).to(size.dtype)
    return product


def wrap(z: Tensor, bits: int) -> Tensor:
    """m = mod(z + 2^(b-1), 2^b) - 2^(b-1) of z (...), integers or reals; backward: the identity."""
    if not z.is_floating_point():
        half = 2 ** (bits - 1)
        m: Tensor = torch.remainder(z + half, 2**bits) - half
        return m
    out: Tensor = _Wrap.apply(z, bits)
    return out


def cyclic(m: Tensor, bits: int, kind: Cyclic = "smooth", slope: float = 2.0) -> Tensor:
    """What follows a wrapped sum m (...), see the module's table. Integers give float64, so that no slope is too odd."""
    if not m.is_floating_point():
        m = m.double()
    if kind in ("modulo", "none"):
        return m
    out: Tensor = _Fold.apply(m, bits, kind, slope)[0]
    return out

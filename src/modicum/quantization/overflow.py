"""How many sums overflow an accumulator, the penalty on them, and the step size that lets a given share overflow.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242, sections 2.3.2 and 2.3.3 of the dissertation's chapter. For the sums
z_i of a layer's N neurons over a batch, b bits, h = 2^(b-1)

    rate = #{i: z_i < -h or z_i >= h} / N,        R_o = (1 / N) sum_i max(|z_i| - h, 0)

| symbol | variable |
|---|---|
| z | `z` (...) |
| b | `bits` |
| s_x | `step` |

A step s_x gives inputs a the codes clamp(round(a / s_x), low, top) and so the sums z: a larger step, smaller sums.
`smallest_step` looks for the smallest one whose rate is at most p, by bisection of log s_x; the rate falls with s_x but for
roundings, so it is the smallest up to these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

HALVINGS = 16
"""Of the range in which a step is looked for: it is then known to a 10,000th."""


class _Penalty(torch.autograd.Function):
    """z -> mean max(|z| - h, 0)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """The penalty (), and the sign of z where it overflows, else 0, as int8."""
        half = 2 ** (bits - 1)
        over = z.abs().sub_(half).clamp_(min=0)
        return over.mean(), (torch.sign(z) * (over > 0)).to(torch.int8)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Signs: a byte each."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, g: Tensor, of_side: Tensor) -> tuple[Tensor, None]:
        """g sign(z) / N where |z| > h, else 0."""
        (side,) = ctx.saved_tensors
        of_z: Tensor = side * (g / side.numel())
        return of_z, None


def overflow_penalty(z: Tensor, bits: int) -> Tensor:
    """R_o () of sums z (...): how far they overflow, on average; backward: sign(z) / N where |z| > h."""
    out: Tensor = _Penalty.apply(z, bits)[0]
    return out


def overflows(z: Tensor, bits: int) -> Tensor:
    """Which of the sums z (...) b bits do not hold."""
    half = 2 ** (bits - 1)
    over: Tensor = (z < -half) | (z >= half)
    return over


def overflow_rate(z: Tensor, bits: int) -> Tensor:
    """The share () of sums z (...) that b bits do not hold, float32."""
    return overflows(z, bits).float().mean()


def smallest_step(rate: Callable[[float], float], share: float, low: float, high: float) -> float:
    """The smallest step in [low, high] whose rate is at most `share`, by bisection of its logarithm.

    rate: the share of neurons that overflow under a step; it should not rise with the step. high is given where even it
    has a larger rate.
    """
    if rate(low) <= share:
        return low
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if rate(middle) <= share:
            high = middle
        else:
            low = middle
    return high


def best_step(values: Tensor, low: int, top: int) -> float:
    """The step with the least mean squared error of values (n,) against their codes in low..top.

    The best of 200, from a 20th of the step that clips nothing up to it, and of 21 around that one.
    """
    values = values.double()
    reach = max(float(values.max()) / max(top, 0.5), float(values.min()) / low if low else 0.0)

    def error(step: float) -> float:
        codes = (values / step).round_().clamp_(low, top)
        return float((codes * step - values).square_().mean())

    steps = [reach * (0.05 + 0.95 * i / 199) for i in range(200)]
    best = min(steps, key=error)
    return min((best * (1 + i / 2000) for i in range(-10, 11)), key=error)

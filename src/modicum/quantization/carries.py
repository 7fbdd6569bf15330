"""Carries: what summing packed numbers without vector instructions adds to the neighbours.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242, section 2.6.1 of the dissertation's chapter (Algorithm 1). For the
summands v_1..v_L of one output, -2^(b-1) <= v < 2^(b-1), and B = 2^b

    u = sum of v_i read as unsigned: v_i, or v_i + B where v_i < 0
    c_0 = u, r_0 = 0;   c_{i+1} = floor((c_i + r_i) / B),   r_{i+1} = (c_i + r_i) mod B,   until no carry;
    count = c_1 + c_2 + ..

Every carry takes B from the sum and puts 1 back, so u = (B - 1) count + r with 0 < r <= B - 1 at the end, and

    count = ceil(u / (B - 1)) - 1 = n + floor((z + n - 1) / (B - 1)),      0 for u = 0                       (closed)

where z = sum v_i and n is the number of negative summands: exact in float32 as long as z and n are. For weights -1, 0, 1 and
codes q, n is a convolution of (q > 0) with (w < 0), and of (q < 0) with (w > 0) where codes have signs.

Backward: tanh stands for sign, so that n = sum (1 - tanh v_i) / 2 there, and round is passed straight through: floor has
derivative 1, which makes that of count by u the 1 / B + 1 / B^2 + .. = 1 / (B - 1) of Algorithm 1's rounds.

    R_c = mean over neurons of the (biased) variance of count over the batch

*Readings*. A summand of 0 is not negative and counts nothing. All carries count, as the paper trains; hardware drops the
topmost one of a register.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from modicum.quantization.straight_through import floor_through

Products = Callable[[Tensor, Tensor], Tensor]
"""Sums over codes (B, ...) and weights (O, ...) of their products: a convolution or a product of matrices."""


def count_carries(v: Tensor, bits: int) -> Tensor:
    """Algorithm 1 step by step: carries (...) of summands v (..., L), integers of any dtype below 2^(b-1) in size."""
    base = 2**bits
    v = v.long()
    carried = torch.where(v < 0, v + base, v).sum(-1)
    rest, total = torch.zeros_like(carried), torch.zeros_like(carried)
    while bool(carried.any()):
        whole = carried + rest
        carried, rest = whole // base, whole % base
        total = total + carried
    return total


def carries_of_sums(z: Tensor, negatives: Tensor, bits: int) -> Tensor:
    """(closed): carries (...) of sums z (...) with so many negative summands (...); floor is passed straight through."""
    n = negatives
    return (n + floor_through((z + n - 1) / (2**bits - 1))).clamp(min=0)


def count_negatives(q: Tensor, w: Tensor, products: Products, *, signed: bool, ternary: bool) -> Tensor:
    """How many summands w q are negative, for codes q (B, ...) and weights w in -1, 0, 1 as `products` takes them.

    signed: codes may be negative; ternary: weights may be 0. Backward: that of sum (1 - tanh(w q)) / 2, by both.
    """
    with torch.no_grad():
        n = products((q > 0).to(q.dtype), (w < 0).to(w.dtype))
        if signed:
            n = n + products((q < 0).to(q.dtype), (w > 0).to(w.dtype))
    if not (torch.is_grad_enabled() and (q.requires_grad or w.requires_grad)):
        return n
    # -1/2 sum w T has the derivative wanted, where T is q / cosh(q)^2 and its own derivative 1 / cosh(q)^2:
    # tanh'(w q) is that of q wherever w is 1 or -1, and 1 where w is 0.
    fixed = q.detach()
    narrow = 1 - torch.tanh(fixed).square()
    stand_in = narrow * q
    if ternary:
        zero = (w == 0).to(w.dtype)
        surrogate = -0.5 * (products(stand_in, w * (1 - zero)) + products(fixed, w * zero))
    else:
        surrogate = -0.5 * products(stand_in, w)
    return n + (surrogate - surrogate.detach())


def carry_variance(counts: Tensor) -> Tensor:
    """R_c () of counts (B, ...): biased variance over the batch, mean over neurons."""
    return counts.var(0, correction=0).mean()

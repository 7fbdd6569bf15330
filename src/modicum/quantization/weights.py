"""Weights of few bits: integers and one scale for each filter.

Binary: Mohammad Rastegari et al.: XNOR-Net, ECCV 2016, arXiv 1603.05279. Ternary: Fengfu Li et al.: Ternary Weight
Networks, 2016, arXiv 1605.04711. As used by Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242. For the weights w of one
filter (one output channel)

| kind | integers w_q | scale s_w |
|---|---|---|
| binary | sign(w), sign(0) = 1 | mean abs(w) |
| ternary | sign(w) where abs(w) > 0.7 mean abs(w), else 0 | mean of abs(w) over those |
| 3, 4, 5, 8 (n bits) | round(w / s_w), in -(2^(n-1) - 1) .. 2^(n-1) - 1 | max abs(w) / (2^(n-1) - 1) |

so that w is about s_w w_q. Backward: straight through sign and round (`straight_through`), exact through the scales; where
XNOR-Net writes g / n for the gradient through the mean, this is the derivative itself. A filter of zeros has scale 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from modicum.quantization.straight_through import round_through, sign_through, ternary_through

Kind = Literal["binary", "ternary", "3", "4", "5", "8"]
THRESHOLD = 0.7
"""Of ternary weights, in units of the filter's mean absolute weight."""


class LowBitWeights(NamedTuple):
    """integers (O, ...) in the dtype of the weights, scale (O,)."""

    integers: Tensor
    scale: Tensor


def largest_weight(kind: Kind) -> int:
    """The largest absolute value that an integer of this kind has."""
    return 1 if kind in ("binary", "ternary") else 2 ** (int(kind) - 1) - 1


def weight_bits(kind: Kind) -> int:
    """Bits that one weight takes."""
    return {"binary": 1, "ternary": 2}.get(kind) or int(kind)


def low_bit_weights(w: Tensor, kind: Kind) -> LowBitWeights:
    """Integers and scales of weights w (O, ...), differentiable; see the module's table."""
    flat = w.flatten(1)
    size = flat.abs()
    if kind == "binary":
        return LowBitWeights(sign_through(w), size.mean(1))
    if kind == "ternary":
        threshold = (THRESHOLD * size.mean(1, keepdim=True)).detach()
        kept = size > threshold
        scale = (size * kept).sum(1) / kept.sum(1).clamp(min=1)
        return LowBitWeights(ternary_through(flat, threshold).view_as(w), scale)
    scale = size.amax(1) / largest_weight(kind)
    divisor = torch.where(scale > 0, scale, 1.0)
    return LowBitWeights(round_through(flat / divisor[:, None]).view_as(w), scale)


@torch.no_grad()
def integer_weights(w: Tensor, kind: Kind) -> LowBitWeights:
    """The same for inference: integers int8 (O, ...), scale (O,)."""
    integers, scale = low_bit_weights(w.detach(), kind)
    return LowBitWeights(integers.to(torch.int8), scale)

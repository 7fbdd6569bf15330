"""How large the value of a step will be, before memory is asked for: a file may declare any padding, whatever its own size.

A value may have `LEAST` numbers, or `TIMES` as many as a picture where those are more. No layer of a network that classifies
pictures comes near: 1,024 channels at the picture's full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from modicum.errors import ConfigError
from modicum.quantization.integer.pointwise import pooled_size
from modicum.quantization.integer.steps import Step

LEAST, TIMES = 1 << 24, 1024
LARGEST_PICTURE = 1 << 26
"""Numbers of a picture: 3 x 4,096 x 4,096 and some."""
_CONVOLUTIONS = ("low-bit", "carried", "convolution")
_POOLS = ("max_pool", "avg_pool", "code-pool")


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _windows(step: Step, sides: Sequence[int]) -> int:
    """Pixels of what a convolution or maxima over windows of pictures with these sides make."""
    o = step.options
    kernel = step.arrays["weight"].shape[2:] if step.op in _CONVOLUTIONS else o["kernel"]
    stride, padding, dilation = _pair(o["stride"]), _pair(o["padding"]), _pair(o.get("dilation", 1))
    found = zip(sides, _pair(kernel), stride, padding, dilation, strict=True)
    return prod(max(0, pooled_size(*each, bool(o.get("ceil")))) for each in found)


def numbers_of(step: Step, operands: Sequence[Any]) -> int:
    """Numbers in the value of a step on operands: tensors (B, C, H, W) and (B, D), codes (B, H, W, C) and (B, D)."""
    x, o = operands[0], step.options
    own = int(prod(x.shape))
    if x.ndim == 4 and step.op in (*_CONVOLUTIONS, *_POOLS):
        codes = step.op not in ("convolution", "max_pool", "avg_pool")
        sides, channels = (x.shape[1:3], x.shape[3]) if codes else (x.shape[2:], x.shape[1])
        made = len(step.arrays["weight"]) if step.op in _CONVOLUTIONS else channels
        return int(x.shape[0] * made * _windows(step, sides))
    if step.op in (*_CONVOLUTIONS, "linear"):
        return own // max(1, int(x.shape[-1])) * len(step.arrays["weight"])
    if step.op == "pad":
        sides, pad = list(x.shape), [int(side) for side in o["pad"]]
        for place in range(len(pad) // 2):
            sides[-1 - place] += pad[2 * place] + pad[2 * place + 1]
        return prod(max(0, side) for side in sides)
    if step.op == "adaptive_avg_pool":
        return int(prod(x.shape[:2]) * prod(_pair(o["size"])))
    if step.op == "expand":
        return max(own, int(x.shape[0] * prod(abs(int(side)) for side in o["shape"])))
    if step.op == "cat":
        return sum(int(prod(operand.shape)) for operand in operands)
    shapes = [operand.shape for operand in operands]
    shapes += [step.arrays["other"].shape] if "other" in step.arrays else []
    return int(prod(np.broadcast_shapes(*shapes))) if len(shapes) > 1 else own


def check_picture(shape: Sequence[int]) -> None:
    """`ConfigError` for pictures (C, H, W) of more numbers than any network is made for."""
    if prod(shape) > LARGEST_PICTURE:
        raise ConfigError(f"integer network: pictures of shape {tuple(shape)} have more than {LARGEST_PICTURE:,} numbers")


def check_size(step: Step, operands: Sequence[Any], picture: Sequence[int]) -> None:
    """`ConfigError` where a step would make a value out of all proportion to a picture (C, H, W)."""
    numbers, most = numbers_of(step, operands), max(LEAST, TIMES * prod(picture))
    if numbers > most:
        raise ConfigError(
            f"integer network: {step.op!r} of {step.where or 'the network'} makes {numbers:,} numbers of one picture "
            f"{tuple(picture)}, more than {most:,}"
        )

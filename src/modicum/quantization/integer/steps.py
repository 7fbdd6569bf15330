"""The program of an integer network: what it runs, what a file holds. Values lie in numbered places.

A value is either numbers, float32 (B, C, H, W) or (B, D), or codes, uint8 with the channels last, (B, H, W, C) or (B, D);
codes with signs are those modulo 256.

| op | does | options | arrays |
|---|---|---|---|
| convolution, linear | float layers | stride, padding, dilation, groups | weight, bias |
| affine | x scale + shift, both rounded (`norms`); becomes pointwise | | scale, shift |
| norm | torch's batch norm by its buffers | eps | mean, variance, weight, bias |
| names of `operations` | as there | as there | other: a constant operand |
| codes | clamp(round(x inverse), low, top) | inverse, low, top | |
| pointwise | act(x scale + shift + y), as numbers, as codes, or both | act, slope, numbers, codes | scale, shift |
| low-bit | codes -> sums m -> codes, numbers or sums | see `lowering` | weight, unit, scale, shift |
| cyclic | sums -> f(m) unit + shift | bits, cyclic, slope | unit, shift |
| carried | codes -> numbers, carries counted into the sums | see `lowering` | weight, unit, shift, mean |
| code-pool, code-reshape, code-shift | maxima of codes; flattened as numbers are; less a number modulo 256 | | |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Step(NamedTuple):
    """One operation: places it reads and writes, JSON-able options, arrays. where: qualified name in the float network."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    arrays: Mapping[str, Array]
    where: str


class Steps(NamedTuple):
    """Operations in order; pictures are in place 0, the result is in `output`. shape: (C, H, W) of a picture."""

    steps: tuple[Step, ...]
    output: int
    places: int
    shape: tuple[int, int, int]

    def last_use(self) -> list[int]:
        """For every place, the last operation that reads it, -1 where none does."""
        last = [-1] * self.places
        for index, step in enumerate(self.steps):
            for place in step.inputs:
                last[place] = index
        last[self.output] = len(self.steps)
        return last


def as_array(tensor: Any) -> Array:
    """A tensor's numbers, copied, in the order of its dimensions."""
    return np.array(tensor.detach().cpu().contiguous().numpy())

"""The form of a low-bit network: weights, accumulator, cyclic function; as options and as the ending of a backbone's name.

    conv4-64+low-bit-binary-8-smooth-2      binary weights, 8-bit accumulators that wrap, smooth modulo of slope 2
    vgg7+low-bit-ternary-none               ternary weights, accumulators wide enough for any sum

What training finds out for a layer (its step size, whether it runs low-bit yet, its carries) is no part of the name: it lies
in the layer's buffers, and so in every checkpoint. Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from modicum.errors import ConfigError

Weights = Literal["float", "binary", "ternary", "3", "4", "5"]
Cyclic = Literal["smooth", "absolute", "relu", "modulo", "none"]
MARK = "+low-bit-"
NARROWEST, WIDEST = 4, 16
"""Bits of an accumulator that wraps."""


@dataclass(frozen=True)
class LowBit:
    """What all quantised layers of a network share.

    weights: float leaves them as they are. accumulator: bits b of sums that wrap, None for exact ones. cyclic: what
    follows a sum m that wrapped: smooth (f of slope k), absolute (|m|), relu (max(f, 0)), modulo (m itself), none (the
    same in evaluation; training does not wrap). slope: k of smooth and relu. relu: whether the network keeps its ReLUs.
    ends: "float", or "8" where the first layer has 8-bit weights and inputs, and exact sums.
    """

    weights: Weights = "binary"
    accumulator: int | None = 8
    cyclic: Cyclic = "smooth"
    slope: float = 2.0
    relu: bool = True
    ends: Literal["float", "8"] = "float"

    def __post_init__(self) -> None:
        if self.weights not in get_args(Weights):
            raise ConfigError(f"weights: expected one of {', '.join(get_args(Weights))}, found {self.weights!r}")
        if self.cyclic not in get_args(Cyclic):
            raise ConfigError(f"cyclic: expected one of {', '.join(get_args(Cyclic))}, found {self.cyclic!r}")
        b = self.accumulator
        if b is not None and not NARROWEST <= b <= WIDEST:
            raise ConfigError(f"accumulator: expected {NARROWEST} to {WIDEST} bits or none, found {b}")
        if not 1 <= self.slope < float("inf"):
            raise ConfigError(
                f"slope: expected 1 or more and finite (without end it is --cyclic modulo), found {self.slope}"
            )

    @property
    def ending(self) -> str:
        """What stands behind the backbone's name, `MARK` included."""
        words = [self.weights, "none" if self.accumulator is None else str(self.accumulator)]
        if self.accumulator is not None:
            words.append(self.cyclic)
            words += [f"{self.slope:g}"] if self.cyclic in ("smooth", "relu") else []
        words += [] if self.relu else ["without-relu"]
        words += ["ends-8"] if self.ends == "8" else []
        return MARK + "-".join(words)


_ENDING = re.compile(
    r"(float|binary|ternary|3|4|5)-(?:none|(\d+)-(smooth|absolute|relu|modulo|none)(?:-(\d+(?:\.\d+)?))?)"
    r"(-without-relu)?(-ends-8)?"
)


def split_low_bit(backbone: str) -> tuple[str, LowBit | None]:
    """The name without its low-bit ending, and the form this says, None without one; `ConfigError` for another ending."""
    name, mark, ending = backbone.partition(MARK)
    if not mark:
        return name, None
    found = _ENDING.fullmatch(ending)
    if found is None:
        raise ConfigError(
            f"backbone: after {name!r} expected {MARK}WEIGHTS-BITS-CYCLIC-SLOPE, as {LowBit().ending}; found {mark}{ending}"
        )
    weights, bits, cyclic, slope, without, ends = found.groups()
    form = LowBit(
        weights,  # type: ignore[arg-type]
        None if bits is None else int(bits),
        cyclic or LowBit.cyclic,  # type: ignore[arg-type]
        float(slope) if slope else LowBit.slope,
        relu=without is None,
        ends="8" if ends else "float",
    )
    return name, form

"""What a kernel for low-bit convolutions is told: the sizes of a layer, and what becomes of its sums.

| symbol | here |
|---|---|
| x, codes (B, H, W, C) uint8 | `Shape.batch, height, width, channels` |
| w_q (O, kh, kw, C / groups) int8 | `Shape.out_channels, kernel_h, kernel_w, groups` |
| b, f, k | `Finish.bits, cyclic, slope` |
| unit = s_w s_x, batch norm as scale and shift | `Finish.unit, scale, shift`, float32 (O,) |

The same structures in C: `csrc/low_bit/low_bit.h`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, DataError
from modicum.registry import suggest

Output = Literal["sums", "codes", "numbers"]
Fold = Literal["none", "smooth", "absolute", "relu"]
Floats = npt.NDArray[np.float32]
Pair = int | Sequence[int]
EXACT = 32
"""Bits of sums that do not wrap."""
MOST = 2**40
"""Of a stride, padding or dilation: products of sizes stay within the 64 bits that C has."""


def _pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    both = (value, value) if isinstance(value, int) else tuple(int(v) for v in value)
    if len(both) != 2 or min(both) < least or max(both) > MOST:
        raise ConfigError(f"{name}: expected one or two whole numbers from {least} to 2^40, found {value!r}")
    return both[0], both[1]


class Shape(NamedTuple):
    """Sizes of one call, in the order of C's `low_bit_shape`. A linear layer is a 1x1 convolution of 1x1 pictures."""

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int
    groups: int

    @classmethod
    def of(
        cls,
        x: Sequence[int],
        weight: Sequence[int],
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> Shape:
        """From the shapes x (B, H, W, C) and weight (O, kh, kw, C / groups).

        Raises `DataError` where they do not fit each other, `ConfigError` for impossible strides and the like. A picture
        smaller than the kernel has no output pixels, which is no error.
        """
        if len(x) != 4 or len(weight) != 4:
            raise DataError(
                f"expected codes (B, H, W, C) and weights (O, kh, kw, C / groups), found {tuple(x)} and {tuple(weight)}"
            )
        batch, height, width, channels = x
        outs, kernel_h, kernel_w, depth = weight
        if groups < 1 or channels != depth * groups or outs % groups or min(outs, depth, kernel_h, kernel_w) < 1:
            raise DataError(f"codes {tuple(x)} and weights {tuple(weight)} do not fit each other in {groups} groups")
        (stride_h, stride_w), (pad_h, pad_w) = _pair("stride", stride, 1), _pair("padding", padding, 0)
        dilation_h, dilation_w = _pair("dilation", dilation, 1)
        out_h = max(0, (height + 2 * pad_h - dilation_h * (kernel_h - 1) - 1) // stride_h + 1)
        out_w = max(0, (width + 2 * pad_w - dilation_w * (kernel_w - 1) - 1) // stride_w + 1)
        sizes = (kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups)
        return cls(batch, height, width, channels, out_h, out_w, outs, *sizes)

    def resized(self, x: Sequence[int]) -> Shape:
        """The same layer on codes of shape x (B, H, W, C)."""
        s = self
        depth = s.channels // s.groups
        weight = (s.out_channels, s.kernel_h, s.kernel_w, depth)
        paddings = ((s.stride_h, s.stride_w), (s.pad_h, s.pad_w), (s.dilation_h, s.dilation_w))
        return Shape.of(x, weight, *paddings, s.groups)

    @property
    def taps(self) -> int:
        """Products of one sum, taps outside the picture counted."""
        return self.kernel_h * self.kernel_w * self.channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one call, taps outside the picture counted."""
        return self.batch * self.out_height * self.out_width * self.out_channels * self.taps


class FinishC(ctypes.Structure):
    """C's `low_bit_finish`."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("output", "bits", "cyclic", "top", "relu")),
        ("slope", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("unit", "scale", "shift")),
    )


@dataclass(frozen=True, eq=False)
class Finish:
    """What a layer does with its sums z, wrapped to m of `bits` bits (32: not wrapped).

    sums: m, int8 for b <= 8, int16 for b <= 16, else int32.
    codes: clamp(rint(fma(f(m), scale, shift)), 0, top), uint8; one rounding in the fma.
    numbers: ((f(m) * unit) * scale) + shift, float32, each operation rounded; then max(., 0) where relu.

    f: `none` m; `smooth` of slope k, `absolute` |m|, `relu` max(smooth, 0). Raises `ConfigError` for values out of range,
    `DataError` for arrays that are no float32 (O,).
    """

    output: Output = "sums"
    bits: int = 8
    cyclic: Fold = "none"
    slope: float = 2.0
    top: int = 255
    relu: bool = False
    unit: Floats | None = None
    scale: Floats | None = None
    shift: Floats | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("output", self.output, get_args(Output)), ("cyclic", self.cyclic, get_args(Fold))):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, found {value!r}{suggest(str(value), known)}")
        if not 2 <= self.bits <= EXACT:
            raise ConfigError(
                f"bits: expected 2 to 16 of a sum that wraps or {EXACT} of one that does not, found {self.bits}"
            )
        if self.bits == EXACT and self.cyclic != "none":
            raise ConfigError(f"cyclic: sums that do not wrap go with none, found {self.cyclic!r}")
        if not 1 <= self.slope < float("inf"):
            raise ConfigError(f"slope: expected a finite number of 1 or more, found {self.slope}")
        if not 0 <= self.top <= 255:
            raise ConfigError(f"top: expected the largest code, 0 to 255, found {self.top}")
        for name in self.arrays:
            value = getattr(self, name)
            if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.ndim != 1:
                raise DataError(f"{name}: expected float32 (O,) for output {self.output}, found {_described(value)}")
            object.__setattr__(self, name, np.ascontiguousarray(value))

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays this output reads."""
        return {"sums": (), "codes": ("scale", "shift"), "numbers": ("unit", "scale", "shift")}[self.output]

    @property
    def dtype(self) -> type[np.generic]:
        """Type of the result's elements."""
        if self.output != "sums":
            return np.uint8 if self.output == "codes" else np.float32
        return np.int8 if self.bits <= 8 else np.int16 if self.bits <= 16 else np.int32

    def check_channels(self, channels: int) -> None:
        """`DataError` where an array is not as long as there are output channels."""
        for name in self.arrays:
            if len(getattr(self, name)) != channels:
                raise DataError(
                    f"{name}: expected one number for each of {channels} channels, found {len(getattr(self, name))}"
                )

    @functools.cached_property
    def structure(self) -> FinishC:
        """For C; its arrays live as long as this object."""
        arrays = {name: getattr(self, name).ctypes.data for name in self.arrays}
        output, cyclic = get_args(Output).index(self.output), get_args(Fold).index(self.cyclic)
        whole = (output, self.bits, cyclic, self.top, int(self.relu))
        return FinishC(*whole, self.slope, *(arrays.get(name) for name in ("unit", "scale", "shift")))


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)

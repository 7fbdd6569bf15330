"""What stands between low-bit layers, in one pass over the data: see `csrc/low_bit/pointwise.c`; the same bits without it.

v = act(x scale + shift + y),   q = clamp(round(v inverse), low, top),   maxima over windows of v or q
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.errors import DataError
from modicum.kernels import library
from modicum.quantization.integer.buffers import empty

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
_ACTS = {"": 0, "relu": 1, "leaky_relu": 2}
_POOL = (
    "batch", "height", "width", "channels", "out_height", "out_width", "kernel_h", "kernel_w", "stride_h", "stride_w",
    "pad_h", "pad_w", "dilation_h", "dilation_w",
)  # fmt: skip


class _Pointwise(ctypes.Structure):
    _fields_ = (
        ("pixels", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("act", "low", "top")),
        *((name, ctypes.c_float) for name in ("slope", "inverse")),
        *((name, ctypes.c_void_p) for name in ("x", "scale", "shift", "y", "numbers", "codes")),
    )


class _Pool(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in _POOL)


@functools.cache
def _compiled() -> ctypes.CDLL | None:
    found = library()
    if found is None:
        return None
    try:
        found.modicum_low_bit_pointwise.argtypes = [ctypes.POINTER(_Pointwise)]
        for name in ("codes", "numbers"):
            function = getattr(found, f"modicum_low_bit_pool_{name}")
            function.argtypes = [ctypes.POINTER(_Pool), ctypes.c_void_p, ctypes.c_void_p]
            function.restype = None
        found.modicum_low_bit_pointwise.restype = None
    except AttributeError:
        return None
    return found


class Range(NamedTuple):
    """How numbers become codes."""

    inverse: float
    low: int
    top: int


class Pointwise(NamedTuple):
    """The constants of one pass. scale, shift: (C,) or None; act: "", "relu" or "leaky_relu" of `slope`.

    numbers: whether v is wanted; codes: how q is made, None where it is not wanted.
    """

    scale: Floats | None
    shift: Floats | None
    act: str
    slope: float
    numbers: bool
    codes: Range | None

    def __call__(self, x: Floats, y: Floats | None = None) -> tuple[Floats | None, Codes | None]:
        """(v, q) of x (..., C) and, if given, y of the same shape; None for what is not wanted.

        `DataError` for arrays of other types or sizes, which C would believe.
        """
        self._check(x, y)
        found = _compiled()
        if found is None or not x.size:
            return self.slowly(x, y)
        x = np.ascontiguousarray(x)
        y = None if y is None else np.ascontiguousarray(y)
        numbers = empty(x.shape, np.float32) if self.numbers else None
        codes = empty(x.shape, np.uint8) if self.codes is not None else None
        given = self.codes or Range(1.0, 0, 0)
        arrays = (x, self.scale, self.shift, y, numbers, codes)
        channels = x.shape[-1]
        found.modicum_low_bit_pointwise(
            _Pointwise(
                x.size // max(channels, 1),
                channels,
                _ACTS[self.act],
                given.low,
                given.top,
                self.slope,
                given.inverse,
                *(None if array is None else array.ctypes.data for array in arrays),
            )
        )
        return numbers, codes

    def _check(self, x: Floats, y: Floats | None) -> None:
        channels = x.shape[-1:]
        wanted = {"x": (x, x.shape), "y": (y, x.shape), "scale": (self.scale, channels), "shift": (self.shift, channels)}
        for name, (array, shape) in wanted.items():
            if array is not None and (array.dtype != np.float32 or array.shape != shape):
                raise DataError(f"{name}: expected float32 {shape}, found {array.dtype} {array.shape}")
        if (self.scale is None) != (self.shift is None):
            raise DataError("scale, shift: expected both or none")

    def slowly(self, x: Floats, y: Floats | None = None) -> tuple[Floats | None, Codes | None]:
        """The same by torch's operations, one after the other."""
        v = torch.from_numpy(np.ascontiguousarray(x))
        if self.scale is not None and self.shift is not None:
            v = v * torch.from_numpy(self.scale) + torch.from_numpy(self.shift)
        v = v if y is None else v + torch.from_numpy(np.ascontiguousarray(y))
        v = F.relu(v) if self.act == "relu" else F.leaky_relu(v, self.slope) if self.act else v
        codes = None if self.codes is None else quantised(v, self.codes)
        return v.numpy() if self.numbers else None, codes


def quantised(v: Tensor, by: Range) -> Codes:
    """Codes of numbers v, in their order in memory, with signs modulo 256."""
    q = torch.round(v * torch.tensor(by.inverse, dtype=torch.float32)).clamp_(by.low, by.top)
    codes: Codes = q.to(torch.int16).to(torch.uint8).numpy()
    return codes


def pooled_size(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """Windows along one side, as torch counts them."""
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    found = (room + (stride - 1 if ceil else 0)) // stride + 1
    return found - (ceil and (found - 1) * stride >= size + pad)


def max_pool(x: npt.NDArray[Any], options: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Maxima over windows of x (B, H, W, C); options: those of the operation max_pool.

    `DataError` for anything but uint8 and float32.
    """
    if x.dtype not in (np.uint8, np.float32):
        raise DataError(f"maxima: expected codes, uint8, or numbers, float32; found {x.dtype}")
    kernel, stride, pad, dilation = (_both(options[name]) for name in ("kernel", "stride", "padding", "dilation"))
    sides = zip(x.shape[1:3], kernel, stride, pad, dilation, strict=True)
    height, width = (pooled_size(*side, options["ceil"]) for side in sides)
    batch, _, _, channels = x.shape
    found = _compiled()
    if found is None:
        return _pooled_slowly(x, (height, width), kernel, stride, pad, dilation)
    x = np.ascontiguousarray(x)
    out = empty((batch, height, width, channels), x.dtype)
    name = "modicum_low_bit_pool_codes" if x.dtype == np.uint8 else "modicum_low_bit_pool_numbers"
    sizes = _Pool(*x.shape, height, width, *kernel, *stride, *pad, *dilation)
    getattr(found, name)(sizes, x.ctypes.data, out.ctypes.data)
    return out


def _both(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _pooled_slowly(
    x: npt.NDArray[Any],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    dilation: tuple[int, int],
) -> npt.NDArray[Any]:
    least = 0 if x.dtype == np.uint8 else -np.inf
    ends = [(n - 1) * s + d * (k - 1) + 1 for n, s, k, d in zip(size, stride, kernel, dilation, strict=True)]
    behind = [max(0, end - side - p) for end, side, p in zip(ends, x.shape[1:3], pad, strict=True)]
    x = np.pad(x, ((0, 0), (pad[0], behind[0]), (pad[1], behind[1]), (0, 0)), constant_values=least)
    windows = [
        x[:, i * dilation[0] :: stride[0], j * dilation[1] :: stride[1]][:, : size[0], : size[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    out: npt.NDArray[Any] = np.maximum.reduce(windows)
    return out

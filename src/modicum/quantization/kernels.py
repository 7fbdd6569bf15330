"""Low-bit convolutions on integers: which compiled kernel runs where, and the one way to call them.

    packed = pack(weights, "binary", shape)                      once a layer
    out = convolve(codes, packed, Finish("codes", 8, "smooth"))  uint8 (B, H, W, C) -> (B, H', W', O)

Weights are int8 (O, kh, kw, C / groups) in {-1, 1} (binary), {-1, 0, 1} (ternary) or -128..127 (int8). Kernels of
`csrc/low_bit` are tried from the fastest on; the first that runs on this processor and supports the layer is taken.
`MODICUM_KERNELS=portable` in the environment or `with using("portable"):` asks for another one; "numpy" is the one in
`numpy_kernel.py`, which does the work where nothing is compiled. Results are the same to the bit whichever runs, and
whatever the number of threads. (`swar-carry` alone makes other sums: see its file.)

`wide` says how sums are made: 0 in 8-bit lanes, for b <= 8 bits and weights of one or two bits; otherwise exactly or
modulo 2^16, and then it says what the codes are: 1..8 for codes below 2^wide, `SIGNED` for -128..127 as x mod 256.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from modicum.errors import ConfigError, DataError
from modicum.quantization import numpy_kernel
from modicum.quantization.choosing import (
    KINDS,
    NUMPY,
    SIGNED,
    Chosen,
    Kind,
    ShapeC,
    chosen,
    compiled,
    kernels,
    numbers,
    using,
)
from modicum.quantization.shapes import EXACT, Finish, Shape

__all__ = [
    "EXACT", "SIGNED", "Chosen", "Finish", "Kind", "Packed", "Shape", "chosen", "convolve", "kernels", "pack", "using",
]  # fmt: skip
_LIMITS: dict[str, tuple[int, int]] = {"binary": (-1, 1), "ternary": (-1, 1), "int8": (-128, 127)}
_LINE = 64  # bytes that packed weights and scratch are aligned to
_scratches = threading.local()


@dataclass(frozen=True, eq=False)
class Packed:
    """Weights of a layer as one kernel wants them. They serve pictures of any number and size.

    bits: the most bits of a sum they serve. why: see `Chosen`.
    """

    kernel: str
    shape: Shape
    kind: Kind
    bits: int
    wide: int
    data: npt.NDArray[np.int8]
    why: str = ""

    _sizes: dict[tuple[int, ...], tuple[Shape, ShapeC]] = field(default_factory=dict)

    def resized(self, x: tuple[int, ...]) -> tuple[Shape, ShapeC]:
        """The layer on codes of shape x (B, H, W, C). `DataError` for other channels."""
        if len(x) != 4 or x[3] != self.shape.channels:
            raise DataError(f"codes: expected (B, H, W, {self.shape.channels}), found {x}")
        if x not in self._sizes:
            if len(self._sizes) > 16:  # pictures of ever other sizes
                self._sizes.clear()
            shape = self.shape.resized(x)
            self._sizes[x] = shape, ShapeC(*shape)
        return self._sizes[x]


def _aligned(size: int) -> npt.NDArray[np.int8]:
    raw = np.empty(size + _LINE, np.int8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size]


def pack(
    weights: npt.NDArray[np.int8], kind: Kind, shape: Shape, wide: int = 0, kernel: str | None = None, *, bits: int = 0
) -> Packed:
    """Weights int8 (O, kh, kw, C / groups) for the fastest kernel, or for `kernel` where it supports the layer.

    bits: those of the sums, 32 for exact ones; 0 stands for 8, or 32 where `wide`. Raises `DataError` where weights are not
    of this kind or shape, `ConfigError` as `chosen` does.
    """
    bits = bits or (EXACT if wide else 8)
    name, why = chosen(shape, kind, bits, wide, kernel)
    expected = (shape.out_channels, shape.kernel_h, shape.kernel_w, shape.channels // shape.groups)
    if weights.dtype != np.int8 or weights.shape != expected:
        raise DataError(f"weights: expected int8 {expected}, found {weights.dtype} {weights.shape}")
    low, high = _LIMITS[kind]
    if weights.min() < low or weights.max() > high or (kind == "binary" and not weights.all()):
        values = sorted(int(v) for v in np.unique(weights))
        raise DataError(f"weights: expected {kind} ones, found the values {', '.join(map(str, values[:8]))}")
    weights = np.ascontiguousarray(weights)
    found = compiled()
    if name == NUMPY or found is None:
        return Packed(name, shape, kind, bits, wide, weights.copy(), why)
    number, sizes = numbers()[name], ShapeC(*shape)
    data = _aligned(found.modicum_low_bit_packed_bytes(number, sizes, KINDS[kind], wide))
    found.modicum_low_bit_pack(number, sizes, KINDS[kind], wide, weights.ctypes.data, data.ctypes.data)
    return Packed(name, shape, kind, bits, wide, data, why)


def _scratch(size: int) -> int:
    """Address of at least `size` bytes that are this thread's own; kept, because fresh pages cost more than a layer."""
    held: npt.NDArray[np.int8] | None = getattr(_scratches, "held", None)
    if held is None or len(held) < size:
        held = _scratches.held = _aligned(size)
    return held.ctypes.data


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked one makes its own, for it has none of its parent's."""
    return ThreadPoolExecutor(threads, "low-bit")


def convolve(
    x: npt.NDArray[np.uint8],
    packed: Packed,
    finish: Finish,
    threads: int = 1,
    out: npt.NDArray[np.generic] | None = None,
) -> npt.NDArray[np.generic]:
    """The layer on codes x (B, H, W, C): (B, H', W', O) of `finish.dtype`, in `out` where given.

    Output rows are shared out among the threads. Raises `DataError` for codes of another type or number of channels, or
    arrays of `finish` that are not as long as O; `ConfigError` where the weights were packed for fewer bits than asked.
    """
    if x.dtype != np.uint8:
        raise DataError(f"codes: expected uint8, found {x.dtype}")
    if finish.bits > packed.bits:
        raise ConfigError(f"bits: weights were packed for sums of {packed.bits} bits, found {finish.bits}")
    shape, sizes = packed.resized(x.shape)
    finish.check_channels(shape.out_channels)
    x = np.ascontiguousarray(x)
    expected = (shape.batch, shape.out_height, shape.out_width, shape.out_channels)
    if out is None:
        out = np.empty(expected, finish.dtype)
    elif out.shape != expected or out.dtype != finish.dtype or not out.flags.c_contiguous:
        raise DataError(f"out: expected contiguous {np.dtype(finish.dtype)} {expected}, found {out.dtype} {out.shape}")
    if packed.kernel == NUMPY:
        out[:] = numpy_kernel.convolve(x, packed.data, shape, packed.wide == SIGNED, finish)
        return out
    rows = shape.batch * shape.out_height
    parts = max(1, min(threads, rows))
    ends = [rows * i // parts for i in range(parts + 1)]
    if parts == 1:
        _rows(x, packed, sizes, finish, 0, rows, out)
    else:
        tasks = [(x, packed, sizes, finish, a, b, out) for a, b in itertools.pairwise(ends)]
        pool = _pool(parts, os.getpid())
        for done in [pool.submit(_rows, *task) for task in tasks]:
            done.result()
    return out


def _rows(
    x: npt.NDArray[np.uint8],
    packed: Packed,
    sizes: ShapeC,
    finish: Finish,
    first: int,
    last: int,
    out: npt.NDArray[np.generic],
) -> None:
    """Output rows first <= row < last; ctypes lets other threads run meanwhile."""
    found = compiled()
    assert found is not None
    form = (numbers()[packed.kernel], sizes, KINDS[packed.kind], packed.wide)
    scratch = _scratch(found.modicum_low_bit_scratch_bytes(*form, last - first))
    where = (x.ctypes.data, packed.data.ctypes.data, first, last, scratch)
    found.modicum_low_bit_convolve(*form, *where, finish.structure, out.ctypes.data)

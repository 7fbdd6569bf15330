"""The kernels of `csrc/low_bit` in numpy, the same to the bit: what runs where no compiler was there at installation.

Sums are made by float64 products, exact below 2^53. A fused multiply-add of float32 is made in float64: the product is
exact there; its sum with the third number is rounded to odd (the last bit set wherever anything was cut off), and
rounding that to float32 gives the float32 next to the exact value, since 53 >= 2 * 24 + 2 (Boldo and Melquiond, 2008).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from modicum.quantization.shapes import EXACT, Finish, Floats, Shape

Codes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
_BLOCK = 1 << 22  # elements of the largest temporary


def fused(a: Floats, b: Floats, c: Floats) -> Floats:
    """a b + c with one rounding, float32, of arrays that go together by broadcasting."""
    product, addend = np.broadcast_arrays(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64))
    total = product + addend
    back = total - product
    error = (product - (total - back)) + (addend - back)  # exact: what `total` lost
    bits = total.view(np.int64)
    even = (error != 0) & (bits & 1 == 0)
    away = np.where((error > 0) == (total > 0), 1, -1)
    odd: Floats = np.where(even, bits + away, bits).view(np.float64).astype(np.float32)
    return odd


def wrapped(z: Integers, bits: int) -> Integers:
    """m = mod(z + 2^(b-1), 2^b) - 2^(b-1); z itself for 32 bits, which hold every sum of a layer."""
    if bits >= EXACT:
        return z
    half = 1 << (bits - 1)
    return ((z + half) & (2 * half - 1)) - half


def folded(m: Integers, finish: Finish) -> Floats:
    """f(m), float32."""
    number = m.astype(np.float32)
    if finish.cyclic == "none":
        return number
    if finish.cyclic == "absolute":
        return np.abs(number)
    size = np.abs(number)
    after = (finish.slope * (2.0 ** (finish.bits - 1) - size.astype(np.float64))).astype(np.float32)
    value = np.copysign(np.minimum(size, after), number) + np.float32(0)  # no -0
    return np.where(value > 0, value, np.float32(0)) if finish.cyclic == "relu" else value


def finished(m: Integers, finish: Finish) -> npt.NDArray[np.generic]:
    """What the layer gives on, of wrapped sums m (..., O)."""
    if finish.output == "sums":
        return m.astype(finish.dtype)
    value = folded(m, finish)
    assert finish.scale is not None
    assert finish.shift is not None
    if finish.output == "codes":
        value = fused(value, finish.scale, finish.shift)
        value = np.where(value > 0, value, np.float32(0))
        return np.rint(np.where(value < finish.top, value, np.float32(finish.top))).astype(np.uint8)
    assert finish.unit is not None
    number = ((value * finish.unit) * finish.scale) + finish.shift
    return np.where(number > 0, number, np.float32(0)) if finish.relu else number


def sums(x: Codes, weights: npt.NDArray[np.int8], shape: Shape, signed: bool) -> Integers:
    """z (B, H', W', O), exact, of codes x (B, H, W, C) and weights (O, kh, kw, C / groups)."""
    s = shape
    values = x.view(np.int8).astype(np.float64) if signed else x.astype(np.float64)
    padded = np.pad(values, ((0, 0), (s.pad_h, s.pad_h), (s.pad_w, s.pad_w), (0, 0)))
    out = np.zeros((s.batch, s.out_height, s.out_width, s.groups, s.out_channels // s.groups))
    grouped = weights.reshape(s.groups, -1, *weights.shape[1:]).astype(np.float64)
    for ky in range(s.kernel_h if out.size else 0):
        for kx in range(s.kernel_w):
            top, left = ky * s.dilation_h, kx * s.dilation_w
            seen = padded[:, top :: s.stride_h, left :: s.stride_w][:, : s.out_height, : s.out_width]
            split = seen.reshape(*seen.shape[:3], s.groups, -1)
            for group in range(s.groups):
                out[..., group, :] += split[..., group, :] @ grouped[group, :, ky, kx].T
    return out.reshape(s.batch, s.out_height, s.out_width, s.out_channels).astype(np.int64)


def convolve(x: Codes, weights: npt.NDArray[np.int8], shape: Shape, signed: bool, finish: Finish) -> npt.NDArray[np.generic]:
    """What `kernels.convolve` gives, (B, H', W', O); a few pictures at a time."""
    out = np.empty((shape.batch, shape.out_height, shape.out_width, shape.out_channels), finish.dtype)
    each = max(1, shape.height * shape.width * shape.channels + shape.out_height * shape.out_width * shape.out_channels)
    step = max(1, _BLOCK // each)
    for start in range(0, shape.batch, step):
        part = x[start : start + step]
        z = sums(part, weights, shape._replace(batch=len(part)), signed)
        out[start : start + step] = finished(wrapped(z, finish.bits), finish)
    return out

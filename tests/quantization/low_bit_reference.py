"""A layer written as its definition: slow loops over every product, in Python's whole numbers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from modicum.quantization.shapes import Finish, Shape


def slow_sums(x: np.ndarray, weights: np.ndarray, shape: Shape) -> np.ndarray:
    """z (B, H', W', O) int64 of whole numbers x (B, H, W, C) and weights (O, kh, kw, C / groups)."""
    s = shape
    z = np.zeros((s.batch, s.out_height, s.out_width, s.out_channels), np.int64)
    depth, outs = s.channels // s.groups, s.out_channels // s.groups
    for b, i, j, o in np.ndindex(*z.shape):
        group = o // outs
        for ky in range(s.kernel_h):
            for kx in range(s.kernel_w):
                row = i * s.stride_h - s.pad_h + ky * s.dilation_h
                column = j * s.stride_w - s.pad_w + kx * s.dilation_w
                if 0 <= row < s.height and 0 <= column < s.width:
                    seen = x[b, row, column, group * depth : (group + 1) * depth].astype(np.int64)
                    z[b, i, j, o] += int((seen * weights[o, ky, kx]).sum())
    return z


def slow_fold(m: int, finish: Finish) -> Fraction:
    """f(m), exact."""
    half, slope = Fraction(2 ** (finish.bits - 1)), Fraction(finish.slope)
    if finish.cyclic == "none":
        return Fraction(m)
    if finish.cyclic == "absolute":
        return Fraction(abs(m))
    limit = slope / (slope + 1) * half
    value = Fraction(m) if abs(m) <= limit else (slope * half if m > 0 else -slope * half) - slope * m
    return max(value, Fraction(0)) if finish.cyclic == "relu" else value


def nearest(value: Fraction, step: Fraction = Fraction(1)) -> Fraction:
    """The multiple of `step` next to `value`, ties to the even one (Python's round of a fraction does this)."""
    return round(value / step) * step


def slow_code(m: int, finish: Finish, channel: int) -> int:
    """clamp(rint(fma(f(m), scale, shift)), 0, top): one rounding to 24 bits, then one to a whole number."""
    assert finish.scale is not None
    assert finish.shift is not None
    exact = slow_fold(m, finish) * Fraction(float(finish.scale[channel])) + Fraction(float(finish.shift[channel]))
    size = abs(exact)
    if size == 0:
        return 0
    exponent = 0
    while size >= 2:
        size, exponent = size / 2, exponent + 1
    while size < 1:
        size, exponent = size * 2, exponent - 1
    rounded = nearest(exact, Fraction(2) ** (exponent - 23))
    return min(max(int(nearest(rounded)), 0), finish.top)

"""Weights of few bits as bytes: 1 bit for binary ones, 2 for ternary ones, n for those of 3 to 8 bits.

A weight w becomes a number u >= 0 of n bits, u = (w + 1) / 2 (binary), w + 1 (ternary), w + 2^(n-1) (others); numbers lie
one behind the other in the order of the array, the lowest bit of each first, and fill up the lowest bits of a byte first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from modicum.errors import FileFormatError
from modicum.quantization.weights import Kind, weight_bits

Bytes = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.int8]


def _lowest(kind: Kind) -> int:
    return -1 if kind in ("binary", "ternary") else -(2 ** (weight_bits(kind) - 1))


def packed_size(shape: Sequence[int], kind: Kind) -> int:
    """Bytes that weights of a shape take."""
    return (prod(shape) * weight_bits(kind) + 7) // 8


def pack_weights(weights: Weights, kind: Kind) -> Bytes:
    """The bytes of weights of any shape, all of which the kind must have."""
    bits = weight_bits(kind)
    numbers = weights.reshape(-1).astype(np.int16) - _lowest(kind)
    numbers = numbers // 2 if kind == "binary" else numbers
    planes = (numbers[:, None] >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8).reshape(-1), bitorder="little")


def unpack_weights(data: Bytes, shape: Sequence[int], kind: Kind) -> Weights:
    """Weights of a shape from their bytes; `FileFormatError` for too few or too many, and for numbers no weight has."""
    bits, count = weight_bits(kind), prod(shape)
    if len(data) != packed_size(shape, kind):
        raise FileFormatError(f"weights: expected {packed_size(shape, kind)} bytes for {tuple(shape)}, found {len(data)}")
    planes = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    numbers = (planes.astype(np.int16) << np.arange(bits, dtype=np.int16)).sum(1, dtype=np.int16)
    weights = numbers * 2 - 1 if kind == "binary" else numbers + _lowest(kind)
    if kind != "binary" and count and (weights.max() > -_lowest(kind) - (kind != "ternary") or weights.min() < -127):
        raise FileFormatError(f"weights: a number that no weight of kind {kind!r} has")
    out: Weights = weights.astype(np.int8).reshape(shape)
    return out

"""A checksum at the speed of memory: the sum over 32-bit words w_i of w_i (2 i + 1), modulo 2^64.

It tells lost, torn, exchanged and zeroed pieces and every change of one word; it is no defence against an adversary. Sums
over neighbouring pieces, each with the number of its first word, add up to that of the whole.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from modicum.kernels import library

MASK = (1 << 64) - 1
_WORDS = 1 << 20  # of the numpy path at a time


def checksum(data: npt.NDArray[Any], first: int = 0) -> int:
    """The sum over a contiguous array's words, padded with zeros, the first of which is word number `first`."""
    raw = data.reshape(-1).view(np.uint8)
    if len(raw) % 4:
        raw = np.concatenate([raw, np.zeros(-len(raw) % 4, np.uint8)])
    words = raw.view(np.uint32)
    compiled = _library()
    if compiled is not None:
        return int(compiled.modicum_checksum(words.ctypes.data, len(words), first & 0xFFFFFFFF))
    total = 0
    for start in range(0, len(words), _WORDS):
        part = words[start : start + _WORDS].astype(np.uint64)
        weights = (np.arange(len(part), dtype=np.uint64) + np.uint64(first + start)) * np.uint64(2) + np.uint64(1)
        total += int((part * (weights & np.uint64(0xFFFFFFFF))).sum(dtype=np.uint64))
    return total & MASK


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernels with the type of the one used here, or None where there are none."""
    found = library()
    if found is not None:
        found.modicum_checksum.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32]
        found.modicum_checksum.restype = ctypes.c_uint64
    return found

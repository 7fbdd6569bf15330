"""Memory for the values of a network, used again from picture to picture: fresh pages cost more than many a layer.

A block is free again when nothing refers to it any more, which Python's own count of references says: arrays and tensors
that look into a block hold one. So values may be kept, sliced and reshaped like any other array.
"""

from __future__ import annotations

import sys
import threading
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST = 1 << 16
"""Bytes below which the system's allocator is as good."""
_FREE = 3  # references to a block that nobody uses: the list's, the loop's, getrefcount's own
_held = threading.local()


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of any content, as `numpy.empty` makes, in a block of this thread's that nothing else refers to."""
    kind = np.dtype(dtype)
    size = prod(shape) * kind.itemsize
    if size < SMALLEST:
        return np.empty(shape, kind)
    blocks: list[npt.NDArray[np.uint8]] = _held.__dict__.setdefault("blocks", [])
    found = None
    for block in blocks:
        fits = size <= len(block) <= 2 * size and (found is None or len(block) < len(found))
        if fits and sys.getrefcount(block) == _FREE + (block is found):
            found = block
    if found is None:
        found = np.empty(-(-size // SMALLEST) * SMALLEST, np.uint8)
        blocks.append(found)
    return np.ndarray(shape, kind, found)


def release() -> None:
    """Let go of this thread's blocks; those in use live on as long as they are."""
    _held.__dict__.pop("blocks", None)

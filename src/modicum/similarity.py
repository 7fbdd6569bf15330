"""Similarities whose value depends on the two rows alone: not on batch size, position, threads or machine.

A matrix product changes the order of its additions with the shape of the batch, so the same two rows get other last
bits in another batch, and ties between neighbours fall differently. Here the order is fixed (D columns, 8 lanes):

    lane_l = sum over d = l, l + 8, l + 16, ... of a_d b_d, in rising d, from 0.0        l in 0..7, float64
    dot    = ((lane_0 + lane_4) + (lane_2 + lane_6)) + ((lane_1 + lane_5) + (lane_3 + lane_7))
    cosine = dot(a, b) / (sqrt(dot(a, a)) sqrt(dot(b, b)))

Products of float32 values are exact in float64. `csrc/similarity.c` does this where a compiler was there at
installation; the numpy lines below do it elsewhere and give the same bits.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.kernels import library

Rows = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

LANES = 8
_BLOCK = 1 << 22  # float64 values of the numpy path's largest temporary (32 MB)


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernels with the types of those used here, or None where there are none."""
    found = library()
    return None if found is None else _typed(found)


def _typed(found: ctypes.CDLL) -> ctypes.CDLL:
    rows, values, whole, number = (
        np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS"),
        np.ctypeslib.ndpointer(np.float64, flags=("C_CONTIGUOUS", "WRITEABLE")),
        np.ctypeslib.ndpointer(np.int64, flags="C_CONTIGUOUS"),
        ctypes.c_int64,
    )
    found.modicum_dots.argtypes = [rows, rows, number, number, number, values]
    found.modicum_squares.argtypes = [rows, number, number, values]
    found.modicum_row_dots.argtypes = [rows, number, rows, number, whole, whole, values]
    found.modicum_dots.restype = found.modicum_squares.restype = found.modicum_row_dots.restype = None
    return found


def kernel_available() -> bool:
    """Whether the compiled kernel is used; results are the same to the bit without it, only slower."""
    return _library() is not None


def _lanes(x: Rows) -> Values:
    """Rows (n, D) as float64 (n, ceil(D / 8), 8), padded with zeros, which change no sum."""
    blocks = -(-x.shape[1] // LANES)
    out = np.zeros((x.shape[0], blocks * LANES))
    out[:, : x.shape[1]] = x
    return out.reshape(x.shape[0], blocks, LANES)


def _join(lane: Values) -> Values:
    """Sum of the lanes (..., 8) -> (...) in the documented order."""
    even = (lane[..., 0] + lane[..., 4]) + (lane[..., 2] + lane[..., 6])
    odd = (lane[..., 1] + lane[..., 5]) + (lane[..., 3] + lane[..., 7])
    joined: Values = even + odd
    return joined


def _dots_numpy(query: Rows, keys: Rows) -> Values:
    """The kernel `modicum_dots` in numpy: (Q, D) and (n, D) -> (Q, n)."""
    out = np.empty((len(query), len(keys)))
    step = max(1, _BLOCK // max(1, len(keys) * LANES))
    blocks = _lanes(keys)
    for start in range(0, len(query), step):
        part = _lanes(query[start : start + step])
        lane = np.zeros((len(part), len(keys), LANES))
        for block in range(blocks.shape[1]):
            lane += part[:, None, block] * blocks[None, :, block]
        out[start : start + step] = _join(lane)
    return out


def _squares_numpy(x: Rows) -> Values:
    """The kernel `modicum_squares` in numpy: (n, D) -> (n,)."""
    blocks = _lanes(x)
    lane = np.zeros((len(x), LANES))
    for block in range(blocks.shape[1]):
        lane += blocks[:, block] * blocks[:, block]
    return _join(lane)


def _dots(query: Rows, keys: Rows) -> Values:
    compiled = _library()
    if compiled is None:
        return _dots_numpy(query, keys)
    out = np.empty((len(query), len(keys)))
    compiled.modicum_dots(query, keys, len(query), len(keys), query.shape[1], out)
    return out


def _squares(x: Rows) -> Values:
    compiled = _library()
    if compiled is None:
        return _squares_numpy(x)
    out = np.empty(len(x))
    compiled.modicum_squares(x, len(x), x.shape[1], out)
    return out


def squared_lengths(x: Rows) -> Values:
    """Dot product of every row of a contiguous float32 (n, D) with itself, float64 (n,), in the fixed order."""
    return _squares(x)


def row_dots(query: Rows, keys: Rows, start: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Values:
    """Dot products of chosen rows in the fixed order: entry i is that of query q and keys[rows[i]], where q is the query
    with start[q] <= i < start[q + 1]. float64, as long as rows.

    query (Q, D) and keys (n, D) contiguous float32, start (Q + 1,) rising from 0, rows within 0..n - 1; none is checked.
    """
    out = np.empty(len(rows))
    if (compiled := _library()) is not None:
        compiled.modicum_row_dots(query, len(query), keys, query.shape[1], start, rows, out)
        return out
    for q in range(len(query)):
        out[start[q] : start[q + 1]] = _dots_numpy(query[q : q + 1], keys[rows[start[q] : start[q + 1]]])[0]
    return out


def _checked(query: npt.ArrayLike, keys: npt.ArrayLike) -> tuple[Rows, Rows]:
    a, b = (np.ascontiguousarray(x, dtype=np.float32) for x in (query, keys))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"query and keys: expected (Q, D) and (n, D) with one D, found {a.shape} and {b.shape}")
    return a, b


def dot_similarities(query: npt.ArrayLike, keys: npt.ArrayLike) -> Values:
    """Dot products, float64 (Q, n), of query (Q, D) and keys (n, D), read as float32.

    Raises `DataError` where the shapes do not fit. Entry (i, j) is a function of rows i and j alone.
    """
    return _dots(*_checked(query, keys))


def cosine_similarities(query: npt.ArrayLike, keys: npt.ArrayLike) -> Values:
    """Cosines in [-1, 1], float64 (Q, n), of query (Q, D) and keys (n, D), read as float32; 0 for a row of zeros.

    Raises `DataError` where the shapes do not fit. Entry (i, j) is a function of rows i and j alone.
    """
    a, b = _checked(query, keys)
    norms = np.sqrt(_squares(a))[:, None] * np.sqrt(_squares(b))[None, :]
    dots = _dots(a, b)
    cosines: Values = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return cosines.clip(-1.0, 1.0)

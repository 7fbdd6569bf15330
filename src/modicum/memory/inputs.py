"""What callers give to a memory, checked and brought into one form. Every refusal is a `DataError`, before any change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modicum.errors import DataError
from modicum.memory.types import ID_BITS

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows


def as_rows(rows: npt.ArrayLike, dim: int, metric: str, what: str, *, keys: bool) -> Rows:
    """float32 (n, D). Refused: another shape, NaN or infinity; among keys a row of zeros under cosine."""
    try:
        with np.errstate(over="ignore"):  # becomes infinity, which is refused below
            found = np.ascontiguousarray(rows, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that requires its gradient
        raise DataError(f"{what}: expected numbers (n, {dim}), found {type(rows).__name__} ({error})") from error
    if found.ndim != 2 or found.shape[1] != dim:
        hint = "; one embedding is (1, D)" if found.ndim == 1 else ""
        raise DataError(
            f"{what}: this memory holds embeddings of {dim} numbers, expected (n, {dim}), found {found.shape}{hint}"
        )
    bad = np.flatnonzero(~np.isfinite(found).all(1))
    if len(bad):
        raise DataError(
            f"{what}: expected finite float32 numbers, found NaN or infinity in row {bad[0]} ({len(bad)} such rows)"
        )
    zero = np.flatnonzero(~found.any(1)) if keys and metric == "cosine" else bad
    if len(zero):
        raise DataError(
            f"{what}: row {zero[0]} is all zeros, which has no direction and so no cosine ({len(zero)} such rows)"
        )
    return found


def _array(ids: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what}: expected ids, whole numbers, rows of one length; found {type(ids).__name__} ({error})"
        ) from error


def as_ids(ids: npt.ArrayLike, what: str = "ids") -> Ints:
    """int64 (n,). Refused: anything but whole numbers 0 <= id < 2^53 in one row."""
    found = _array(ids, what)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.ndim > 1 or found.dtype.kind not in "iu":
        raise DataError(f"{what}: expected whole numbers (n,), found {found.dtype} {found.shape}")
    found = found.reshape(-1)
    wrong = found[(found < 0) | (found >= 1 << ID_BITS)]
    if len(wrong):
        raise DataError(f"{what}: expected 0 <= id < 2^{ID_BITS}, found {int(wrong[0])}")
    return found.astype(np.int64)


def as_exclude(exclude: npt.ArrayLike | None, queries: int) -> Ints:
    """Excluded ids int64 (Q, m), -1 for none; m may be 0. Refused: another number of rows."""
    if exclude is None:
        return np.zeros((queries, 0), np.int64)
    found = _array(exclude, "exclude")
    shape, found = found.shape, found.reshape(len(found), 1) if found.ndim == 1 else found
    if found.ndim != 2 or len(found) != queries or (found.size and found.dtype.kind not in "iu"):
        raise DataError(f"exclude: expected ids ({queries},) or ({queries}, m), found {found.dtype} {shape}")
    return found.astype(np.int64)


def as_texts(values: Sequence[str | None] | None, n: int, what: str) -> list[str | None]:
    """n labels, texts or digests, or n times None. Refused: another number, another type."""
    if values is None:
        return [None] * n
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != n:
        sized = not isinstance(values, str) and hasattr(values, "__len__")
        found = str(len(values)) if sized else "one text" if isinstance(values, str) else type(values).__name__
        raise DataError(f"{what}: expected {n}, one for each embedding, found {found}")
    for value in values:
        check_text(value, what)
    return list(values)


def as_names(values: Sequence[str], n: int) -> list[str]:
    """n names. Refused as in `as_texts`, and None, and a name that stands there twice."""
    found = [value for value in as_texts(values, n, "names") if value is not None]
    if len(found) < n:
        raise DataError("names: expected a name for each embedding, found None")
    if len(set(found)) < n:
        twice = next(name for name in found if found.count(name) > 1)
        raise DataError(f"names: {twice!r} stands there more than once; names are unique within a source")
    return found


def check_text(value: str | None, what: str, longest: int | None = None) -> None:
    """Refuse what is neither text nor None, or is no Unicode, or has more than `longest` bytes of UTF-8."""
    if value is None:
        return
    if not isinstance(value, str):
        raise DataError(f"{what}: expected text or None, found {value!r} ({type(value).__name__})")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise DataError(f"{what}: {value!a} is not Unicode text") from error
    if longest is not None and size > longest:
        raise DataError(f"{what}: {value[:40]!r}... has {size:,} bytes; this store takes {longest:,} at most, so shorten it")


def check_unique(ids: Ints, what: str = "ids") -> None:
    """Refuse an id that stands there twice."""
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{what}: {int(values[counts > 1][0])} stands there more than once; expected every id once")


def check_k(k: int, items: int, excluded: int = 0) -> None:
    """Refuse k < 1, an empty memory, and more neighbours than there are."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise DataError(f"k: expected at least 1 neighbour, found {k!r}")
    if items == 0:
        raise DataError("the memory is empty, so nothing is near; add items first")
    if k > items - excluded:
        without = f", {excluded} of them excluded" if excluded else ""
        raise DataError(f"k: the memory has {items:,} items{without}; expected at most {items - excluded}, found {k}")

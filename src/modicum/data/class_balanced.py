"""Batches in which classes weigh otherwise than by their pictures: class-balanced, square-root, progressively balanced.

Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020, arXiv 1910.09217, sec. 3:

    p_c = n_c^q / sum_k n_k^q              q = 1: as the pictures are; 1/2: square-root; 0: every class alike
    p_c(t) = (1 - t / T) n_c / n + (t / T) / C                    progressively balanced, at step t of T

| symbol | variable | is |
|---|---|---|
| n_c, n | `ClassRows.sizes` | pictures of class c, of all |
| q | power | |
| B | size | pictures of a batch |

Every batch is a pure function of (seed, step). Classes are drawn by systematic sampling in a fresh order: class c comes
floor(B p_c) or ceil(B p_c) times, B p_c on average, where independent draws would vary more. Pictures of a class repeat
in a batch only when all are in it. Deviation: Kang et al.'s code draws classes and pictures from queues that are shuffled
when they are empty, whose state a resumed run would have to keep.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.configs.options import require
from modicum.errors import DataError
from modicum.runtime import philox

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class ClassRows(NamedTuple):
    """Rows sorted by class (n,), where each class begins among them (C,), how many rows it has (C,), its label (C,)."""

    rows: Ints
    start: Ints
    sizes: Ints
    labels: Ints


def class_rows(labels: NDArray[np.integer]) -> ClassRows:
    """The rows of each class that occurs in labels (n,), made once for many batches; `DataError` without any."""
    if len(labels) == 0:
        raise DataError("labels: expected at least one picture to draw from, found none")
    found, start, sizes = np.unique(np.sort(labels), return_index=True, return_counts=True)
    return ClassRows(np.argsort(labels, kind="stable"), start, sizes, found.astype(np.int64))


def class_shares(sizes: Ints, power: float) -> Floats:
    """p (C,) of classes with so many pictures (C,)."""
    weights = sizes.astype(np.float64) ** power
    shares: Floats = weights / weights.sum()
    return shares


def progressive_shares(sizes: Ints, step: int, steps: int) -> Floats:
    """p(t) (C,) at step t of T: from the shares of pictures to equal ones."""
    done = min(step / max(steps, 1), 1.0)
    return (1 - done) * class_shares(sizes, 1) + done * class_shares(sizes, 0)


def batch_by(rows: ClassRows, shares: Floats, size: int, seed: int, step: int) -> Ints:
    """Rows (size,) of step `step` in which class c has its share (C,), in an order of their own; pure in (seed, step)."""
    require(size >= 1, f"batch_pictures: expected 1 or more, found {size}")
    rng = philox(seed, "class-balanced", step)
    order = rng.permutation(len(shares))
    edges = np.cumsum(shares[order])
    at = (np.arange(size) + rng.random()) / size * edges[-1]
    chosen, times = np.unique(order[np.searchsorted(edges, at, side="right").clip(max=len(order) - 1)], return_counts=True)
    parts = []
    for c, count in zip(chosen.tolist(), times.tolist(), strict=True):
        n = int(rows.sizes[c])
        whole = [rng.permutation(n) for _ in range(count // n)]
        picked = np.concatenate([*whole, rng.choice(n, count % n, replace=False)])
        parts.append(rows.rows[rows.start[c] + picked])
    return rng.permutation(np.concatenate(parts))


def balanced_batch(labels: NDArray[np.integer] | ClassRows, size: int, seed: int, step: int) -> Ints:
    """Rows (size,) of step `step`, every class alike: counts of classes differ by at most 1. Pure in (seed, step).

    labels (n,), or what `class_rows` made of them once, which is faster for many pictures.
    """
    rows = labels if isinstance(labels, ClassRows) else class_rows(labels)
    return batch_by(rows, class_shares(rows.sizes, 0), size, seed, step)


def square_root_batch(labels: NDArray[np.integer] | ClassRows, size: int, seed: int, step: int) -> Ints:
    """Rows (size,) of step `step`, classes by the square root of their pictures; else as `balanced_batch`."""
    rows = labels if isinstance(labels, ClassRows) else class_rows(labels)
    return batch_by(rows, class_shares(rows.sizes, 0.5), size, seed, step)


def progressive_batch(
    labels: NDArray[np.integer] | ClassRows, size: int, seed: int, step: int, steps: int
) -> Ints:  # fmt: skip
    """Rows (size,) of step `step` of `steps`, classes from as they are to all alike; else as `balanced_batch`."""
    rows = labels if isinstance(labels, ClassRows) else class_rows(labels)
    return batch_by(rows, progressive_shares(rows.sizes, step, steps), size, seed, step)

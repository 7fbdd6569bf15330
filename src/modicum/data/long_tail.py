"""Long-tailed versions of any data: how many pictures of each class, and which.

Exponential: Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019, arXiv 1901.05555, as Cao et
al. 2019 (arXiv 1906.07413) made CIFAR-10-LT and CIFAR-100-LT. Pareto: after Liu et al., "Large-scale long-tailed recognition
in an open world", CVPR 2019, arXiv 1904.05160.

    exponential   n_r = floor(n_0 factor^(-r / (C - 1)))
    pareto        n_r = floor(n_0 x_r^(-power)),   x_r = 1 + (factor^(1 / power) - 1) r / (C - 1)

| symbol | variable | is |
|---|---|---|
| r | rank | 0 is the largest class, C - 1 the smallest |
| n_0 | largest | pictures of the largest class |
| factor | factor | pictures of the largest class over those of the smallest, the imbalance factor |
| power | power | 6; towards infinity the Pareto tail becomes the exponential one |

CIFAR-100-LT with factor 100 has 500, ..., 5 pictures, 10,847 together (factor 50: 12,608; 10: 19,573).

Deviations: classes are ranked by how many pictures they have, ties by their index, so that balanced data is ranked by index
as in Cao et al.'s code and other data keeps its head; a class with fewer pictures than its rank asks for keeps all it has.
The pictures of a class are the first of an order drawn by (seed, class), so the tail of a larger factor is part of that of
a smaller one. Liu et al. say "Pareto distribution with power 6" and give no formula; ours is a Pareto density at evenly
spaced points with both ends given. Their totals (ImageNet-LT 115,846; Places-LT 62,500) come with powers near 3 (116,711)
and 2 (59,818), not 6 (166,769 and 169,633).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modicum.configs.options import require, require_known
from modicum.errors import DataError
from modicum.runtime import philox

Tail = Literal["exponential", "pareto"]
TAILS: tuple[Tail, ...] = ("exponential", "pareto")
POWER = 6.0

Ints = NDArray[np.int64]


def long_tail_counts(
    n_classes: int, largest: int, factor: float, kind: Tail = "exponential", *, power: float = POWER
) -> Ints:  # fmt: skip
    """Pictures (C,) of classes by rank, falling from `largest` to largest / factor, at least 1 each.

    `ConfigError` for a factor below 1, an unknown kind, a power of 0 or less, no class or no picture.
    """
    require_known("imbalance_kind", kind, TAILS)
    require(factor >= 1, f"imbalance: expected 1 or more (largest class over smallest), found {factor}")
    require(n_classes >= 1 and largest >= 1, f"n_classes, largest: expected 1 or more, found {n_classes}, {largest}")
    require(power > 0, f"power: expected more than 0, found {power}")
    r = np.arange(n_classes) / max(n_classes - 1, 1)
    shares = factor**-r if kind == "exponential" else (1 + (factor ** (1 / power) - 1) * r) ** -power
    return np.maximum(np.floor(largest * shares + 1e-9), 1).astype(np.int64)  # 1e-9: 500 / 100 is 5, not 4.99..


def class_ranks(sizes: NDArray[np.integer]) -> Ints:
    """Rank (C,) of classes with so many pictures (C,): 0 has most; equal ones by index."""
    ranks = np.empty(len(sizes), np.int64)
    ranks[np.argsort(-np.asarray(sizes, np.int64), kind="stable")] = np.arange(len(sizes))
    return ranks


def long_tail_rows(
    labels: NDArray[np.integer],
    factor: float,
    kind: Tail = "exponential",
    seed: int = 0,
    *,
    ranks: Ints | None = None,
    power: float = POWER,
) -> Ints:
    """Rows, rising, of labels (n,) in 0..C-1 that make a long tail with this factor; 1: all.

    ranks (C,): of the classes, where not by their numbers in labels. Every class must occur, else `DataError`.
    """
    sizes = np.bincount(labels)
    if len(labels) == 0 or sizes.min() == 0:
        raise DataError(f"labels: expected pictures of every class 0..{len(sizes) - 1}, found none of "
                        f"{int(sizes.argmin()) if len(sizes) else 'any'}")  # fmt: skip
    ranks = class_ranks(sizes) if ranks is None else ranks
    if len(ranks) != len(sizes):
        raise DataError(f"ranks: expected one for each of {len(sizes)} classes, found {len(ranks)}")
    if factor == 1:
        return np.arange(len(labels))
    wanted = long_tail_counts(len(sizes), int(sizes.max()), factor, kind, power=power)[ranks]
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    orders = [philox(seed, "data/long-tail", c).permutation(rows)[: wanted[c]] for c, rows in enumerate(by_class)]
    return np.sort(np.concatenate(orders))

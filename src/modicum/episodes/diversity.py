"""Less diverse training tasks: small pools of support or query pictures, few tasks, random noise in place of support.

Renkun Ni, Micah Goldblum, Amr Sharaf, Kezhi Kong, Tom Goldstein, "Data Augmentation for Meta-Learning", ICML 2021,
arXiv 2010.07092, section 3.1 (section 6.3.1, tables 6.1 and 6.8 of the dissertation this package grew from): how much
does a meta-learner depend on the number of support pictures, query pictures and tasks it was trained on?

- support pool P: support pictures of class c come from P fixed pictures of c, queries from all its pictures;
- query pool P: likewise for queries;
- task pool T: only T fixed sets of `ways` classes, made by batching the classes at random so that all are used;
- noise: the P support pictures of each class are fixed pictures of uniform random noise.

Pools and noise are pure functions of (seed, class), sets of (seed, stream). Only training is ever restricted.

Deviations: the paper does not say what happens where a picture could be drawn for both roles; here it never is both in
one task. 64 classes in sets of 5 leave 4 over; here the last set is filled up with classes used before, which makes the 13
sets of the paper. Its noise is not described; ours is uniform on 0..255.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.errors import ConfigError
from modicum.runtime import philox

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

NOT_DRAWN = 2.0
"""A key above every drawn one (they lie in [0, 1)): its picture is not there, or not allowed."""


class Pools(NamedTuple):
    """Which of the pictures of each class, (C, largest class) bool, may be drawn as support and as query."""

    support: Bools
    query: Bools


def require_pool(name: str, pool: int | None, least: int, of: str) -> None:
    """Raise `ConfigError` where a pool holds fewer pictures than one task takes from it."""
    if pool is not None and pool < least:
        raise ConfigError(
            f"{name}: {pool} pictures per class, but a task takes {least} {of} of a class; "
            f"expected at least {least}, or fewer {of}"
        )


def picture_pools(classes: Ints, sizes: Ints, support: int | None, query: int | None, seed: int) -> Pools:
    """The pools of classes (C,) with sizes (C,) pictures each; None: all pictures. Pure function of (seed, class).

    Both come from one random order of the class's pictures, support from its beginning and query from its end, so that
    they overlap only where the class is smaller than both together.
    """
    width = int(sizes.max(initial=0))
    pools = Pools(np.zeros((len(classes), width), bool), np.zeros((len(classes), width), bool))
    for row, (label, size) in enumerate(zip(classes, sizes, strict=True)):
        order = philox(seed, "picture-pools", int(label)).permutation(size)
        pools.support[row, order[: size if support is None else support]] = True
        pools.query[row, order[size - min(size, size if query is None else query) :]] = True
    return pools


def draw_from_pools(rng: np.random.Generator, pools: Pools, shots: int, queries: int) -> Ints:
    """Places (N, shots + queries), support first, of random pictures that the pools (N, m) allow.

    A picture is never both. Support takes pictures that queries may also need only as long as enough are left, so every
    pool of at least `shots` (or `queries`) pictures works in a class of at least shots + queries. Queries are drawn by
    keys of their own: what support left over of its pool is as likely as any other picture.
    """
    support_key, query_key = rng.random((2, *pools.support.shape))
    rank = np.argsort(np.argsort(np.where(pools.support & pools.query, support_key, NOT_DRAWN), axis=1), axis=1)
    spare = pools.query.sum(1, keepdims=True) - queries
    allowed = pools.support & (~pools.query | (rank < spare))
    support = np.argsort(np.where(allowed, support_key, NOT_DRAWN), axis=1)[:, :shots]
    rest = np.where(pools.query, query_key, NOT_DRAWN)
    np.put_along_axis(rest, support, NOT_DRAWN, axis=1)
    return np.concatenate([support, np.argsort(rest, axis=1)[:, :queries]], axis=1)


def class_sets(n_classes: int, ways: int, count: int, seed: int, stream: str) -> Ints:
    """`count` distinct sets of `ways` of n_classes classes, (count, ways): random batches that use every class.

    Where `ways` does not divide n_classes, the last set of a round is filled up with other classes; sets beyond one round
    are of a fresh random order. Fewer sets than a round leave classes out. `ConfigError` where there are not that many.
    """
    possible = math.comb(n_classes, ways)
    if not 1 <= count <= possible:
        raise ConfigError(
            f"task_pool: {n_classes} classes make {possible} sets of {ways}; expected 1 to that, found {count}"
        )
    sets: dict[tuple[int, ...], None] = {}
    rounds = 0
    while len(sets) < count:
        rng = philox(seed, f"{stream}/task-pool", rounds)
        order = rng.permutation(n_classes)
        missing = -n_classes % ways
        order = np.concatenate([order, rng.permutation(order[: n_classes - (n_classes % ways)])[:missing]])
        sets |= dict.fromkeys(tuple(sorted(batch)) for batch in order.reshape(-1, ways).tolist())
        rounds += 1
    return np.array(list(sets)[:count], np.int64)


def with_noise_support(pixels: NDArray[np.uint8], n_classes: int, pool: int, seed: int) -> tuple[Bytes, Ints]:
    """Pictures (n, H, W, C) uint8 with a bank of noise behind them, and where the noise of each class lies: (classes, pool).

    Give the second to `EpisodeSampler(noise=...)` and cut tasks from the first. The pictures are copied into memory.
    """
    shape = (pool, *pixels.shape[1:])
    banks = [philox(seed, "noise-support", label).integers(0, 256, shape, dtype=np.uint8) for label in range(n_classes)]
    index = len(pixels) + np.arange(n_classes * pool, dtype=np.int64).reshape(n_classes, pool)
    return np.concatenate([pixels, *banks]), index

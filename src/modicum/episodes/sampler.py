"""Sampling N-way K-shot tasks from a label array. Task t is a pure function of (seed, stream, t).

No Python object per picture: a batch of tasks is a few integer arrays, and cutting it from the picture tensor is one
gather (`modicum.episodes.cutting`). Rank r of R takes the tasks t = r mod R, so workers and ranks do not change tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modicum.episodes.diversity import NOT_DRAWN, Pools, class_sets, draw_from_pools, picture_pools, require_pool
from modicum.errors import ConfigError, DataError
from modicum.runtime import Ranks, philox

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Tasks(NamedTuple):
    """E tasks as picture indices: support (E, N*K), query (E, N*Q), their labels in 0..N-1, and masks of padding.

    classes (E, N): the drawn classes in label order; way_mask (E, N): False where a task has fewer ways than N.
    number (E,): the task numbers t.
    """

    support: Ints
    support_y: Ints
    query: Ints
    query_y: Ints
    support_mask: Bools
    query_mask: Bools
    classes: Ints
    way_mask: Bools
    number: Ints


class EpisodeSampler:
    """Draws tasks from labels (n,) int64.

    ways, shots: a number, or (least, most) drawn anew per task (ways) and per class (shots), as in Meta-Dataset's
    protocol, with the rest masked. Classes with fewer than shots + queries pictures raise `DataError` naming them, or
    are left out with drop_small.

    support_pool, query_pool: so many fixed pictures per class to draw from; task_pool: so many fixed sets of classes;
    noise (classes, P): indices of pictures that are a class's support instead, from `diversity.with_noise_support`
    (`modicum.episodes.diversity`). note: what these leave out, in words; else empty.
    """

    def __init__(
        self,
        labels: NDArray[np.integer],
        ways: int | tuple[int, int],
        shots: int | tuple[int, int],
        queries: int,
        *,
        seed: int = 0,
        stream: str = "train",
        names: Sequence[str] | None = None,
        drop_small: bool = False,
        support_pool: int | None = None,
        query_pool: int | None = None,
        task_pool: int | None = None,
        noise: Ints | None = None,
    ) -> None:
        self.ways = ways if isinstance(ways, tuple) else (ways, ways)
        self.shots = shots if isinstance(shots, tuple) else (shots, shots)
        self.queries, self.seed, self.stream = queries, seed, stream
        if not 1 <= self.shots[0] <= self.shots[1] or not 2 <= self.ways[0] <= self.ways[1] or queries < 1:
            raise ConfigError(
                f"expected ways >= 2, shots >= 1, queries >= 1; found ways {ways}, shots {shots}, queries {queries}"
            )
        require_pool("support_pool", noise.shape[1] if noise is not None else support_pool, self.shots[1], "shots")
        require_pool("query_pool", query_pool, queries, "queries")
        self.noise = noise
        labels = np.asarray(labels, dtype=np.int64)
        self.order: Ints = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        self.classes = self._usable(sizes, names, drop_small)
        self.sizes: Ints = sizes[self.classes]
        self.starts: Ints = starts[self.classes]
        if self.ways[1] > len(self.classes):
            raise ConfigError(
                f"ways: {self.ways[1]} asked for, but {stream!r} has {len(self.classes)} usable classes; "
                f"the largest ways that works is {len(self.classes)}"
            )
        limited = noise is None and support_pool is not None, query_pool is not None
        real = support_pool if limited[0] else None
        self.pools = picture_pools(self.classes, self.sizes, real, query_pool, seed) if any(limited) else None
        count, width = len(self.classes), self.ways[1]
        self.sets = None if task_pool is None else class_sets(count, width, task_pool, seed, stream)
        used = count if self.sets is None else len(np.unique(self.sets))
        self.note = "" if used == count else f"task_pool: {task_pool} sets of {width} use {used} of {count} classes only"

    def _usable(self, sizes: Ints, names: Sequence[str] | None, drop_small: bool) -> Ints:
        need = self.queries + (self.shots[1] if self.noise is None else 0)
        there = np.flatnonzero(sizes)
        small = there[sizes[there] < need]
        if len(small) and not drop_small:
            listed = ", ".join(f"{names[c] if names else c} ({sizes[c]})" for c in small[:8])
            more = f" and {len(small) - 8} more" if len(small) > 8 else ""
            raise DataError(
                f"classes with fewer pictures than {'shots + ' * (self.noise is None)}queries = {need}: {listed}{more}; "
                "take fewer shots or queries, or leave such classes out (drop_small)"
            )
        return there[sizes[there] >= need]

    def tasks(self, numbers: Sequence[int] | range) -> Tasks:
        """The tasks with the given numbers t, stacked on a leading dimension E."""
        drawn = [self._draw(t) for t in numbers]
        stacked = [np.stack(parts) for parts in zip(*drawn, strict=True)]
        return Tasks._make([*stacked, np.asarray(numbers, dtype=np.int64)])

    def step(self, step: int, batch: int, ranks: Ranks = Ranks()) -> Tasks:  # noqa: B008
        """This rank's tasks of global step `step`, whose batch is the tasks step*batch .. (step+1)*batch - 1."""
        numbers = [t for t in range(step * batch, (step + 1) * batch) if t % ranks.size == ranks.rank]
        return self.tasks(numbers)

    def _picked(self, rng: np.random.Generator) -> Ints:
        """Which of the usable classes a task has, in label order (N,)."""
        if self.sets is None:
            return rng.choice(len(self.classes), self.ways[1], replace=False)
        return rng.permutation(self.sets[rng.integers(len(self.sets))])

    def _pictures(self, rng: np.random.Generator, picked: Ints) -> tuple[Ints, Ints]:
        """Indices of support (N, K) and query pictures (N, Q) of the picked classes."""
        sizes, shots = self.sizes[picked], self.shots[1]
        real = shots if self.noise is None else 0
        if self.pools is None:
            keys = rng.random((len(picked), int(sizes.max())))
            keys[np.arange(keys.shape[1]) >= sizes[:, None]] = NOT_DRAWN
            place = np.argsort(keys, axis=1)[:, : real + self.queries]
        else:
            pools = Pools(self.pools.support[picked], self.pools.query[picked])
            place = draw_from_pools(rng, pools, real, self.queries)
        index = self.order[self.starts[picked][:, None] + place]
        if self.noise is None:
            return index[:, :shots], index[:, shots:]
        bank = self.noise[self.classes[picked]]  # (N, P)
        return np.take_along_axis(bank, np.argsort(rng.random(bank.shape), axis=1)[:, :shots], axis=1), index

    def _draw(self, t: int) -> tuple[NDArray[np.generic], ...]:
        rng = philox(self.seed, self.stream, t)
        ways, shots = self.ways[1], self.shots[1]
        present = ways if self.ways[0] == ways else int(rng.integers(self.ways[0], ways + 1))
        picked = self._picked(rng)
        support, query = self._pictures(rng, picked)
        way_mask = np.arange(ways) < present
        counts = np.full(ways, shots) if self.shots[0] == shots else rng.integers(self.shots[0], shots + 1, size=ways)
        support_mask = (np.arange(shots) < counts[:, None]) & way_mask[:, None]
        query_mask = np.repeat(way_mask, self.queries)
        y = np.arange(ways, dtype=np.int64)
        return (
            support.reshape(-1),
            np.repeat(y, shots),
            query.reshape(-1),
            np.repeat(y, self.queries),
            support_mask.reshape(-1),
            query_mask,
            self.classes[picked],
            way_mask,
        )

"""Sampling N-way K-shot tasks from a label array. Task t is a pure function of (seed, stream, t).

No Python object per picture: a batch of tasks is a few integer arrays, and cutting it from the picture tensor is one
gather (`modicum.episodes.cutting`). Rank r of R takes the tasks t = r mod R, so workers and ranks do not change tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    ) -> None:
        self.ways = ways if isinstance(ways, tuple) else (ways, ways)
        self.shots = shots if isinstance(shots, tuple) else (shots, shots)
        self.queries, self.seed, self.stream = queries, seed, stream
        if not 1 <= self.shots[0] <= self.shots[1] or not 2 <= self.ways[0] <= self.ways[1] or queries < 1:
            raise ConfigError(
                f"expected ways >= 2, shots >= 1, queries >= 1; found ways {ways}, shots {shots}, queries {queries}"
            )
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

    def _usable(self, sizes: Ints, names: Sequence[str] | None, drop_small: bool) -> Ints:
        need = self.shots[1] + self.queries
        there = np.flatnonzero(sizes)
        small = there[sizes[there] < need]
        if len(small) and not drop_small:
            listed = ", ".join(f"{names[c] if names else c} ({sizes[c]})" for c in small[:8])
            more = f" and {len(small) - 8} more" if len(small) > 8 else ""
            raise DataError(
                f"classes with fewer pictures than shots + queries = {need}: {listed}{more}; "
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

    def _draw(self, t: int) -> tuple[NDArray[np.generic], ...]:
        rng = philox(self.seed, self.stream, t)
        ways, shots = self.ways[1], self.shots[1]
        present = ways if self.ways[0] == ways else int(rng.integers(self.ways[0], ways + 1))
        picked = rng.choice(len(self.classes), ways, replace=False)
        sizes = self.sizes[picked]
        keys = rng.random((ways, int(sizes.max())))
        keys[np.arange(keys.shape[1]) >= sizes[:, None]] = 2.0
        place = np.argsort(keys, axis=1)[:, : shots + self.queries]
        index = self.order[self.starts[picked][:, None] + place]
        way_mask = np.arange(ways) < present
        counts = np.full(ways, shots) if self.shots[0] == shots else rng.integers(self.shots[0], shots + 1, size=ways)
        support_mask = (np.arange(shots) < counts[:, None]) & way_mask[:, None]
        query_mask = np.repeat(way_mask, self.queries)
        y = np.arange(ways, dtype=np.int64)
        return (
            index[:, :shots].reshape(-1),
            np.repeat(y, shots),
            index[:, shots:].reshape(-1),
            np.repeat(y, self.queries),
            support_mask.reshape(-1),
            query_mask,
            self.classes[picked],
            way_mask,
        )

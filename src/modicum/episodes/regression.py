"""Few-shot regression: tasks of (x, y) pairs; sinusoids, tables of measured tasks, or a distribution of one's own.

Sinusoids as in Sungyong Baik et al.: Meta-Learning with Adaptive Hyperparameters (ALFA), NeurIPS 2020, arXiv 2011.00209,
table 8, after Zhenguo Li et al.: Meta-SGD, 2017, arXiv 1707.09835:

    f(x) = A sin(w x + p),   A ~ U[0.1, 5.0],  w ~ U[0.8, 1.2],  p ~ U[0, pi],  x ~ U[-5, 5]

| symbol | variable | is |
|---|---|---|
| A, w, p | amplitude, frequency, phase | drawn for each task, (E,) |
| x | x | support and query points, (E, n, 1), all drawn uniformly at random ("sampled points") |

Task t is a pure function of (seed, stream, t) and of the number of queries: its parameters are drawn first, then its
queries, then its support points, so that 5, 10 and 20 shots meet the same functions and queries, and share support points.
There is no noise on y.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError, DataError
from modicum.runtime import philox

Floats = NDArray[np.float64]
AMPLITUDE, FREQUENCY, PHASE, RANGE = (0.1, 5.0), (0.8, 1.2), (0.0, np.pi), (-5.0, 5.0)


class AbstractTaskDistribution(ABC):
    """Numbered regression tasks. name: what they are called; inputs, outputs: numbers in an item x and in its target y.

    size: how many tasks there are, None where every number makes a task of its own. To train on tasks of your own,
    implement `episode` and hand the distribution to `modicum.training.regression.train_regression`.
    """

    name: str
    inputs: int
    outputs: int
    size: int | None = None

    @abstractmethod
    def episode(self, numbers: Sequence[int] | NDArray[np.int64], shots: int, queries: int) -> Episode:
        """Tasks of these numbers: support x (E, shots, inputs), y (E, shots, outputs), queries likewise; float tensors.

        A pure function of its arguments; on the CPU. `ConfigError` or `DataError` where a task cannot be made.
        """


def sine(x: Floats, amplitude: Floats, frequency: Floats, phase: Floats) -> Floats:
    """A sin(w x + p), (E, n), for points (E, n) and parameters (E,)."""
    values: Floats = amplitude[:, None] * np.sin(frequency[:, None] * x + phase[:, None])
    return values


def _between(unit: Floats, bounds: tuple[float, float]) -> Floats:
    return bounds[0] + (bounds[1] - bounds[0]) * unit


def _episode(x: Floats, y: Floats, queries: int, dtype: torch.dtype) -> Episode:
    """Episode of points (E, queries + shots, inputs) and targets; the queries stand first."""
    items, targets = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)
    support = LabelledSet(items[:, queries:], targets[:, queries:])
    return Episode(support, LabelledSet(items[:, :queries], targets[:, :queries]), targets.shape[-1])


def _check_sizes(shots: int, queries: int) -> None:
    for name, value in (("shots", shots), ("queries", queries)):
        if value < 1:
            raise ConfigError(f"{name}: expected at least 1, found {value}")


@final
class Sinusoids(AbstractTaskDistribution):
    """The sinusoids of table 8; see the module's equations. stream: "train", "val", "test", or any other name."""

    name, inputs, outputs = "sinusoids", 1, 1

    def __init__(self, seed: int = 0, stream: str = "train", dtype: torch.dtype = torch.float32) -> None:
        self.seed, self.stream, self.dtype = seed, f"sinusoids/{stream}", dtype

    def episode(self, numbers: Sequence[int] | NDArray[np.int64], shots: int, queries: int) -> Episode:
        """Tasks of these numbers (from 0), computed in float64 and given in `dtype`."""
        _check_sizes(shots, queries)
        unit = np.stack([philox(self.seed, self.stream, int(t)).random(3 + queries + shots) for t in numbers])
        amplitude, frequency, phase = (
            _between(unit[:, i], bounds) for i, bounds in enumerate((AMPLITUDE, FREQUENCY, PHASE))
        )
        x = _between(unit[:, 3:], RANGE)
        return _episode(x[..., None], sine(x, amplitude, frequency, phase)[..., None], queries, self.dtype)


class Values(NamedTuple):
    """A table of tasks: task (n,) the task of each row, 0..T-1; x (n, inputs); y (n, outputs); names of the T tasks."""

    task: NDArray[np.int64]
    x: Floats
    y: Floats
    names: tuple[str, ...]


@final
class TableTasks(AbstractTaskDistribution):
    """Draws from a table: number t is the task order[t mod T] of it, with rows drawn from it anew.

    Each round over the T tasks is a permutation of its own, so no task is met more often than another. Support and query
    rows of a draw are different rows.
    """

    def __init__(
        self, values: Values, name: str, seed: int = 0, stream: str = "train", dtype: torch.dtype = torch.float32
    ) -> None:
        self.values, self.name, self.seed, self.stream, self.dtype = values, name, seed, f"table/{stream}", dtype
        self.inputs, self.outputs, self.size = values.x.shape[1], values.y.shape[1], len(values.names)
        if not self.size:
            raise DataError(f"data: {name} has no tasks for {stream}")
        order = np.argsort(values.task, kind="stable")
        self.rows = np.split(order, np.cumsum(np.bincount(values.task, minlength=self.size))[:-1])

    def require_rows(self, shots: int, queries: int) -> None:
        """Raise `DataError` naming the task with the fewest rows, where it has fewer than shots + queries."""
        counts = np.array([len(rows) for rows in self.rows])
        least = int(counts.argmin())
        if counts[least] < shots + queries:
            short = int((counts < shots + queries).sum())
            raise DataError(
                f"shots, queries: {shots} + {queries} rows of each task are needed, but task {self.values.names[least]!r} "
                f"of {self.name} has {counts[least]} ({short} of {self.size} tasks have too few); the largest --queries "
                f"that works with {shots} shots is {max(0, int(counts[least]) - shots)}"
            )

    def episode(self, numbers: Sequence[int] | NDArray[np.int64], shots: int, queries: int) -> Episode:
        """Draws of these numbers (from 0); `DataError` where a task has too few rows."""
        _check_sizes(shots, queries)
        self.require_rows(shots, queries)
        chosen = np.stack([self._draw(int(t), shots + queries) for t in numbers])
        return _episode(self.values.x[chosen], self.values.y[chosen], queries, self.dtype)

    def fewest(self) -> int:
        """Rows of the task that has the fewest."""
        return min(len(rows) for rows in self.rows)

    def task_of(self, number: int) -> int:
        """The task that a draw is of, 0..T-1."""
        turn, place = divmod(number, len(self.rows))
        return int(philox(self.seed, f"{self.stream}/order", turn).permutation(len(self.rows))[place])

    def _draw(self, number: int, count: int) -> NDArray[np.int64]:
        rows = self.rows[self.task_of(number)]
        return rows[philox(self.seed, self.stream, number).permutation(len(rows))[:count]]

"""What low-bit layers say about their sums while somebody watches: penalties, carries, overflow, bits.

    with watching() as watch:
        features = encoder(x)
    loss = ... + 0.01 * watch.penalty

Layers change nothing in themselves; whoever watches gets their records, in order of execution. Everything is reduced to
single numbers at once, so that no map of a layer is kept (`sums` apart). Nothing is computed while nobody watches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Record:
    """One layer's pass; tensors () where nothing else is said, None where it was not asked for or does not apply.

    name: in the converted module. penalty: R_o, with gradient. overflow: share of sums beyond b bits. lowest, highest: of
    the codes. carry_variance: R_c, with gradient. carries: each neuron's mean over the batch. sums: m (B, ...), int32.
    """

    name: str
    penalty: Tensor | None = None
    overflow: Tensor | None = None
    lowest: Tensor | None = None
    highest: Tensor | None = None
    carry_variance: Tensor | None = None
    carries: Tensor | None = None
    sums: Tensor | None = None

    @property
    def carry_mean(self) -> Tensor | None:
        """Of the carries over batch and neurons."""
        return None if self.carries is None else self.carries.mean()

    @property
    def carry_deviation(self) -> Tensor | None:
        """Root of the carries' variance."""
        return None if self.carry_variance is None else self.carry_variance.detach().sqrt()


@dataclass
class Watch:
    """What was asked for, and the records so far; see `watching`."""

    penalties: bool
    carries: bool
    statistics: bool
    sums: bool
    records: list[Record] = field(default_factory=list)

    @property
    def penalty(self) -> Tensor:
        """R_o = sum over layers of R_o^l, (); 0 where no layer has sums that wrap."""
        return _total([record.penalty for record in self.records])

    @property
    def carry_variance(self) -> Tensor:
        """R_c, summed over the layers that recorded it, ()."""
        return _total([record.carry_variance for record in self.records])


def _total(found: list[Tensor | None]) -> Tensor:
    known = [value for value in found if value is not None]
    return torch.stack(known).sum() if known else torch.zeros(())


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


def watcher() -> Watch | None:
    """Who watches here, if anybody does."""
    return _WATCH.get()


@contextmanager
def watching(
    *, penalties: bool = True, carries: bool = False, statistics: bool = False, sums: bool = False
) -> Iterator[Watch]:
    """Record what low-bit layers do in the block; blocks nest, and the innermost sees the layers.

    penalties: R_o of every layer that wraps. carries: counts of all layers with weights -1, 0, 1, not only of those that
    simulate them. statistics: overflow and codes. sums: the wrapped sums themselves, which takes a map for each layer.
    """
    watch = Watch(penalties, carries, statistics, sums)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)

"""A confusion matrix small enough to read: the most confused classes of many, and the most frequent mistakes.

Symbols: counts (C, C) whole numbers, row: true class, column: predicted class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modicum.reporting.records import Array, Recall

MOST = 12  # classes a matrix on the page shows by name
SHORT = 6  # letters of a class name that still fits above a column


@dataclass(frozen=True)
class Mistake:
    """`count` of `total` pictures of `true` were called `predicted`."""

    true: str
    predicted: str
    count: int
    total: int

    @property
    def share(self) -> float:
        """count / total."""
        return self.count / self.total


@dataclass(frozen=True)
class Table:
    """A matrix to show: names (R,), counts (R, R); the last row and column are all other classes where others > 0."""

    names: tuple[str, ...]
    counts: Array
    others: int

    @property
    def keys(self) -> tuple[str, ...]:
        """Column heads: the names where all are short, else numbers that the row heads explain."""
        end = ("rest",) if self.others else ()
        named = self.names[: len(self.names) - len(end)]
        short = all(len(name) <= SHORT for name in named)
        return (*(named if short else map(str, range(1, len(named) + 1))), *end)

    def share(self, row: int, column: int) -> float | None:
        """Part of the row's pictures that was called the column's name; None where the row has none."""
        total = int(self.counts[row].sum())
        return int(self.counts[row, column]) / total if total else None


def mistakes(counts: Array, names: Sequence[str], most: int = 8) -> list[Mistake]:
    """The most frequent mistakes, most frequent first; ties in class order."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    totals = counts.sum(axis=1)
    pairs = [np.unravel_index(place, counts.shape) for place in order]
    return [Mistake(names[i], names[j], int(counts[i, j]), int(totals[i])) for i, j in pairs if wrong[i, j] > 0]


def recalls(counts: Array, names: Sequence[str]) -> list[Recall]:
    """Recall of every class that has pictures, in class order."""
    totals = counts.sum(axis=1)
    return [Recall(names[i], float(counts[i, i] / totals[i]), int(totals[i])) for i in range(len(names)) if totals[i]]


def worst_classes(counts: Array, most: int = MOST) -> list[int]:
    """Indices (at most `most`, ascending) of the classes in the most frequent mistakes; all where there are few."""
    if len(counts) <= most:
        return list(range(len(counts)))
    wrong = counts - np.diag(np.diag(counts))
    chosen: list[int] = []
    for place in np.argsort(-(wrong + wrong.T), axis=None, kind="stable"):
        pair = [int(index) for index in np.unravel_index(place, counts.shape)]
        new = [index for index in dict.fromkeys(pair) if index not in chosen]
        if len(chosen) + len(new) > most:
            break
        chosen += new
    return sorted(chosen)


def table(counts: Array, names: Sequence[str], most: int = MOST) -> Table:
    """The matrix to show: whole for at most `most` classes, else the worst-confused ones and the sum of all others."""
    chosen = worst_classes(counts, most)
    rest = np.setdiff1d(np.arange(len(counts)), chosen)
    if not len(rest):
        return Table(tuple(names), counts, 0)
    gather = np.zeros((len(chosen) + 1, len(counts)), dtype=counts.dtype)  # (R, C), adds up the classes of a row
    gather[np.arange(len(chosen)), chosen] = 1
    gather[-1, rest] = 1
    shown = (*(names[i] for i in chosen), f"the other {len(rest)} classes")
    return Table(shown, gather @ counts @ gather.T, len(rest))

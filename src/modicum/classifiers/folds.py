"""Folds of cross-validation that keep together what belongs together.

Units: pictures that share a group or a content digest are merged, transitively, and are held out as one. A class needs
two units to be measured. Folds are stratified by a greedy rule: units of the rarest classes first, then large ones, each
to the fold where the classes it holds are least (sum over its classes of the squared share of the class), never so that
a class comes to lie in one fold entirely where another fold will do; ties go to the smaller fold. Units of equal rank
come in an order drawn from the seed. Units that only hold classes with one unit are never held out: those classes stay
in competition in every fold. scikit-learn's StratifiedGroupKFold spreads a class of two units over two folds only
by luck, which would call a class unmeasurable that is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modicum.evaluation.accuracy import Floats, Ints
from modicum.runtime import philox

ALWAYS_TRAINING = -1


def merge(*keys: Sequence[str | None]) -> Ints:
    """Unit (n,) of every picture: those that share a value of any key (None and "" match nothing) are one unit.

    Units are numbered in order of their first picture.
    """
    n = len(keys[0])
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for key in keys:
        first: dict[str, int] = {}
        for i, value in enumerate(key):
            if value:
                a, b = root(first.setdefault(value, i)), root(i)
                parent[max(a, b)] = min(a, b)
    roots = np.array([root(i) for i in range(n)], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def units_per_class(labels: Ints, units: Ints, n_classes: int) -> Ints:
    """How many units hold pictures of each class, (N,)."""
    pairs = np.unique(np.stack([labels, units]), axis=1)
    return np.bincount(pairs[0], minlength=n_classes)


def possible_folds(labels: Ints, units: Ints, n_classes: int, wanted: int) -> int:
    """The wanted number of folds, or fewer where no class has that many units; below 2 nothing can be measured."""
    return min(wanted, int(units_per_class(labels, units, n_classes).max(initial=0)))


def _order(table: dict[int, dict[int, int]], unit_counts: Ints, seed: int) -> list[int]:
    """Units to place: rarest class first, then large, then as the seed says."""
    rank = dict(zip(sorted(table), philox(seed, "folds", 0).permutation(len(table)).tolist(), strict=True))
    rarest = {u: min(int(unit_counts[c]) for c in classes) for u, classes in table.items()}
    size = {u: sum(classes.values()) for u, classes in table.items()}
    return sorted(table, key=lambda u: (rarest[u], -size[u], rank[u]))


def assign_folds(labels: Ints, units: Ints, n_classes: int, n_folds: int, seed: int) -> Ints:
    """Fold (n,) in 0..n_folds-1 of every picture, or ALWAYS_TRAINING; see the module docstring."""
    unit_counts = units_per_class(labels, units, n_classes)
    totals = np.bincount(labels, minlength=n_classes).astype(np.float64)
    table: dict[int, dict[int, int]] = {}
    for c, u in zip(labels.tolist(), units.tolist(), strict=True):
        classes_of = table.setdefault(u, {})
        classes_of[c] = classes_of.get(c, 0) + 1
    fold_of = np.full(int(units.max(initial=-1)) + 1, ALWAYS_TRAINING, np.int64)
    held = np.zeros((n_folds, n_classes))
    size: Floats = np.zeros(n_folds)
    for u in _order(table, unit_counts, seed):
        classes = np.array([c for c in table[u] if unit_counts[c] > 1], np.int64)
        if len(classes) == 0:
            continue
        counts = np.array([table[u][int(c)] for c in classes], np.float64)
        before = held[:, classes] / totals[classes]
        after = (held[:, classes] + counts) / totals[classes]
        cost = (after**2 - before**2).sum(1) + n_classes * (after >= 1).sum(1)
        fold = int(np.lexsort((size, np.round(cost, 9)))[0])
        fold_of[u] = fold
        held[fold, classes] += counts
        size[fold] += counts.sum()
    return fold_of[units]


def measurable(labels: Ints, folds: Ints, n_classes: int) -> np.ndarray:
    """Which classes (N,) have held-out pictures that leave others of the class in training."""
    found = np.zeros(n_classes, bool)
    for c in range(n_classes):
        mine = folds[labels == c]
        found[c] = len(np.unique(mine)) > 1
    return found

"""Which pictures train, validate and test, when every class is trained on: stratified, no group torn, no content twice.

Pictures of one group (a sender, a product, a day) and pictures of equal content (equal digests: all bytes of the file) form
units, which are never divided. The same picture saved twice in different ways is not found.

Pictures that the data itself assigns (folders or a column: train, val, test) stay where it says, so that a published test
set stays whole. Of a content that lies in the test part, copies elsewhere are left out; of one in validation, those of
training. CIFAR-100 has 10 contents in both of its parts and loses 10 of 50,000 training pictures. Groups are not looked at
then: the data's word counts, and `modicum check --group` says where it tears groups.

Otherwise units are taken in a seeded order, and one is held out if that brings the held-out numbers h_c of classes nearer
to what is wanted, t_c of n_c pictures, in the sense of sum_c (h_c - t_c)^2 / n_c, and leaves every class a picture to train
on (after Sechidis et al., "On the stratification of multi-label data", ECML PKDD 2011; a unit may hold pictures of several
classes). Of `ORDERS` orders the nearest one counts. Where every picture is a unit of its own, h_c = t_c. t_c is the share of
n_c, rounded; for the test at least 1 of a class with two pictures or more, so that as many classes as possible are tested.

First comes the test, in the proportions of the data; then, of what is left, the long tail (`modicum.data.long_tail`),
classes ranked by all their pictures; then validation, a share of that tail and as long-tailed: the rarest classes have none.
With validation 0 all of the tail trains, as in published results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modicum.configs.options import require
from modicum.data.long_tail import Tail, class_ranks, long_tail_rows
from modicum.data.picture_set import PictureSet
from modicum.errors import DataError
from modicum.runtime import philox

Ints = NDArray[np.int64]
ORDERS, MANY = 20, 20_000
"""Orders that are tried, and the number of units beyond which one must do."""


@dataclass(frozen=True)
class Holdout:
    """Rows of a `PictureSet`, rising int64, disjoint: `train`, `validation`, `test`; `rule`: whence they are, in words."""

    train: Ints
    validation: Ints
    test: Ints
    rule: str


def units_of(pictures: PictureSet) -> Ints:
    """The unit (n,) of every picture, 0..U-1: pictures of one group or of equal content, and what these connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(pictures)
    edges = []
    for keys in (np.array(pictures.digests) if pictures.digests else np.arange(n), pictures.groups):
        if keys is not None:
            _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
            edges.append(np.stack([np.arange(n), first[inverse]]))
    rows, columns = np.concatenate(edges, 1)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), (n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def held_out(labels: Ints, units: Ints, targets: Ints, seed: int, stream: str) -> NDArray[np.bool_]:
    """Which of n pictures (n,) are held out so that class c has about targets (C,); whole units, see the module.

    labels, units (n,). Pure in (seed, stream). Every class keeps a picture. Of a class whose target is 0 pictures are held
    out only where their units hold wanted ones of other classes.
    """
    sizes = np.bincount(labels, minlength=len(targets))
    names, unit_of = np.unique(units, return_inverse=True)
    cells, counts = np.unique(np.stack([unit_of, labels]), axis=1, return_counts=True)
    start = np.searchsorted(cells[0], np.arange(len(names) + 1))
    best, least = np.zeros(len(names), bool), np.inf
    for trial in range(ORDERS if len(names) <= MANY else 1):
        order = philox(seed, stream, trial).permutation(len(names))
        chosen = _chosen(
            order.tolist(), start.tolist(), cells[1].tolist(), counts.tolist(), sizes.tolist(), targets.tolist()
        )
        taken = np.bincount(labels, weights=chosen[unit_of], minlength=len(targets))
        far = float(((taken - targets) ** 2 / np.maximum(sizes, 1)).sum())
        if far < least:
            best, least = chosen, far
        if least == 0:
            break
    return best[unit_of]


def _chosen(
    order: list[int], start: list[int], of_class: list[int], count: list[int], size: list[int], wanted: list[int]
) -> NDArray[np.bool_]:  # fmt: skip
    """The units (U,) held out in this order; unit u has count[i] pictures of of_class[i] for i in start[u]..start[u + 1]."""
    chosen, taken = np.zeros(len(order), bool), [0] * len(size)
    for unit in order:
        inside = range(start[unit], start[unit + 1])
        change = 0.0
        for at in inside:
            c, k = of_class[at], count[at]
            if taken[c] + k >= size[c]:
                change = np.inf
                break
            change += k * (2 * (taken[c] - wanted[c]) + k) / size[c]  # (h + k - t)^2 - (h - t)^2
        if change < 0:
            chosen[unit] = True
            for at in inside:
                taken[of_class[at]] += count[at]
    return chosen


def _official(pictures: PictureSet) -> tuple[Ints, Ints, Ints, str] | None:
    """Rows that the data itself calls train, val and test, and its words; None without parts, or with parts of classes."""
    if pictures.parts is None:
        return None
    names = ["" if name not in ("train", "val", "test") else name for name in pictures.part_names]
    of = {name: np.flatnonzero(np.isin(pictures.parts, [i for i, n in enumerate(names) if n == name])) for name in names}
    train, val, test = (of.get(name, np.zeros(0, np.int64)) for name in ("train", "val", "test"))
    if len(test) == 0:
        val, test = test, val
    if len(train) == 0 or len(test) == 0 or not np.isin(pictures.labels[test], pictures.labels[train]).any():
        return None
    return train, val, test, pictures.split_rule or "the data's own parts of pictures"


def _without(rows: Ints, others: Ints, digests: Sequence[str]) -> Ints:
    """The rows whose content lies in no other row."""
    taken = {digests[i] for i in others} if digests else set()
    return rows[[digests[i] not in taken for i in rows]] if taken and len(rows) else rows


def _targets(sizes: Ints, share: float, least: int) -> Ints:
    """Held-out pictures (C,) of classes with so many: share of them rounded, at least `least` of two pictures or more."""
    targets = np.rint(share * sizes).astype(np.int64)
    return np.minimum(np.where(sizes >= 2, np.maximum(targets, least), 0), np.maximum(sizes - 1, 0))


def _refuse_lost(pictures: PictureSet, train: Ints, used: Ints, why: str) -> None:
    """`DataError` for classes that are to be told apart but have nothing to train on."""
    lost = np.setdiff1d(pictures.labels[used], pictures.labels[train])
    if len(lost):
        names = ", ".join(pictures.classes[c] for c in lost[:3].tolist())
        raise DataError(f"data: {len(lost)} classes of {pictures.name} ({names}{', ...' if len(lost) > 3 else ''}) have no "
                        f"picture to train on: {why}; take them out of the data")  # fmt: skip


def _drawn_test(pictures: PictureSet, units: Ints, share: float, seed: int) -> tuple[Ints, Ints, str]:
    """Training and test rows where the data says nothing, and the rule."""
    sizes = np.bincount(pictures.labels, minlength=len(pictures.classes))
    out = held_out(pictures.labels, units, _targets(sizes, share, int(share > 0)), seed, "data/holdout/test")
    train, test = np.flatnonzero(~out), np.flatnonzero(out)
    whole = "pictures" if pictures.groups is None else "whole groups"
    return (
        train,
        test,
        f"test: {len(test):,} of {len(pictures):,} pictures, {share:g} of each class in {whole} by seed {seed}",
    )


def holdout(
    pictures: PictureSet,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
    imbalance: float = 1.0,
    kind: Tail = "exponential",
) -> Holdout:
    """The rows of pictures that train, validate and test; a pure function of pictures, shares and seed.

    test: share of every class, where the data has no parts of its own. validation: share of what is left for training, after
    the long tail with factor `imbalance`, where the data has no part val of its own; 0: none, and a val part is not used.
    `ConfigError` for shares outside 0..1. `DataError` for a class without a picture to train on.
    """
    for name, share in (("test_share", test), ("validation_share", validation)):
        require(0 <= share < 1, f"{name}: expected 0 or more and below 1, found {share}")
    labels, n_classes = pictures.labels, len(pictures.classes)
    units, official = units_of(pictures), _official(pictures)
    own = np.zeros(0, np.int64)
    if official is None:
        train, tested, rule = _drawn_test(pictures, units, test, seed)
    else:
        train, own, tested, words = official
        every = len(train)
        own = _without(own, tested, pictures.digests) if validation > 0 else own[:0]
        train = _without(train, np.concatenate([tested, own]), pictures.digests)
        rule = f"{words}; {every - len(train)} training pictures left out, their content is held out"
    _refuse_lost(pictures, train, np.concatenate([train, own, tested]), "all of them are held out, or are copies of such")
    if imbalance != 1:
        ranks = class_ranks(np.bincount(labels, minlength=n_classes))
        train = train[long_tail_rows(labels[train], imbalance, kind, seed, ranks=ranks)]
        rule += f"; {kind} long tail with factor {imbalance:g} by seed {seed}: {len(train):,} left"
    if validation > 0 and len(own) == 0:
        targets = _targets(np.bincount(labels[train], minlength=n_classes), validation, 0)
        out = held_out(labels[train], units[train], targets, seed, "data/holdout/validation")
        own, train = train[out], train[~out]
        rule += f"; validation: {len(own):,} of these, {validation:g} of each class"
    counts = np.bincount(labels[train], minlength=n_classes)
    rule += f"; training: {len(train):,}, {counts.max():,} to {counts.min():,} a class"
    untested = n_classes - len(np.unique(labels[tested]))
    lacking = "1 class has" if untested == 1 else f"{untested} classes have"
    rule += f"; {lacking} no test picture" if untested and len(tested) else ""
    return Holdout(train, own, tested, rule)

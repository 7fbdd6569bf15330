"""Nearest support pictures, and "none of these" at a chosen rate.

Sun, Ming, Zhu, Li, "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, arXiv 2204.06507:

    s(z) = cosine between z and its k-th nearest support picture;  "none of these" where s(z) < t

Deviations: k = 1, because a class may have one picture. The paper takes t as a quantile over training pictures, whose
nearest neighbour would be themselves; here every known picture's score leaves out the pictures of its own unit (group,
copies), and t is the conformal quantile of those m scores: the j-th smallest, j = floor(rate * (m + 1)), so that at most
`rate` of new pictures of known classes are rejected (exact where units are exchangeable). j = 0: too few pictures for so
small a rate, nothing is rejected. Pictures of classes with one unit are left out: without them their class is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modicum.classifiers.rules import Rows, unit_rows
from modicum.evaluation.accuracy import Floats, Ints
from modicum.similarity import cosine_similarities

_BLOCK = 1024


class Neighbour(NamedTuple):
    """A support picture: its id, its label, and its cosine similarity to the picture asked about, in [-1, 1]."""

    id: str
    label: str
    similarity: float


def neighbours(
    query: Rows, support: Rows, ids: Sequence[str], labels: Sequence[str], count: int
) -> list[tuple[Neighbour, ...]]:
    """The `count` nearest of support (n, D) for each row of query (q, D), nearest first, equal ones in order of id.

    ids are sorted, so the order of rows is the order of ids. The picture itself, if it is in the support, is one of them.
    """
    found = []
    for start in range(0, len(query), _BLOCK):
        for row in cosine_similarities(query[start : start + _BLOCK], support):
            best = np.argsort(-row, kind="stable")[:count]
            found.append(tuple(Neighbour(ids[i], labels[i], float(row[i])) for i in best))
    return found


def known_scores(support: Rows, labels: Ints, units: Ints, measured: np.ndarray, seen: np.ndarray | None = None) -> Floats:
    """Scores s of the support's own pictures (n, D), sorted: those of measured classes (N,), each without its own unit.

    seen (n,): pictures that the encoder was trained on; they lie closer together than new ones, so they get no score.
    """
    x = unit_rows(support).astype(np.float64)
    keep = np.flatnonzero(measured[labels] if seen is None else measured[labels] & ~seen)
    scores = np.empty(len(keep))
    for start in range(0, len(keep), _BLOCK):
        rows = keep[start : start + _BLOCK]
        similarity = x[rows] @ x.T
        similarity[units[rows][:, None] == units[None, :]] = -np.inf
        scores[start : start + _BLOCK] = similarity.max(1)
    return np.sort(scores)


def threshold(scores: Floats, rate: float) -> float:
    """The similarity below which a picture is "none of these", from sorted scores (m,); -inf where m is too small."""
    place = math.floor(rate * (len(scores) + 1) + 1e-9)
    return -math.inf if place < 1 else float(scores[min(place, len(scores)) - 1]) if len(scores) else -math.inf

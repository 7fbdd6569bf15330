"""Picture files -> predictions of a run of Meta-Neighborhoods, with the entries of its dictionary they attend to.

Predictions depend on the run and the picture alone: pictures pass eight at a time, the last pass filled up with black ones.
That is to the bit, but for one step of a cosine layer, where the others of a pass may move a logit by half a rounding
(`adaptation.neighborhoods.inference`). Scores are the softmax of the logits after adaptation, which rank and are no
calibrated probabilities; under --baseline knn the share of votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.classifiers.predicting import predict_in_passes
from modicum.runtime import Progress
from modicum.training.neighborhoods.runs import NeighborhoodsRun
from modicum.training.neighborhoods.scoring import Scored, attended, score_pictures
from modicum.training.neighborhoods.voting import Voters, vote, voters_of

PASS = 8
"""Pictures per pass, as many as `modicum.models.embed` shows an encoder."""


class Entry(NamedTuple):
    """An entry of the dictionary: number, weight in the picture's attention, the class it stands for and how surely."""

    entry: int
    weight: float
    label: str
    share: float


class Voter(NamedTuple):
    """A training picture that votes: id, class, cosine of its features and the picture's."""

    id: str
    label: str
    similarity: float


class AttendingPrediction(NamedTuple):
    """One picture's answer: label, its score, `top` labels with scores, entries attended most, or pictures that vote.

    before: the label by the network as it is, before adaptation or votes; None where there is neither.
    """

    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    before: str | None
    entries: tuple[Entry, ...]
    voters: tuple[Voter, ...]


@dataclass(frozen=True)
class AttendingAnswers:
    """rows: (path, prediction) of what could be read; problems: (path, message) of what could not."""

    rows: tuple[tuple[str, AttendingPrediction], ...]
    problems: tuple[tuple[str, str], ...]


def predict_attending(
    run: NeighborhoodsRun,
    paths: Sequence[str],
    *,
    top: int = 3,
    neighbours: int = 3,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> AttendingAnswers:
    """Predictions for picture files and for all pictures in folders. neighbours: entries or voters told of each."""
    where = device or torch.device("cpu")
    run.network.to(where)
    voters = voters_of(run, None, where) if run.config.baseline == "knn" else None
    data = run.record["data"]

    def predict(pixels: np.ndarray) -> list[AttendingPrediction]:
        """Predictions of up to PASS pictures (n, H, W, C)."""
        scored = score_pictures(run.network, pixels, np.arange(len(pixels)), where, size=PASS)
        return _answers(run, scored, voters, top, neighbours)

    rows, problems = predict_in_passes(paths, data["size"], data["channels"], PASS, predict, progress)
    return AttendingAnswers(tuple(rows), tuple(problems))


def _answers(
    run: NeighborhoodsRun, scored: Scored, voters: Voters | None, top: int, neighbours: int
) -> list[AttendingPrediction]:
    shares = scored.logits[-1].double().softmax(-1)
    near: list[tuple[Voter, ...]] = [()] * len(shares)
    if voters is not None:
        votes = vote(voters, scored.features, run.config.neighbours, len(run.classes))
        shares = votes.shares.double()
        pairs = zip(votes.voter[:, :neighbours].tolist(), votes.cosine[:, :neighbours].tolist(), strict=True)
        near = [tuple(_voter(run, voters, *pair) for pair in zip(*row, strict=True)) for row in pairs]
    before: list[str | None] = [None] * len(shares)
    if voters is not None or len(scored.logits) > 1:
        before = [run.classes[c] for c in scored.logits[0].argmax(-1).tolist()]
    attention = _entries(run, scored.features, neighbours)
    best = [_best(run, row, top) for row in shares]
    return [
        AttendingPrediction(*names[0], names, first, entries, pictures)
        for names, first, entries, pictures in zip(best, before, attention, near, strict=True)
    ]


def _best(run: NeighborhoodsRun, shares: Tensor, top: int) -> tuple[tuple[str, float], ...]:
    p = shares.numpy()
    return tuple((run.classes[i], float(p[i])) for i in np.argsort(-p, kind="stable")[:top].tolist())


def _voter(run: NeighborhoodsRun, voters: Voters, place: int, cosine: float) -> Voter:
    return Voter(voters.ids[place], run.classes[int(voters.labels[place])], cosine)


def _entries(run: NeighborhoodsRun, features: Tensor, count: int) -> list[tuple[Entry, ...]]:
    """The entries attended most by pictures with features (n, D)."""
    network = run.network
    if not isinstance(network, MetaNeighborhoods) or network.dictionary is None or count == 0:
        return [()] * len(features)
    with torch.inference_mode():
        share, label = network.dictionary.values().max(-1)
    found = attended(network, features, count, PASS)
    return [
        tuple(Entry(e, w, run.classes[int(label[e])], float(share[e])) for e, w in zip(entries, weights, strict=True))
        for entries, weights in zip(found.entry.tolist(), found.weight.tolist(), strict=True)
    ]

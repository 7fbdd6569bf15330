"""Picture files -> predictions of a run of rac, with the items of its memory that each picture retrieved.

Predictions depend on the run, the memory as it is now, and the picture alone, to the bit: pictures pass eight at a time, the
last pass filled up with black ones. Scores are the softmax of the combined logits, whose length is fixed by the number of
classes (equation 5 of Long et al., arXiv 2202.11233), so they rank and are no probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from modicum.classifiers.predicting import predict_in_passes
from modicum.memory.types import Item
from modicum.retrieval.rac import Branches
from modicum.runtime import Progress
from modicum.training.supervised_runs import SupervisedRun
from modicum.training.supervised_scoring import base_features

PASS = 8
"""Pictures per pass, as many as `modicum.models.embed` shows an encoder."""


class Retrieved(NamedTuple):
    """An item of the memory and its similarity to the picture asked about."""

    item: Item
    similarity: float


class BranchPrediction(NamedTuple):
    """One picture's answer: label, its score, `top` labels with scores, label by branch, items nearest first."""

    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    branches: dict[str, str]
    neighbours: tuple[Retrieved, ...]


@dataclass(frozen=True)
class BranchAnswers:
    """rows: (path, prediction) of what could be read; problems: (path, message) of what could not."""

    rows: tuple[tuple[str, BranchPrediction], ...]
    problems: tuple[tuple[str, str], ...]


def predict_retrieving(
    run: SupervisedRun,
    paths: Sequence[str],
    *,
    top: int = 3,
    neighbours: int = 3,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> BranchAnswers:
    """Predictions for picture files and for all pictures in folders. top: labels told, neighbours: items told of each."""
    where = device or torch.device("cpu")
    run.network.to(where).eval()
    data = run.record["data"]

    def predict(pixels: np.ndarray) -> list[BranchPrediction]:
        """Predictions of up to PASS pictures (n, H, W, C)."""
        return _predicted(run, pixels, where, top, neighbours)

    rows, problems = predict_in_passes(paths, data["size"], data["channels"], PASS, predict, progress)
    return BranchAnswers(tuple(rows), tuple(problems))


def _predicted(
    run: SupervisedRun, pixels: np.ndarray, where: torch.device, top: int, neighbours: int
) -> list[BranchPrediction]:
    """Predictions of up to PASS pictures (n, H, W, C)."""
    padded = np.zeros((PASS, *pixels.shape[1:]), np.uint8)
    padded[: len(pixels)] = pixels
    x = torch.from_numpy(padded).permute(0, 3, 1, 2).to(where)
    with torch.inference_mode():
        logits = run.network.branch_logits(x, features=base_features(run.network, x, run.config), seen=x)
        shares = run.network.chosen(logits).double().softmax(-1).cpu().numpy()
    return [_answer(run, logits, shares[row], row, top, neighbours) for row in range(len(pixels))]


def _answer(run: SupervisedRun, logits: Branches, p: np.ndarray, row: int, top: int, neighbours: int) -> BranchPrediction:
    best = tuple((run.classes[i], float(p[i])) for i in np.argsort(-p, kind="stable")[:top])
    of = {"base": logits.base, "retrieval": logits.retrieval, "both": logits.both}
    told = {name: run.classes[int(found[row].argmax())] for name, found in of.items() if found is not None}
    near: tuple[Retrieved, ...] = ()
    if logits.neighbours is not None and logits.items is not None:
        similar = logits.neighbours.similarity[row].tolist()
        near = tuple(Retrieved(*pair) for pair in zip(logits.items[row], similar, strict=True))[:neighbours]
    return BranchPrediction(*best[0], best, told, near)

"""Logits of every branch for many pictures, what was retrieved for them, and what the labels of neighbours alone say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modicum.augmentation.rand_augment import centre_crop
from modicum.configs import Train
from modicum.episodes.cutting import Pixels, gather
from modicum.errors import ConfigError
from modicum.memory.types import Neighbours
from modicum.retrieval.embedding import embed_batch, fitted
from modicum.retrieval.neighbours import classes_of, interpolate, vote, winners
from modicum.retrieval.payloads import Payloads, neighbours_of
from modicum.retrieval.rac import RAC
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.memory.types import Item
    from modicum.training.memories import RunMemory

Ints = NDArray[np.int64]
SCORED = 64
"""Pictures scored together: one number, so that equal pictures in equal order give equal bits."""


class Scored(NamedTuple):
    """Logits (n, L) of each branch, on the CPU, None for one that is not there; neighbours and items (n, k)."""

    base: Tensor | None
    retrieval: Tensor | None
    both: Tensor | None
    neighbours: Neighbours | None
    items: list[list[Item]]

    def logits(self) -> dict[str, Tensor]:
        """Branch -> logits (n, L), of those that are there."""
        found = {"base": self.base, "retrieval": self.retrieval, "both": self.both}
        return {name: logits for name, logits in found.items() if logits is not None}


def base_features(network: RAC, x: Tensor, config: Train) -> Tensor | None:
    """B's features (b, D) of pictures (b, C, H, W) outside training: of their middle, where training saw windows of them."""
    if network.base is None:
        return None
    features: Tensor = network.base(fitted(centre_crop(x) if config.rand_augment else x, network.base.spec))
    return features


def score_pictures(
    network: RAC,
    config: Train,
    pixels: Pixels,
    rows: Ints,
    device: torch.device,
    ids: Ints | None = None,
    progress: Progress | None = None,
) -> Scored:
    """Every branch in evaluation mode on pictures at rows (n,), which the memory's encoder sees whole, as its keys.

    config: of the training. ids (n,): items that a picture must not find, or -1.
    """
    training = network.training
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), SCORED):
            x = gather(pixels, rows[start : start + SCORED], device)
            features = base_features(network, x, config)
            own = None if ids is None else torch.from_numpy(ids[start : start + SCORED])
            parts.append(network.branch_logits(x, own, features=features, seen=x, leave_out=own is not None))
            if progress is not None:
                progress(min(start + SCORED, len(rows)), len(rows))
    network.train(training)
    base = _joined([part.base for part in parts])
    retrieval = _joined([part.retrieval for part in parts])
    both = _joined([part.both for part in parts])
    found = [part.neighbours for part in parts if part.neighbours is not None]
    neighbours = Neighbours(*(np.concatenate(column) for column in zip(*found, strict=True))) if found else None
    return Scored(base, retrieval, both, neighbours, [row for part in parts for row in part.items or []])


def with_neighbours(
    scored: Scored, found: RunMemory, k: int, pixels: Pixels, rows: Ints, device: torch.device, ids: Ints | None = None
) -> Scored:
    """The same with the k nearest items of a memory, where the network read none itself; arguments as `score_pictures`."""
    if scored.neighbours is not None:
        return scored
    encoder, starts = found.encoder.to(device), range(0, len(rows), SCORED)
    queries = [embed_batch(encoder, gather(pixels, rows[start : start + SCORED], device)).cpu().numpy() for start in starts]
    neighbours, items = Payloads(found.memory).found(lambda: neighbours_of(found.memory, np.concatenate(queries), k, ids))
    return scored._replace(neighbours=neighbours, items=items)


def voted(scored: Scored, classes: Sequence[str], share: float) -> dict[str, Ints]:
    """Predictions (n,) by the labels of neighbours alone, and with the base branch: `1-nn`, `knn`, `knn-interpolation`.

    Votes weigh exp(similarity / 0.1); labels that are none of the classes do not vote. share: weight of the votes beside
    the base branch's softmax. `ConfigError` without neighbours.
    """
    if scored.neighbours is None:
        raise ConfigError("votes: a run of the base branch alone reads no memory; give one with --memory")
    similarity, near = scored.neighbours.similarity, classes_of(scored.items, classes, skip_unknown=True)
    shares = {k: vote(similarity[:, :k], near[:, :k], len(classes), weighting="softmax") for k in (1, near.shape[1])}
    found = {"1-nn": winners(shares[1], near[:, :1]), "knn": winners(shares[near.shape[1]], near)}
    if scored.base is not None:
        mixed = interpolate(torch.from_numpy(shares[near.shape[1]]), scored.base.double().softmax(-1), share)
        found["knn-interpolation"] = mixed.argmax(-1).numpy()
    return found


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    there = [part.cpu() for part in parts if part is not None]
    return torch.cat(there) if there else None

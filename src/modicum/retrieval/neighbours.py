"""Classifying by the labels of neighbours: 1-NN, votes of k, and kNN-interpolation with another classifier.

Of the k nearest items with similarities s_1..s_k and classes y_1..y_k, class c gets the share

    p_knn(c) = sum_i u_i 1[y_i = c] / sum_i u_i

| weighting | u_i |
|---|---|
| uniform | 1: the share of votes |
| similarity | max(s_i, 0) for cosines; votes count as uniform where all are 0 |
| softmax | exp(s_i / T), T = 0.1; T = 1/2 is kNN-LM's exp(-d_i) for squared distances d_i of unit vectors |

    p(c) = lambda p_knn(c) + (1 - lambda) p_base(c)                                          kNN-interpolation

Equal shares go to the class whose first neighbour is nearer, so k = 1 and any k agree on what "nearest" means. Urvashi
Khandelwal, Omer Levy, Dan Jurafsky, Luke Zettlemoyer, Mike Lewis, "Generalization through Memorization: Nearest Neighbor
Language Models", ICLR 2020, arXiv 1911.00172 (interpolation). A label of the memory may be none of the classifier's: such a
neighbour is refused, or left out of the vote by an option; a picture with no vote at all gets equal shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from modicum.backbones.encoder import Encoder
from modicum.episodes.interfaces import AbstractClassifier
from modicum.errors import ConfigError, DataError
from modicum.memory.types import AbstractMemory, Item
from modicum.registry import suggest
from modicum.retrieval.embedding import PASS, embed_batch
from modicum.retrieval.payloads import Payloads, neighbours_of

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Values

Weighting = Literal["uniform", "similarity", "softmax"]


def classes_of(items: Sequence[Sequence[Item]], classes: Sequence[str], *, skip_unknown: bool = False) -> Ints:
    """Class numbers (Q, k) of items (Q, k) by their labels; -1 for a label that is not among classes, with skip_unknown.

    `DataError` without skip_unknown: an item has no label, or one that the classifier does not know.
    """
    number: Mapping[str | None, int] = {label: i for i, label in enumerate(classes)}
    if not skip_unknown:
        for item in (item for row in items for item in row if item.label not in number):
            what = "no label" if item.label is None else f"label {item.label!r}{suggest(item.label, classes)}"
            raise DataError(
                f"memory: item {item.id} ({item.source}/{item.name}) has {what}, expected one of the {len(classes)} "
                "classes; relabel it, or leave such neighbours out of the vote"
            )
    return np.array([[number.get(item.label, -1) for item in row] for row in items], np.int64).reshape(len(items), -1)


def _weights(similarity: Values, weighting: Weighting, temperature: float) -> Values:
    if weighting == "uniform":
        return np.ones_like(similarity)
    if weighting == "softmax":
        weights: Values = np.exp((similarity - similarity.max()) / temperature)  # the largest is 1: none overflows
        return weights
    positive = similarity.clip(0)
    return positive if positive.any() else np.ones_like(similarity)


def vote(
    similarity: Values, classes: Ints, n_classes: int, *, weighting: Weighting = "uniform", temperature: float = 0.1
) -> Values:
    """p_knn, float64 (Q, C), of similarities (Q, k), highest first, and class numbers (Q, k), -1 for no vote.

    temperature T: of "softmax", in units of similarity. `ConfigError`: unknown weighting, T <= 0.
    """
    if weighting not in get_args(Weighting):
        known = get_args(Weighting)
        raise ConfigError(f"weighting: expected {', '.join(known)}; found {weighting!r}{suggest(weighting, known)}")
    if not temperature > 0:
        raise ConfigError(f"temperature: expected a number above 0, found {temperature}")
    shares = np.full((len(similarity), n_classes), 1 / n_classes)
    for row in range(len(similarity)):
        voting = classes[row] >= 0
        if voting.any():
            u = _weights(similarity[row, voting], weighting, temperature)
            shares[row] = np.bincount(classes[row, voting], u, n_classes) / u.sum()
    return shares


def winners(shares: Values, classes: Ints) -> Ints:
    """The class (Q,) with the largest share (Q, C); among equal ones that of the nearest neighbour, classes (Q, k)."""
    best = shares >= shares.max(1, keepdims=True) * (1 - 1e-12)
    out: Ints = best.argmax(1)
    for row in range(len(shares)):
        near = [c for c in classes[row].tolist() if c >= 0 and best[row, c]]
        out[row] = near[0] if near else out[row]
    return out


def interpolate(knn: Tensor, base: Tensor, share: float) -> Tensor:
    """Probabilities (..., C) of kNN-interpolation from p_knn (..., C) and p_base (..., C). share: lambda in [0, 1]."""
    if not 0 <= share <= 1:
        raise ConfigError(f"lambda: expected a share in [0, 1], found {share}")
    return share * knn + (1 - share) * base


@final
class KNN(AbstractClassifier):
    """Votes of the k nearest items of a memory, by a frozen encoder; nothing is trained. k = 1 is the 1-NN classifier."""

    def __init__(
        self,
        encoder: Encoder,
        memory: AbstractMemory,
        classes: Sequence[str],
        *,
        k: int = 1,
        weighting: Weighting = "uniform",
        temperature: float = 0.1,
        skip_unknown: bool = False,
        embedding_batch: int = PASS,
    ) -> None:
        super().__init__()
        if memory.info.dim != encoder.n_features:
            raise ConfigError(
                f"memory: holds embeddings of {memory.info.dim} numbers, but encoder {encoder.name} gives "
                f"{encoder.n_features}; create a memory with this encoder"
            )
        if k < 1:
            raise ConfigError(f"k: expected at least 1 neighbour, found {k}")
        self.encoder = encoder.eval().requires_grad_(False)
        self.classes, self.k, self.weighting, self.temperature = tuple(classes), k, weighting, temperature
        self.skip_unknown, self.embedding_batch = skip_unknown, embedding_batch
        self.payloads = Payloads(memory)

    def votes(self, query: np.ndarray, ids: Ints | None = None) -> tuple[Values, Ints]:
        """p_knn (Q, C) and the neighbours' classes (Q, k) of embeddings (Q, D); ids (Q,): items left out, -1 for none."""
        found, items = self.payloads.found(lambda: neighbours_of(self.payloads.memory, query, self.k, ids))
        classes = classes_of(items, self.classes, skip_unknown=self.skip_unknown)
        shares = vote(found.similarity, classes, len(self.classes), weighting=self.weighting, temperature=self.temperature)
        return shares, classes

    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """p_knn, float64 (B, C), of pictures (B, C, H, W). id (B,): the items they are themselves, left out; -1 for none."""
        query = embed_batch(self.encoder, x, self.embedding_batch).cpu().numpy()
        ids = None if id is None else np.asarray(id.detach().cpu().numpy(), np.int64)
        return torch.from_numpy(self.votes(query, ids)[0]).to(x.device)

    def predict(self, query: np.ndarray, ids: Ints | None = None) -> Ints:
        """Class numbers (Q,) of embeddings (Q, D), ties as documented; ids as in `votes`."""
        return winners(*self.votes(query, ids))

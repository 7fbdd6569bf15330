"""Retrieval Augmented Classification: a classifier whose logits also come from the texts of retrieved pictures.

Alexander Long, Wei Yin, Thalaiyasingam Ajanthan, Vu Nguyen, Pulak Purkait, Ravi Garg, Alan Blair, Chunhua Shen, Anton van
den Hengel, "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233. With the
texts t_1..t_k of the k items nearest to E(x) in a memory, most similar first,

    f_base = W_B B(x) + b_B,    f_ret = W_T T(t_1 .. t_k) + b_T,
    f = (L / 2) (f_ret / ||f_ret|| + f_base / ||f_base||)                                                       (5)

| symbol | variable | shape |
|---|---|---|
| B | base, trained | (B, C, H, W) -> (B, D_B) |
| E | encoder, frozen, always in evaluation mode | (B, C, H, W) -> (B, D) |
| T | text | B lists of k texts -> (B, T) |
| W_B, b_B; W_T, b_T | base_linear; retrieval_linear | D_B -> L; T -> L |
| L | n_classes | |

In training a picture must not find itself: `exclude="identity"` leaves out the item whose id it has, so duplicates of it
and approximate search stay right; "rank" drops the first hit whatever it is, as published; "none" drops nothing. E sees the
picture as B does, augmented. `cache_neighbours` looks up the picture's own key instead, once per picture and state of the
memory: E is then not run in training, and neighbours do not vary with augmentation, which is another method.

The memory is not part of the model: it may be changed at any time, and the next call sees the change. Neither it nor E is
in the state dict. In evaluation mode neighbours are a function of the picture and the memory alone, to the bit, where the
memory searches exactly: E embeds in passes of one shape (`embedding.embed_batch`), the memory rescores in a fixed order.
In training E takes up to 64 pictures at once, a third of the time for large encoders: the keys' function to rounding, and
equal batches have equal neighbours. Logits are products over the batch: equal to the bit for equal batches.

Deviations: both linear layers start by Xavier's uniform rule with biases 0 (the paper names Xavier, not the biases). A
branch of logits that are all 0 stays 0 in (5), with a bounded gradient. A single branch's logits are not normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from modicum.backbones.encoder import Encoder
from modicum.episodes.interfaces import AbstractClassifier
from modicum.errors import ConfigError
from modicum.memory.types import AbstractMemory, Item, Neighbours
from modicum.registry import suggest
from modicum.retrieval.embedding import PASS, embed_batch, even_pass
from modicum.retrieval.payloads import KeptNeighbours, Payloads, neighbours_of
from modicum.retrieval.text import AbstractTextEncoder

BranchNames = Literal["both", "base", "retrieval"]
Exclude = Literal["identity", "rank", "none"]


class Branches(NamedTuple):
    """Logits (B, L) of each branch, None for one that the model does not have; `both` is eq. 5.

    neighbours, items (B, k): what the retrieval branch read.
    """

    base: Tensor | None
    retrieval: Tensor | None
    both: Tensor | None
    neighbours: Neighbours | None = None
    items: list[list[Item]] | None = None


def unit(f: Tensor) -> Tensor:
    """Rows (..., L) over their Euclidean norm, in float32 at least; rows of zeros stay, with the identity as gradient."""
    f = f.to(torch.promote_types(f.dtype, torch.float32))
    largest = f.detach().abs().amax(-1, keepdim=True)  # scaled first: squares of 1e-30 or 1e30 are 0 or infinite
    f = f / torch.where(largest > 0, largest, 1)
    return f / torch.where(largest > 0, f.norm(dim=-1, keepdim=True), 1)


def combine(f_ret: Tensor, f_base: Tensor) -> Tensor:
    """Combined logits (..., L) of two branches (..., L), eq. 5; `ConfigError` where their shapes differ."""
    if f_ret.shape != f_base.shape:
        raise ConfigError(f"combine: expected logits of one shape, found {tuple(f_ret.shape)} and {tuple(f_base.shape)}")
    return f_ret.shape[-1] / 2 * (unit(f_ret) + unit(f_base))


def _linear(n_features: int, n_classes: int) -> nn.Linear:
    layer = nn.Linear(n_features, n_classes)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@final
class RAC(AbstractClassifier):
    """Base branch, retrieval branch, or both. `base`, `base_linear`, `text`, `retrieval_linear` are None where not used.

    neighbours: k. exclude, cache_neighbours: see above. embedding_batch: pictures per pass of E in evaluation; keys made
    with another number are met to rounding only. `ConfigError`: a branch lacks its parts, or dimensions differ.
    """

    base: Encoder | None
    base_linear: nn.Module | None
    text: AbstractTextEncoder | None
    retrieval_linear: nn.Module | None

    def __init__(
        self,
        n_classes: int,
        *,
        base: Encoder | None = None,
        encoder: Encoder | None = None,
        memory: AbstractMemory | None = None,
        text: AbstractTextEncoder | None = None,
        branches: BranchNames = "both",
        neighbours: int = 30,
        exclude: Exclude = "identity",
        cache_neighbours: bool = False,
        embedding_batch: int = PASS,
    ) -> None:
        super().__init__()
        _check(n_classes, branches, neighbours, exclude, embedding_batch)
        self.n_classes, self.branches, self.k, self.exclude = n_classes, branches, neighbours, exclude
        self.cache_neighbours, self.embedding_batch = cache_neighbours, embedding_batch
        self._frozen: tuple[Encoder, ...] = ()  # in a tuple: neither a submodule nor in the state dict
        self._payloads: Payloads | None = None
        self._kept: KeptNeighbours | None = None
        self.base = self.base_linear = self.text = self.retrieval_linear = None
        if branches != "retrieval":
            if base is None:
                raise ConfigError(f"base: branches {branches!r} need an encoder to train, found none")
            self.base, self.base_linear = base, _linear(base.n_features, n_classes)
        if branches != "base":
            if encoder is None or memory is None or text is None:
                raise ConfigError(f"branches {branches!r} need encoder, memory and text, found one of them missing")
            if encoder is base:
                raise ConfigError("encoder: expected another object than base, which is trained; load it a second time")
            self._frozen = (encoder.eval().requires_grad_(False),)
            self.text, self.retrieval_linear = text, _linear(text.n_features, n_classes)
            self.attach(memory)

    @property
    def encoder(self) -> Encoder | None:
        """E, None without a retrieval branch."""
        return self._frozen[0] if self._frozen else None

    @property
    def memory(self) -> AbstractMemory | None:
        """The memory that is read, None without a retrieval branch."""
        return None if self._payloads is None else self._payloads.memory

    def attach(self, memory: AbstractMemory) -> None:
        """Read this memory from now on; `ConfigError` where its embeddings have another dimension than E's."""
        encoder = self.encoder
        if encoder is None:
            raise ConfigError("memory: a model of the base branch alone reads none")
        if memory.info.dim != encoder.n_features:
            raise ConfigError(
                f"memory: holds embeddings of {memory.info.dim} numbers, but encoder {encoder.name} gives "
                f"{encoder.n_features}; create a memory with this encoder"
            )
        self._payloads = Payloads(memory)
        self._kept = KeptNeighbours(self._payloads, self.k)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RAC:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for encoder in self._frozen:  # moved along, but its precision and layout are those the keys were made with
            encoder.to(device=next(self.parameters()).device)
        return self

    def embed(self, x: Tensor) -> Tensor:
        """E's embeddings, float32 (B, D), of pictures (B, C, H, W): queries, and what keys should be made with."""
        if not self._frozen:
            raise ConfigError("encoder: a model of the base branch alone has none")
        return embed_batch(self._frozen[0], x, self.embedding_batch)

    def neighbours(
        self, x: Tensor, id: Tensor | None = None, *, leave_out: bool | None = None
    ) -> tuple[Neighbours, list[list[Item]]]:
        """The neighbours (B, k) of pictures x (B, C, H, W) and their items, as the memory is now.

        id (B,): what item each picture is, -1 for none. leave_out: whether a picture is kept from finding itself (outside of
        training always by identity); None: in training mode only. `DataError`: too few items in the memory.
        """
        if self._payloads is None or self._kept is None:
            raise ConfigError("neighbours: a model of the base branch alone reads no memory")
        payloads, kept, leave_out = self._payloads, self._kept, self.training if leave_out is None else leave_out
        ids = None if id is None else np.asarray(id.detach().cpu().numpy(), np.int64)
        drop_first = leave_out and self.training and self.exclude == "rank"
        by_identity = leave_out and (self.exclude == "identity" or not self.training)
        if by_identity and ids is None:
            raise ConfigError("id: excluding a picture by identity needs its id, found None; -1 stands for no item")
        if self.cache_neighbours and self.training and ids is not None and bool((ids >= 0).all()):
            own = ids
            return payloads.found(lambda: kept.find(own, by_identity, drop_first))
        query = embed_batch(self._frozen[0], x, even_pass(len(x)) if self.training else self.embedding_batch).cpu().numpy()
        out = ids if by_identity else None
        return payloads.found(lambda: neighbours_of(payloads.memory, query, self.k, out, drop_first))

    def base_logits(self, features: Tensor) -> Tensor:
        """f_base (B, L) from B's features (B, D_B)."""
        if self.base_linear is None:
            raise ConfigError("base_logits: this model has no base branch")
        logits: Tensor = self.base_linear(features)
        return logits

    def retrieval_logits(self, items: Sequence[Sequence[Item]]) -> Tensor:
        """f_ret (B, L) from the items (B, k) of neighbours, nearest first: their texts, else their labels, else nothing."""
        if self.text is None or self.retrieval_linear is None:
            raise ConfigError("retrieval_logits: this model has no retrieval branch")
        logits: Tensor = self.retrieval_linear(self.text([[item.words for item in row] for row in items]))
        return logits

    def branch_logits(
        self,
        x: Tensor,
        id: Tensor | None = None,
        *,
        features: Tensor | None = None,
        seen: Tensor | None = None,
        leave_out: bool | None = None,
    ) -> Branches:
        """Logits of every branch for pictures x (B, C, H, W), and what was retrieved.

        features (B, D_B): B's, where the caller ran B itself (batch norm in training); else B runs as it stands. seen: the
        pictures as E shall see them, x where None. id, leave_out: as `neighbours`. Errors: as `neighbours` and B's.
        """
        base = retrieval = neighbours = items = None
        if self.base is not None:
            base = self.base_logits(self.base(x) if features is None else features)
        if self._frozen:
            neighbours, items = self.neighbours(x if seen is None else seen, id, leave_out=leave_out)
            retrieval = self.retrieval_logits(items)
        both = None if base is None or retrieval is None else combine(retrieval, base)
        return Branches(base, retrieval, both, neighbours, items)

    def chosen(self, logits: Branches) -> Tensor:
        """The logits (B, L) of the branch or branches this model consists of: what is trained and predicted with."""
        found = {"both": logits.both, "base": logits.base, "retrieval": logits.retrieval}[self.branches]
        assert found is not None
        return found

    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """Logits (B, L) of pictures x (B, C, H, W). id (B,): what item of the memory each is, -1 for none."""
        return self.chosen(self.branch_logits(x, id))


def _check(n_classes: int, branches: str, neighbours: int, exclude: str, embedding_batch: int) -> None:
    if min(n_classes, neighbours, embedding_batch) < 1:
        found = f"{n_classes}, {neighbours} and {embedding_batch}"
        raise ConfigError(f"n_classes, neighbours, embedding_batch: expected at least 1 each, found {found}")
    for name, value, known in (("branches", branches, get_args(BranchNames)), ("exclude", exclude, get_args(Exclude))):
        if value not in known:
            raise ConfigError(f"{name}: expected {', '.join(known)}; found {value!r}{suggest(value, known)}")

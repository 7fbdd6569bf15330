"""What of Milvus' answers is computed again here: similarities of candidates, and whether the rows are sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.memory.milvus_rows import FIELDS, MilvusRows
from modicum.memory.types import Neighbours, item_id
from modicum.similarity import cosine_similarities, dot_similarities, squared_lengths

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows


def nearest(asked: Rows, near: Sequence[Sequence[int]], ids: Ints, keys: Rows, k: int, metric: str) -> Neighbours:
    """The k best of each query's candidates by exact similarity, ties by id.

    asked (Q, D); near: Q lists of k or more ids; ids (n,): all of them, rising, and keys (n, D): their embeddings.
    """
    similarity, best = np.empty((len(asked), k)), np.empty((len(asked), k), np.int64)
    for place, found in enumerate(near):
        own = np.sort(np.array(found, np.int64))
        values = similarities(asked[place : place + 1], keys[np.searchsorted(ids, own)], metric)[0]
        order = np.argsort(-values, kind="stable")[:k]
        similarity[place], best[place] = values[order], own[order]
    return Neighbours(similarity, np.full_like(best, -1), best)


def similarities(query: Rows, keys: Rows, metric: str) -> npt.NDArray[np.float64]:
    """(Q, D) and (n, D) -> float64 (Q, n): cosine, or minus the squared distance, by the fixed-order kernel."""
    if metric == "cosine":
        return cosine_similarities(query, keys)
    own, squares = squared_lengths(query), squared_lengths(keys)
    found: npt.NDArray[np.float64] = np.minimum(2.0 * dot_similarities(query, keys) - (own[:, None] + squares[None]), 0.0)
    return found


def problems(rows: MilvusRows, dim: int) -> list[str]:
    """What is wrong with the rows of a memory, one sentence each; [] where nothing is."""
    found, names = [], Counter[tuple[str, str]]()
    for row in rows.every("", FIELDS):
        vector = np.array(row["vector"], np.float32)
        if vector.shape != (dim,) or not np.isfinite(vector).all():
            found.append(f"the embedding of item {row['id']} is not {dim} finite numbers")
        if row["name_key"] != item_id(row["source"], row["name"]) or row["source_key"] != item_id(row["source"], ""):
            found.append(f"item {row['id']} was changed by other means than modicum: it is not found by its name or source")
        names[row["source"], row["name"]] += 1
    return found + [f"source {source!r} has {n} items {name!r}" for (source, name), n in names.items() if n > 1]

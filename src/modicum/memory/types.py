"""What a memory holds, what it answers, and the interface of every store. Imports no torch, and numpy for types only.

An item is an embedding with an id, a name inside its source, a label and/or a text, and the time it was added. Ids are a
function of source and name: a memory that never held an item gives all others the ids they have in one that did.
"""

from __future__ import annotations

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from modicum.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Rows = npt.NDArray[np.float32]
    Values = npt.NDArray[np.float64]

Metric = Literal["cosine", "l2"]
ID_BITS = 53
"""Ids fit into the whole numbers that JSON readers keep exact."""


class Item(NamedTuple):
    """One item without its embedding. name: unique within its source; label, text: None for none; time: Unix seconds.

    digest: of what was embedded, "" where unknown.
    """

    id: int
    source: str
    name: str
    label: str | None
    text: str | None
    time: float
    digest: str = ""

    @property
    def words(self) -> str:
        """The text, else the label, else ""."""
        return self.text or self.label or ""


class Batch(NamedTuple):
    """Items to be added together: ids (n,), vectors (n, D), and n names, labels and texts, all of one source.

    digests: n digests of what was embedded ("" where unknown), which tell a picture that changed from one that did not.
    times: when they were added, Unix seconds; None for now.
    """

    ids: Ints
    vectors: Rows
    source: str
    names: Sequence[str]
    labels: Sequence[str | None]
    texts: Sequence[str | None]
    digests: Sequence[str]
    times: Sequence[float] | None = None


class Neighbours(NamedTuple):
    """The k nearest items of each query, most similar first, ties by id. similarity (Q, k) float64, id (Q, k) int64.

    index (Q, k): where the item lies in the engine that found it; of no meaning elsewhere.
    """

    similarity: Values
    index: Ints  # type: ignore[assignment]  # tuple.index is of no use here
    id: Ints


class Change(NamedTuple):
    """One entry of a store's log of changes; numbers rise, and entries of one commit follow each other."""

    number: int
    op: Literal["add", "remove", "relabel"]
    id: int


@dataclass(frozen=True)
class MemoryInfo:
    """What a memory was created for: D, metric, the encoder's name and fingerprint ("" for embeddings of one's own).

    `ConfigError` for another metric.
    """

    dim: int
    metric: Metric = "cosine"
    encoder: str = ""
    fingerprint: str = ""
    created: float = 0.0

    def __post_init__(self) -> None:
        if self.metric not in get_args(Metric):
            raise ConfigError(f"metric: expected one of {', '.join(get_args(Metric))}, found {self.metric!r}")


@dataclass(frozen=True)
class Stats:
    """items, sources and labels with their counts (None: items without label), index in use, items not yet in it, bytes."""

    info: MemoryInfo
    items: int
    sources: dict[str, int]
    labels: dict[str | None, int]
    index: str
    pending: int
    bytes_on_disk: int


def item_id(source: str, name: str, attempt: int = 0) -> int:
    """The id of an item, 0 <= id < 2^53, from its source and name. attempt: the next one where another item has that id."""
    key = "\0".join([source, name, *([str(attempt)] if attempt else [])])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> (64 - ID_BITS)


def item_ids(source: str, names: Sequence[str]) -> list[int]:
    """`item_id` of many names, in a third of the time."""
    known, hashed = f"{source}\0".encode(), hashlib.blake2b
    digests = [hashed(known + name.encode(), digest_size=8).digest() for name in names]
    return [number >> (64 - ID_BITS) for number in struct.unpack(f">{len(digests)}Q", b"".join(digests))]


class AbstractMemory(ABC):
    """The interface of every memory. All methods raise `DataError` for bad input, and then have changed nothing."""

    info: MemoryInfo

    @abstractmethod
    def add(
        self,
        embeddings: npt.ArrayLike,
        labels: Sequence[str | None] | None = None,
        *,
        texts: Sequence[str | None] | None = None,
        names: Sequence[str] | None = None,
        source: str = "",
        ids: npt.ArrayLike | None = None,
        digests: Sequence[str] | None = None,
    ) -> Ints:
        """Add n items and return their ids (n,); when it returns, they are durable as far as the store promises.

        embeddings (n, D). names: default "0", "1", ... counted on from what the source holds. ids: default `item_id`.
        Refused: another D, NaN or infinity, an embedding of zeros under cosine, an id or name that is there already.
        """

    @abstractmethod
    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove items; returns how many. Refused: an unknown id."""

    @abstractmethod
    def relabel(self, ids: npt.ArrayLike, label: str | None = None, *, text: str | None = None) -> int:
        """Give items another label and/or text (None: as it is); returns how many. Refused: an unknown id."""

    @abstractmethod
    def remove_source(self, source: str) -> int:
        """Remove all items of a source; returns how many. Refused: an unknown source."""

    @abstractmethod
    def lookup(self, query: npt.ArrayLike, k: int, exclude: npt.ArrayLike | None = None) -> Neighbours:
        """The k nearest items of query (Q, D). exclude: ids (Q,) or (Q, m) not to be returned to that query, -1 for none.

        Refused: k < 1, k above the number of items less the excluded ones, an empty memory, another D, NaN.
        """

    @abstractmethod
    def payload(self, ids: npt.ArrayLike) -> list[Item]:
        """The items of ids (n,), in their order. Refused: an unknown id."""

    @abstractmethod
    def vectors(self, ids: npt.ArrayLike) -> Rows:
        """Embeddings, float32 (n, D), of ids (n,). Refused: an unknown id."""

    @abstractmethod
    def items(self, source: str | None = None, label: str | None = None) -> Iterator[Item]:
        """All items, or those of a source or label, by rising id."""

    @abstractmethod
    def ids_of(self, source: str, names: Sequence[str]) -> Ints:
        """Ids (n,) of named items of a source, -1 where there is none."""

    @abstractmethod
    def snapshot(self, target: Path | str) -> None:
        """Write a consistent copy of the memory as it is now, whole or not at all; refused where something is there."""

    def last_change(self) -> int | None:
        """A number that is another one after every change, by whichever process; cheap. None: the store does not count them.

        Readers that keep payloads read them again when it differs, and every time where it is None.
        """
        return None

    def rebuild(self) -> None:
        """Make what is derived from the items, such as an index, anew; nothing where a store keeps that itself."""
        return None

    @abstractmethod
    def stats(self) -> Stats:
        """Counts and sizes."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def close(self) -> None:
        """Release files and threads; what was acknowledged is durable without it."""

    def __enter__(self) -> AbstractMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

"""Options of `modicum memory ...`. Field comments are the help texts of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modicum.configs.options import require

Index = Literal["auto", "exact", "hnsw", "hnsw-sq8", "ivf"]


@dataclass(frozen=True)
class MemoryCreate:
    """An empty memory for the embeddings of one encoder."""

    store: str  # folder, made here, or milvus+URI (a server, or a file that ends in .db), milvus+URI#COLLECTION
    encoder: str  # pixels (the standardised picture itself) | characters | pictures | RUN | saved folder | timm/NAME
    metric: Literal["cosine", "l2"] = "cosine"  # what nearest means
    online: bool = False  # allow hub downloads of encoder weights


@dataclass(frozen=True)
class MemoryAdd:
    """Pictures for a memory; those that it holds already are skipped, so the same command goes on after a kill."""

    store: str  # the memory
    data: str  # folder of class folders, CSV, zip or known name; an item's name is its path inside, its label its class
    source: str | None = None  # what these pictures are called together (default: the name of DIR)
    texts: str | None = None  # CSV with columns path (or id) and text: what is known of pictures beside their label
    replace: bool = False  # take pictures anew whose content changed since they were added (default: only name them)
    plain: bool = False  # print nothing but a line `ack ID` for every item, once it is safe
    batch: int = 256  # items that are made safe together
    root: str | None = None  # where known data sets lie (default: MODICUM_DATA)

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch: expected at least 1, found {self.batch}")
        require(self.source != "", "source: expected a name, found an empty one")


def _require_some(ids: list[int], source: str | None, names: list[str], what: str) -> None:
    require(not names or source is not None, "names: expected --source beside them; names are unique within a source only")
    require(bool(ids) or source is not None, f"nothing to {what}: give ids (see `modicum memory list`), or --source NAME")
    require(not ids or source is None, "ids and --source: expected one of them, found both; an id needs no source")


@dataclass(frozen=True)
class MemoryRemove:
    """Remove items or a whole source; what is left answers as if they had never been there."""

    store: str  # the memory
    ids: list[int] = field(default_factory=list)  # ids of items, as `list` and `search` show them
    source: str | None = None  # remove this source
    names: list[str] = field(default_factory=list)  # ... or only these items of it

    def __post_init__(self) -> None:
        _require_some(self.ids, self.source, self.names, "remove")


@dataclass(frozen=True)
class MemoryRelabel:
    """Give items another label or text."""

    store: str  # the memory
    ids: list[int] = field(default_factory=list)  # ids of items, as `list` and `search` show them
    source: str | None = None  # relabel this source
    names: list[str] = field(default_factory=list)  # ... or only these items of it
    label: str | None = None  # the new label
    text: str | None = None  # the new text

    def __post_init__(self) -> None:
        _require_some(self.ids, self.source, self.names, "relabel")
        require(self.label is not None or self.text is not None, "nothing to relabel with: give --label or --text")


@dataclass(frozen=True)
class MemoryList:
    """The items of a memory."""

    store: str  # the memory
    source: str | None = None  # only this source
    label: str | None = None  # only this label
    rows: int = 20  # how many to show; --json writes all
    json: str | None = None  # write the items here: {"items": [{"id", "label", "source", "name", "text", "time"}]}

    def __post_init__(self) -> None:
        require(self.rows >= 0, f"rows: expected 0 or more, found {self.rows}")


@dataclass(frozen=True)
class MemorySearch:
    """The items nearest to pictures."""

    store: str  # the memory
    images: list[str]  # picture files or folders of pictures
    k: int = 5  # how many items to show
    index: Index = "auto"  # what answers: exact, or approximate and faster in large memories
    json: str | None = None  # write the result here

    def __post_init__(self) -> None:
        require(self.k >= 1, f"k: expected at least 1, found {self.k}")


@dataclass(frozen=True)
class MemoryStats:
    """What a memory holds: items by source and by label, its encoder, its size."""

    store: str  # the memory
    json: str | None = None  # write the result here


@dataclass(frozen=True)
class MemoryVerify:
    """Examine a memory, everything it stores. Exit code 1 where something is wrong with it."""

    store: str  # the memory
    json: str | None = None  # write the findings here


@dataclass(frozen=True)
class MemoryRebuild:
    """Make the vector file and the index of a memory anew from what it stores."""

    store: str  # the memory
    index: Index = "auto"  # which index to make


@dataclass(frozen=True)
class MemoryMove:
    """Copy a memory into another store, here or on Milvus, ids and all; the old one stays until you delete it."""

    store: str  # the memory
    target: str  # folder, or milvus+URI; nothing may be there yet

"""`modicum memory add`: pictures for a memory.

Part by part, each in one commit: names that are there already are told from new ones, new pictures are decoded and
embedded, and acknowledged once the store has them for good. So a kill loses nothing that was acknowledged, and the same
command goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from modicum.commands.memory.encoders import Embedder, embedder_of
from modicum.commands.memory.pictures import Part, Pictures, open_data, read_texts
from modicum.commands.memory.stores import Opened, ids_of, open_store
from modicum.commands.output import counted
from modicum.commands.progress import progress
from modicum.configs import MemoryAdd
from modicum.data.images import Problem
from modicum.errors import DataError
from modicum.memory.store import Store
from modicum.memory.types import Batch, item_id
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.memory.types import Ints

_SHOWN = 5


@dataclass
class Added:
    """What became of the pictures: how many were added, how many were there already, names of those that changed."""

    source: str
    added: int = 0
    replaced: int = 0
    there: int = 0
    changed: list[str] = field(default_factory=list)


def _free_ids(opened: Opened, source: str, names: list[str], old: set[int]) -> Ints:
    """Ids by `item_id`, the next attempt where another item has that id, which is rare. old: ids that become free."""
    ids, taken = [], set[int]()
    for name in names:
        attempt = 0
        while (id_ := item_id(source, name, attempt)) in taken or (id_ not in old and _holds(opened, id_)):
            attempt += 1
        taken.add(id_)
        ids.append(id_)
    return np.array(ids, np.int64)


def _holds(opened: Opened, id_: int) -> bool:
    try:
        opened.payload([id_])
    except DataError:
        return False
    return True


def _store(opened: Opened, batch: Batch, old: list[int]) -> None:
    """Add a batch in place of old items: in one commit where the store has such."""
    if isinstance(opened, Store):
        opened.add(batch, instead_of=old)
        return
    if old:
        opened.remove(old)
    opened.add_batch(batch)


def _commit(opened: Opened, batch: Batch, old: list[int]) -> Ints:
    """`_store`; the batch's ids, which may be others where an item of another name has one of them."""
    try:
        _store(opened, batch, old)
    except DataError:
        free = _free_ids(opened, batch.source, list(batch.names), set(old))
        if (free == batch.ids).all():
            raise
        batch = batch._replace(ids=free)
        _store(opened, batch, old)
    return batch.ids


def _shifted(tick: Progress, start: int, total: int) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done, _: tick(start + done, total)


class Adding:
    """The pictures of one DIR on their way into a store."""

    def __init__(self, config: MemoryAdd, opened: Opened, found: Embedder, pictures: Pictures) -> None:
        self.config, self.opened, self.embedder, self.pictures = config, opened, found, pictures
        self.texts: Mapping[str, str] = read_texts(config.texts) if config.texts else {}
        self.done = Added(config.source or pictures.listing.name)
        self._old: dict[str, int] = {}  # ids of items of this part that changed and are to be replaced
        unknown = sorted(set(self.texts) - set(pictures.listing.paths))
        if unknown:
            raise DataError(f"texts: {config.texts} names {len(unknown)} pictures that {config.data} lacks: "
                            f"{', '.join(unknown[:_SHOWN])}{', ...' if unknown[_SHOWN:] else ''}")  # fmt: skip

    def run(self, tick: Progress) -> Added:
        """Add everything, a part after the other."""
        total = len(self.pictures)
        for start in range(0, total, self.config.batch):
            stop = min(start + self.config.batch, total)
            tick(start, total)
            if places := self._wanted(start, stop):
                self._add(self.pictures.read(places), _shifted(tick, start, total))
        tick(total, total)
        return self.done

    def _wanted(self, start: int, stop: int) -> list[int]:
        """The places of pictures from start to stop that are to be added: new ones, on request also changed ones."""
        names = self.pictures.names(start, stop)
        held = dict(zip(range(start, stop), ids_of(self.opened, self.done.source, names), strict=True))
        there = {place: id_ for place, id_ in held.items() if id_ is not None}
        items = self.opened.payload(list(there.values()))
        digests = self.pictures.digests(list(there))
        changed = {}
        for (place, id_), item, digest in zip(there.items(), items, digests, strict=True):
            if digest and item.digest and digest != item.digest:
                changed[place] = id_
        self.done.there += len(there) - len(changed)
        self.done.changed += [names[place - start] for place in changed]
        self._old = {names[place - start]: id_ for place, id_ in changed.items()} if self.config.replace else {}
        return [place for place, id_ in held.items() if id_ is None or names[place - start] in self._old]

    def _add(self, part: Part, tick: Progress) -> None:
        if not part.names:
            return
        vectors = self.embedder.embed(part.pixels, tick)
        flat = ~vectors.any(1) if self.opened.info.metric == "cosine" else np.zeros(len(vectors), bool)
        told = f"{self.embedder.name} gives zeros for it, which have no direction (do all its pixels have one value?)"
        self.pictures.problems += [Problem(part.names[row], "no-direction", told) for row in np.flatnonzero(flat)]
        rows = np.flatnonzero(~flat)
        if not len(rows):
            return
        names = [part.names[row] for row in rows]
        source = self.done.source
        ids = np.array([item_id(source, name) for name in names], np.int64)
        labels, digests = [part.labels[row] for row in rows], [part.digests[row] for row in rows]
        texts = [self.texts.get(name) for name in names]
        old = [self._old[name] for name in names if name in self._old]  # one that cannot be read any more stays as it was
        acknowledged = _commit(self.opened, Batch(ids, vectors[rows], source, names, labels, texts, digests), old)
        self.done.added += len(rows)
        self.done.replaced += len(old)
        if self.config.plain:
            print("\n".join(f"ack {id_}" for id_ in acknowledged.tolist()), flush=True)


def _show(done: Added, pictures: Pictures, config: MemoryAdd) -> None:
    """Say what became of the pictures, on stderr where stdout is for acknowledgements."""
    out = sys.stderr if config.plain else sys.stdout
    for problem in pictures.problems[:10]:
        print(f"left out: {problem.path}: {problem.message}", file=out)
    if len(pictures.problems) > 10:
        print(f"left out: {len(pictures.problems) - 10} more; `modicum check` names them all", file=out)
    if done.changed:
        told = f"{', '.join(done.changed[:_SHOWN])}{', ...' if done.changed[_SHOWN:] else ''}"
        what = "taken anew" if config.replace else "left as they were; --replace takes them anew"
        print(f"changed since they were added: {counted(len(done.changed), 'picture')} ({told}), {what}", file=out)
    there = f"; {done.there:,} were there already" if done.there else ""
    new = f", {done.replaced:,} of them anew" if done.replaced else ""
    told = f"added {done.added:,} of {counted(len(pictures), 'picture')} to {config.store} as source {done.source!r}"
    print(f"{told}{new}{there}", file=out)


def run(config: MemoryAdd) -> int:
    """Add and tell; always 0."""
    with open_store(config.store) as opened:
        found = embedder_of(config.store, opened.info)
        pictures = open_data(config.data, config.root, found.size, found.channels)
        adding = Adding(config, opened, found, pictures)
        with progress("adding") as tick:
            done = adding.run(tick)
    _show(done, pictures, config)
    return 0

"""Neighbours together with what lies beside them in the memory, read once and kept until the memory changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from modicum.errors import DataError
from modicum.memory.types import AbstractMemory, Item, Neighbours

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows

_ATTEMPTS = 4


class Payloads:
    """Items of a memory by id. A memory that does not count its changes is asked anew every time.

    state: rises whenever what was read may no longer hold.
    """

    def __init__(self, memory: AbstractMemory) -> None:
        self.memory = memory
        self.state = 0
        self._change: int | None = None
        self._items: dict[int, Item] = {}

    def refresh(self) -> int:
        """Forget everything if the memory changed since the last call, or may have; returns the state."""
        now = self.memory.last_change()
        if now is None or now != self._change:
            self._change = now
            self._items.clear()
            self.state += 1
        return self.state

    def items(self, ids: Ints) -> list[list[Item]]:
        """Items (Q, k) of ids (Q, k); `DataError` for an unknown id."""
        known = self._items
        lacking = [id for id in dict.fromkeys(ids.ravel().tolist()) if id not in known]
        if lacking:
            known.update((item.id, item) for item in self.memory.payload(np.array(lacking, np.int64)))
        return [[known[id] for id in row] for row in ids.tolist()]

    def found(self, find: Callable[[], Neighbours]) -> tuple[Neighbours, list[list[Item]]]:
        """Neighbours and their items (Q, k), of one state even where another process removes items in between."""
        for attempt in range(_ATTEMPTS):
            before = self.refresh()
            neighbours = find()
            try:
                return neighbours, self.items(neighbours.id)
            except DataError:  # found, then removed
                if attempt == _ATTEMPTS - 1 or self.refresh() == before:
                    raise
        raise AssertionError("unreachable")


def neighbours_of(
    memory: AbstractMemory, query: Rows, k: int, exclude: Ints | None = None, drop_first: bool = False
) -> Neighbours:
    """The k nearest items of query (Q, D). exclude (Q,): ids left out, -1 for none; drop_first: the nearest is left out.

    `DataError`: the memory holds too few items for that.
    """
    try:
        if not drop_first:
            return memory.lookup(query, k, exclude)
        similarity, index, id = memory.lookup(query, k + 1, exclude)
        return Neighbours(similarity[:, 1:], index[:, 1:], id[:, 1:])
    except DataError as error:
        there, itself = len(memory), drop_first or (exclude is not None and bool((exclude >= 0).any()))
        if there >= k + itself:
            raise
        raise DataError(
            f"neighbours: {k} asked for{' beside the picture itself' if itself else ''}, but the memory has {there} items; "
            "add items, or ask for fewer neighbours"
        ) from error


class KeptNeighbours:
    """Neighbours of a memory's own items, looked up by their keys once per item and state of the memory."""

    def __init__(self, payloads: Payloads, k: int) -> None:
        self.payloads, self.k = payloads, k
        self._state = -1
        self._rows: dict[int, tuple[Any, ...]] = {}

    def find(self, ids: Ints, by_identity: bool, drop_first: bool) -> Neighbours:
        """Neighbours (Q, k) of items ids (Q,), itself left out by identity, the nearest whatever it is, or neither."""
        if self._state != self.payloads.state:
            self._state = self.payloads.state
            self._rows.clear()
        lacking = np.array([id for id in dict.fromkeys(ids.tolist()) if id not in self._rows], np.int64)
        if len(lacking):
            memory = self.payloads.memory
            found = neighbours_of(memory, memory.vectors(lacking), self.k, lacking if by_identity else None, drop_first)
            self._rows.update(zip(lacking.tolist(), zip(*found, strict=True), strict=True))
        return Neighbours(*(np.stack(part) for part in zip(*(self._rows[id] for id in ids.tolist()), strict=True)))

"""Rows of a memory's database: what is written for a change, and how items are read. Each takes an open connection."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice, product
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from modicum.errors import DataError
from modicum.memory.store_log import log_change
from modicum.memory.store_schema import damaged
from modicum.memory.types import Batch, Item

if TYPE_CHECKING:
    from modicum.memory.types import Ints, Rows

CHUNK = 500  # ids in one query

RECENT = 32_768  # ids from which on they are settled
BY_ID = ("recent", "settled")

ITEM = """SELECT item.id, source.name, item.name, label.name, item.text, item.time, item.digest
FROM {ids} AS ids CROSS JOIN item ON item.place = ids.place
CROSS JOIN source ON source.key = item.source LEFT JOIN label ON label.key = item.label"""

VECTOR = "SELECT ids.id, sum, data FROM {ids} AS ids LEFT JOIN vector ON vector.place = ids.place"


class Found(NamedTuple):
    """Where an item's rows are: its place, and the keys of its source and label."""

    place: int
    source: int
    label: int | None


def chunks(values: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    """Parts of a sequence, in order."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def marks(values: Sequence[Any]) -> str:
    """As many question marks as there are values, in brackets."""
    return f"({','.join('?' * len(values))})"


def shown(values: Sequence[Any]) -> str:
    """At most five values for a message."""
    return ", ".join(repr(value) for value in values[:5]) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def refuse_unknown(ids: Sequence[int], known: Any) -> None:
    """`DataError` that names the ids that are not in `known`."""
    if unknown := [id_ for id_ in dict.fromkeys(ids) if id_ not in known]:
        raise DataError(f"ids: no item has the id {shown(unknown)}; see `modicum memory list`. Nothing was changed")


def by_id(connection: sqlite3.Connection, query: str, ids: Sequence[int]) -> Iterator[Any]:
    """Rows of a query over "{ids} AS ids" for some ids, in any order."""
    for part, table in product(chunks(ids), BY_ID):
        yield from connection.execute(f"{query.format(ids=table)} WHERE ids.id IN {marks(part)}", part)


def in_order(
    connection: sqlite3.Connection, query: str, start: int = -1, where: str = "", values: Sequence[Any] = ()
) -> Iterator[Any]:
    """Rows of such a query for all ids above `start`, by rising id, as they were when the first was asked for."""
    texts = [f"{query.format(ids=table)} WHERE ids.id > ? {where} ORDER BY ids.id" for table in BY_ID]
    cursors = [connection.execute(text, [start, *values]) for text in texts]
    try:
        yield from merge(*cursors, key=itemgetter(0))
    finally:
        for cursor in cursors:
            cursor.close()


_IDS = "SELECT ids.id FROM {ids} AS ids"
_FOUND = "SELECT ids.id, item.place, source, label FROM {ids} AS ids CROSS JOIN item ON item.place = ids.place"


def find(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Found]:
    """Places, sources and labels of items by id; refuses unknown ids and ids given twice."""
    found = {}
    for row in by_id(connection, _FOUND, ids):
        found[row[0]] = Found(*row[1:])
    refuse_unknown(ids, found)
    if twice := [id_ for id_, times in Counter(ids).items() if times > 1]:
        raise DataError(f"ids: given more than once: {shown(twice)}. Nothing was changed")
    return found


def count_names(connection: sqlite3.Connection, table: Literal["source", "label"], names: dict[str, int]) -> dict[str, int]:
    """Add to the numbers of items of named sources or labels, which come into being here; returns their keys."""
    query = (
        f"INSERT INTO {table} (name, items) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET items = items + excluded.items"
    )
    connection.executemany(query, list(names.items()))
    keys: dict[str, int] = {}
    for part in chunks(list(names)):
        keys.update(connection.execute(f"SELECT name, key FROM {table} WHERE name IN {marks(part)}", part))
    return keys


def uncount(connection: sqlite3.Connection, table: Literal["source", "label"], keys: dict[int, int]) -> None:
    """Take from the numbers of items of sources or labels; those without items are gone."""
    connection.executemany(f"UPDATE {table} SET items = items - ? WHERE key = ?", [(n, key) for key, n in keys.items()])
    connection.executemany(f"DELETE FROM {table} WHERE key = ? AND items <= 0", [(key,) for key in keys])


def insert(connection: sqlite3.Connection, batch: Batch) -> None:
    """Write a batch that was checked; refuses ids and names that are there already."""
    ids = batch.ids.tolist()
    if known := [row[0] for row in by_id(connection, _IDS, ids)]:
        raise DataError(f"ids: there is an item already with the id {shown(known)}. Nothing was added")
    place = log_change(connection, "add", ids)
    source = count_names(connection, "source", {batch.source: len(ids)})[batch.source]
    labels = count_names(connection, "label", Counter(label for label in batch.labels if label is not None))
    keys = [None if label is None else labels[label] for label in batch.labels]
    times = [time.time()] * len(ids) if batch.times is None else [float(value) for value in batch.times]
    places = range(place, place + len(ids))
    rows = zip(places, ids, [source] * len(ids), batch.names, keys, batch.texts, times, batch.digests, strict=True)
    try:
        connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    except sqlite3.IntegrityError as error:
        names = list(named(connection, batch.source, batch.names))
        raise DataError(
            f"names: source {batch.source!r} has items already named {shown(names)}. Nothing was added"
        ) from error
    connection.executemany("INSERT INTO recent VALUES (?, ?)", sorted(zip(ids, places, strict=True)))
    blobs = [memoryview(row) for row in batch.vectors]
    sums = [zlib.crc32(blob) for blob in blobs]
    connection.executemany("INSERT INTO vector VALUES (?, ?, ?)", zip(places, sums, blobs, strict=True))
    if connection.execute("SELECT count(*) FROM recent").fetchone()[0] >= RECENT:
        connection.execute("INSERT INTO settled SELECT id, place FROM recent ORDER BY id")
        connection.execute("DELETE FROM recent")


def delete(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete items; refuses unknown ids and ids given twice."""
    found = find(connection, ids)
    places = [(item.place,) for item in found.values()]
    connection.executemany("DELETE FROM vector WHERE place = ?", places)
    connection.executemany("DELETE FROM item WHERE place = ?", places)
    _forget_ids(connection, ids)
    uncount(connection, "source", Counter(item.source for item in found.values()))
    uncount(connection, "label", Counter(item.label for item in found.values() if item.label is not None))
    log_change(connection, "remove", ids)


def _forget_ids(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    for table in BY_ID:
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(id_,) for id_ in sorted(ids)])


def delete_source(connection: sqlite3.Connection, source: str) -> int:
    """Delete all items of a source, and return how many; refuses an unknown one."""
    row = connection.execute("SELECT key FROM source WHERE name = ?", [source]).fetchone()
    if row is None:
        known = [name for (name,) in connection.execute("SELECT name FROM source ORDER BY name LIMIT 6")]
        raise DataError(f"source: no item is of {source!r}; there is {shown(known) or 'none'}. Nothing was changed")
    ids = [id_ for (id_,) in connection.execute("SELECT id FROM item WHERE source = ? ORDER BY place", row)]
    labels = connection.execute("SELECT label, count(*) FROM item WHERE source = ? GROUP BY label", row).fetchall()
    connection.execute("DELETE FROM vector WHERE place IN (SELECT place FROM item WHERE source = ?)", row)
    connection.execute("DELETE FROM item WHERE source = ?", row)
    _forget_ids(connection, ids)
    connection.execute("DELETE FROM source WHERE key = ?", row)
    uncount(connection, "label", {key: items for key, items in labels if key is not None})
    log_change(connection, "remove", ids)
    return len(ids)


def relabel(connection: sqlite3.Connection, ids: Sequence[int], label: str | None, text: str | None) -> None:
    """Give items another label and/or text (None: as it is); refuses unknown ids and ids given twice."""
    found = find(connection, ids)
    places = [item.place for item in found.values()]
    if label is not None:
        key = count_names(connection, "label", {label: len(ids)})[label]
        connection.executemany("UPDATE item SET label = ? WHERE place = ?", [(key, place) for place in places])
        uncount(connection, "label", Counter(item.label for item in found.values() if item.label is not None))
    if text is not None:
        connection.executemany("UPDATE item SET text = ? WHERE place = ?", [(text, place) for place in places])
    log_change(connection, "relabel", ids)


def named(connection: sqlite3.Connection, source: str, names: Sequence[str]) -> dict[str, int]:
    """Ids of a source's items by name, of those there are."""
    row = connection.execute("SELECT key FROM source WHERE name = ?", [source]).fetchone()
    found: dict[str, int] = {}
    for part in chunks(names) if row else ():
        query = f"SELECT name, id FROM item WHERE source = ? AND name IN {marks(part)}"
        found.update(connection.execute(query, [row[0], *part]))
    return found


def items_of(connection: sqlite3.Connection, ids: Sequence[int]) -> list[Item]:
    """Items in the order of ids, which may repeat; refuses unknown ones."""
    found: dict[int, Item] = {}
    for row in by_id(connection, ITEM, list(dict.fromkeys(ids))):
        found[row[0]] = Item(*row)
    refuse_unknown(ids, found)
    return [found[id_] for id_ in ids]


def decode(path: Path, dim: int, rows: Sequence[tuple[int, int, bytes]]) -> tuple[Ints, Rows]:
    """Ids (n,) and embeddings (n, D) from rows (id, CRC-32, bytes); `FileFormatError` where one is damaged or missing."""
    import numpy as np

    bad = [row[0] for row in rows if None in row or len(row[2]) != 4 * dim or zlib.crc32(row[2]) != row[1]]
    if bad:
        raise damaged(path, f"embeddings of items {shown(bad)} were altered or are missing")
    vectors = np.frombuffer(b"".join([row[2] for row in rows]), dtype="<f4").reshape(len(rows), dim)
    return np.array([row[0] for row in rows], dtype=np.int64), vectors.astype(np.float32, copy=True)


def batched(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Rows, `size` at a time."""
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part

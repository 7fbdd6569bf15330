"""What a store refuses to take, and what is found wrong in a database."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from modicum.errors import DataError
from modicum.memory.types import ID_BITS, Batch

if TYPE_CHECKING:
    import numpy.typing as npt


def check_ids(ids: npt.ArrayLike) -> list[int]:
    """Ids as a list of whole numbers; `DataError` where they are something else."""
    listed: Any = ids.tolist() if hasattr(ids, "tolist") else ids
    listed = [listed] if isinstance(listed, int) else list(listed)
    if set(map(type, listed)) == {int} and min(listed) >= -(1 << 63) and max(listed) < 1 << 63:
        return [*listed]
    wrong = [value for value in listed if not hasattr(value, "__index__") or not -(1 << 63) <= value < 1 << 63]
    if wrong:
        raise DataError(f"ids: {wrong[0]!r} is not the id of an item; expected ids (n,) as `modicum memory list` shows them")
    return [int(value) for value in listed]


def check_batch(batch: Batch, dim: int) -> Batch:
    """The batch with contiguous float32 rows; `DataError` where it does not fit a memory of this D. numpy is loaded here."""
    import numpy as np

    vectors = np.asarray(batch.vectors)
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise DataError(f"embeddings: shape {vectors.shape}, expected (n, {dim}), the memory's dimension; nothing was added")
    ids = check_ids(batch.ids)
    for name in ("names", "labels", "texts", "digests", "times"):
        given = getattr(batch, name)
        if given is not None and len(given) != len(vectors):
            raise DataError(f"{name}: {len(given)} for {len(vectors)} embeddings, expected one each; nothing was added")
    for name, kinds in (("names", str), ("digests", str), ("labels", str | None), ("texts", str | None)):
        values = getattr(batch, name)
        if not all(issubclass(kind, kinds) for kind in set(map(type, values))):
            wrong = next(value for value in values if not isinstance(value, kinds))
            raise DataError(f"{name}: {wrong!r} is not a text; nothing was added")
    if not isinstance(batch.source, str):
        raise DataError(f"source: {batch.source!r} is not a text; nothing was added")
    if len(ids) != len(vectors):
        raise DataError(f"ids: {len(ids)} for {len(vectors)} embeddings, expected one each; nothing was added")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, dtype="<f4")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DataError(f"embeddings: row {row} has NaN or infinity (as float32); nothing was added")
    for kind, values in (("ids", ids), ("names", list(batch.names))):
        if len(set(values)) < len(values):
            twice = next(value for value, times in Counter(values).items() if times > 1)
            raise DataError(f"{kind}: {twice!r} is given twice; nothing was added")
    for id_ in (min(ids, default=0), max(ids, default=0)):
        if not 0 <= id_ < 1 << ID_BITS:
            raise DataError(f"ids: {id_}, expected 0 to 2^{ID_BITS} - 1; nothing was added")
    return batch._replace(ids=np.array(ids, dtype=np.int64), vectors=vectors)


def problems(connection: sqlite3.Connection, dim: int) -> list[str]:
    """What is wrong with a database whose reads all see one state, one sentence each."""
    import numpy as np

    found = [f"SQLite: {line}" for (line,) in connection.execute("PRAGMA integrity_check(20)") if line != "ok"]
    if found:
        return found
    for place, sum_, data in connection.execute("SELECT place, sum, data FROM vector"):
        if len(data) != 4 * dim:
            found.append(f"the embedding at {place} has {len(data)} bytes, expected {4 * dim}")
        elif zlib.crc32(data) != sum_:
            found.append(f"the embedding at {place} was altered: its checksum does not match")
        elif not np.isfinite(np.frombuffer(data, dtype="<f4")).all():
            found.append(f"the embedding at {place} has NaN or infinity")
    for query, sentence in _COUNTS:
        found += [sentence.format(*row) for row in connection.execute(query)]
    return found


_COUNTS = [
    (
        "SELECT item.id FROM item LEFT JOIN recent r ON r.id = item.id LEFT JOIN settled s ON s.id = item.id "
        "WHERE (r.place IS item.place) + (s.place IS item.place) != 1",
        "item {} is not found by its id, or twice",
    ),
    (
        "SELECT ids.id FROM (SELECT * FROM recent UNION ALL SELECT * FROM settled) AS ids "
        "LEFT JOIN item USING (place) WHERE item.place IS NULL",
        "the id {} has no item",
    ),
    ("SELECT id FROM item LEFT JOIN vector USING (place) WHERE vector.place IS NULL", "item {} has no embedding"),
    ("SELECT place FROM vector LEFT JOIN item USING (place) WHERE item.place IS NULL", "the embedding at {} has no item"),
    ("SELECT id FROM item LEFT JOIN source ON source.key = source WHERE source.key IS NULL", "item {} has no source"),
    (
        "SELECT id FROM item LEFT JOIN label ON label.key = label WHERE label IS NOT NULL AND label.key IS NULL",
        "item {} has a label without a name",
    ),
    (
        "SELECT s.name, s.items, count(i.place) FROM source s LEFT JOIN item i ON i.source = s.key GROUP BY s.key "
        "HAVING s.items != count(i.place)",
        "source {!r} counts {} items and has {}",
    ),
    (
        "SELECT l.name, l.items, n FROM (SELECT label, count(*) AS n FROM item GROUP BY label) "
        "JOIN label l ON l.key = label WHERE l.items != n",
        "label {!r} counts {} items and has {}",
    ),
    (
        "SELECT last, length(ids) / 8, last - first + 1 FROM change WHERE length(ids) != 8 * (last - first + 1)",
        "the change {} has {} ids, expected {}",
    ),
]

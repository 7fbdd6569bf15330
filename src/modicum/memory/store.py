"""The truth of a memory: items, embeddings and a log of changes in one SQLite database. Imports no torch.

Promises. A change is one transaction; when the method returns it is on the disk, as far as the disk keeps what it was told
to synchronise, and a process killed or a power cut later does not lose it; one that did not return is there whole or not at
all. Readers and one writer at a time, of any process, do not wait for each other. Where nothing can be written, `WriteError`
is raised and all that was acknowledged stays. Removed embeddings are overwritten with zeros in the database; pages of the
log that held them are gone when all processes have closed the memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from modicum.errors import FileFormatError
from modicum.memory import store_log as log
from modicum.memory import store_rows as rows
from modicum.memory.store_checks import check_batch, check_ids, problems
from modicum.memory.store_connections import Connections
from modicum.memory.store_copies import copy_store
from modicum.memory.store_log import Logged
from modicum.memory.store_schema import DATABASE, create_database, log_size, read_info, translated
from modicum.memory.types import Batch, Change, Item, MemoryInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from modicum.memory.types import Ints, Rows


class Store:
    """A memory's database, open in this process; usable from several threads. `create` and `open` make one.

    All methods raise `DataError` for bad input, `WriteError` where nothing can be written, and `FileFormatError` where the
    database is damaged; then nothing was changed.
    """

    def __init__(self, folder: Path, info: MemoryInfo, connections: Connections) -> None:
        self.folder, self.info = folder, info
        self.path = folder / DATABASE
        self._connections = connections

    @classmethod
    def create(cls, folder: Path | str, info: MemoryInfo) -> Store:
        """Make an empty memory in a folder and open it; `WriteError` where there is one already."""
        path = Path(folder) / DATABASE
        create_database(path, info)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str, readonly: bool = False) -> Store:
        """Open a memory; `FileFormatError` where there is none, or one of a newer version, or a damaged one."""
        path = Path(folder) / DATABASE
        if not path.is_file():
            raise FileFormatError(f"{folder}: not a memory (it has no {DATABASE}); make one with `modicum memory create`")
        connections = Connections(path, readonly)
        try:
            with connections.lent() as connection:
                info = read_info(connection, path)
        except BaseException:
            connections.close()
            raise
        return cls(Path(folder), info, connections)

    def add(self, batch: Batch, *, instead_of: npt.ArrayLike = ()) -> None:
        """Add items, and remove those with ids `instead_of`, in one commit.

        Refused: another D, NaN, ids or names that are there already or given twice; an unknown id to be removed.
        """
        batch, old = check_batch(batch, self.info.dim), check_ids(instead_of)
        if not len(batch.ids) and not old:
            return
        with self._connections.writing() as connection:
            if old:
                rows.delete(connection, old)
            if len(batch.ids):
                rows.insert(connection, batch)

    def remove(self, ids: npt.ArrayLike) -> int:
        """Remove items in one commit; returns how many. Refused: an unknown id, an id given twice."""
        wanted = check_ids(ids)
        if not wanted:
            return 0
        with self._connections.writing() as connection:
            rows.delete(connection, wanted)
        return len(wanted)

    def remove_source(self, source: str) -> int:
        """Remove all items of a source in one commit; returns how many. Refused: an unknown source."""
        with self._connections.writing() as connection:
            return rows.delete_source(connection, source)

    def relabel(self, ids: npt.ArrayLike, label: str | None = None, text: str | None = None) -> int:
        """Give items another label and/or text (None: as it is) in one commit; returns how many. Refused: as `remove`."""
        wanted = check_ids(ids)
        if not wanted or (label is None and text is None):
            return 0
        with self._connections.writing() as connection:
            rows.relabel(connection, wanted, label, text)
        return len(wanted)

    def payload(self, ids: npt.ArrayLike) -> list[Item]:
        """Items in the order of ids, which may repeat. Refused: an unknown id."""
        with self._connections.lent() as connection:
            return rows.items_of(connection, check_ids(ids))

    def items(self, source: str | None = None, label: str | None = None) -> Iterator[Item]:
        """All items, or those of a source and/or label, by rising id, as they were when the first was asked for."""
        wanted = [("source.name = ?", source), ("label.name = ?", label)]
        where = "".join(f"AND {clause} " for clause, value in wanted if value is not None)
        values = [value for _, value in wanted if value is not None]
        with self._connections.lent() as connection:
            yield from map(Item._make, rows.in_order(connection, rows.ITEM, where=where, values=values))

    def ids_of(self, source: str, names: Sequence[str]) -> list[int | None]:
        """Ids of named items of a source, None where there is none."""
        with self._connections.lent() as connection:
            found = rows.named(connection, source, names)
        return [found.get(name) for name in names]

    def __len__(self) -> int:
        with self._connections.lent() as connection:
            (items,) = connection.execute("SELECT total(items) FROM source").fetchone()
        return int(items)

    def counts(self) -> tuple[dict[str, int], dict[str | None, int]]:
        """Numbers of items by source and by label, each in the order of names; None counts those without a label."""
        with self._connections.lent() as connection:
            sources = dict(connection.execute("SELECT name, items FROM source ORDER BY name"))
            labels: dict[str | None, int] = dict(connection.execute("SELECT name, items FROM label ORDER BY name"))
        if rest := sum(sources.values()) - sum(labels.values()):
            labels[None] = rest
        return sources, labels

    def last_change(self) -> int:
        """The number of the newest change, of this or another process; 0 where there never was one. Cheap."""
        return int(self._connections.row(log.LAST)[0] or 0)

    def announce(self) -> None:
        """Tell readers by `modicum.memory.beacon` which change is the newest, where nobody writes just now."""
        self._connections.announce()

    def logged(self, after: int) -> list[Logged] | None:
        """Commits whose changes have numbers above `after`, oldest first; None where the log does not reach back there.

        The first may begin before: only its changes above `after` are given.
        """
        with self._connections.lent() as connection:
            return log.logged(connection, after)

    def changes(self, after: int) -> list[Change] | None:
        """Changes with numbers above `after`, oldest first; None where the log does not reach back there. See `logged`."""
        commits = self.logged(after)
        if commits is None:
            return None
        return [Change(number, c.op, id_) for c in commits for number, id_ in enumerate(c.ids.tolist(), c.first)]

    def stamp(self, number: int) -> int | None:
        """A random number of the commit that made a change, which tells a copy that went other ways; None: forgotten."""
        with self._connections.lent() as connection:
            return log.stamp(connection, number)

    def forget_changes(self, before: int) -> None:
        """Forget commits whose changes all have numbers below `before`; the newest commit always stays."""
        with self._connections.writing() as connection:
            log.forget(connection, before)

    def vectors(self, ids: npt.ArrayLike) -> Rows:
        """Embeddings, float32 (n, D), in the order of ids, which may repeat. Refused: an unknown id."""
        import numpy as np

        wanted = check_ids(ids)
        unique = list(dict.fromkeys(wanted))
        with self._connections.lent() as connection:
            found = list(rows.by_id(connection, rows.VECTOR, unique))
        where = {row[0]: index for index, row in enumerate(found)}
        rows.refuse_unknown(unique, where)
        _, vectors = rows.decode(self.path, self.info.dim, found)
        return vectors[np.array([where[id_] for id_ in wanted], dtype=np.int64)]

    def all_vectors(self, batch: int = 4096, start: int = -1) -> Iterator[tuple[Ints, Rows]]:
        """(ids (n,), embeddings (n, D)) of the items with ids above `start`, by rising id, `batch` at a time."""
        with self._connections.lent() as connection:
            for part in rows.batched(rows.in_order(connection, rows.VECTOR, start), batch):
                yield rows.decode(self.path, self.info.dim, part)

    def added_vectors(self, after: int = 0, batch: int = 4096) -> Iterator[tuple[Ints, Rows]]:
        """The same of the items there are that were added by changes above `after`, in the order of their addition.

        Reads the file from front to back, which a disk does faster than by id.
        """
        query = "SELECT id, sum, data FROM vector LEFT JOIN item USING (place) WHERE place > ? ORDER BY place"
        with self._connections.lent() as connection:
            for part in rows.batched(connection.execute(query, [after]), batch):
                yield rows.decode(self.path, self.info.dim, part)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """A block in which all reads of this thread see the memory as it is at its beginning. Keep it short: the log of
        pages grows until it ends."""
        return self._connections.reading()

    def snapshot(self, target: Path | str) -> None:
        """Copy the memory as it is now (and its encoder) into a new folder, whole or not at all; refused where one is."""
        with self._connections.unpinned() as connection:
            copy_store(connection, self.folder, Path(target))

    def check(self) -> list[str]:
        """What is wrong with the database, one sentence each; [] where nothing is. Reads all of it."""
        with self._connections.lent() as connection, translated(self.path):
            return problems(connection, self.info.dim)

    def bytes_on_disk(self) -> int:
        """Bytes of the database and its log."""
        return self.path.stat().st_size + log_size(self.path)

    def checkpoint(self) -> bool:
        """Copy the log into the database now; False where a reader or writer of any process was in the way."""
        return self._connections.checkpoint()

    def close(self) -> None:
        """Release files and threads; what was acknowledged is durable without it."""
        self._connections.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

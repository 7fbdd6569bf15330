"""Connections to a memory's database: readers lent to threads, one writer, and checkpoints beside the commits.

A commit ends when SQLite's write-ahead log is on the disk. Copying the log's pages into the database (a checkpoint) is done
by a thread of its own once the log is large, so that no commit waits for it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modicum.errors import ConfigError, WriteError
from modicum.memory.beacon import CACHE, Beacon
from modicum.memory.store_log import LAST
from modicum.memory.store_schema import connect, log_size, translated

LOG_SIZE = 128_000_000
"""Bytes of write-ahead log from which on a checkpoint is made; what a killed process leaves is read in some 0.2 s."""


_OPEN: weakref.WeakSet[Connections] = weakref.WeakSet()


def _refuse_in_fork(path: Path) -> None:
    """`ConfigError` where the process that this one was forked from has it open: SQLite would take its locks for ours."""
    for other in list(_OPEN):
        if other._process != os.getpid() and not other._closed and other.path.absolute() == path.absolute():
            raise ConfigError(
                f"{path}: is open in process {other._process}, of which this is a fork; close it before the fork, or start "
                "workers by spawn"
            )


class Connections:
    """All connections of one open memory. readonly: writing is refused."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self.path, self.readonly = path, readonly
        self._process = os.getpid()
        _refuse_in_fork(path)
        self._beacon = Beacon(path.parent / CACHE)
        self._idle: list[sqlite3.Connection] = []
        self._pinned = threading.local()
        self._lock = threading.RLock()
        self._writer: sqlite3.Connection | None = None
        self._checkpoint: threading.Thread | None = None
        self._closed = False
        _OPEN.add(self)

    def _check_usable(self) -> None:
        if self._closed:
            raise ConfigError(f"{self.path}: the memory is closed; open it again")
        if os.getpid() != self._process:
            raise ConfigError(
                f"{self.path}: opened in process {self._process} and used in its fork {os.getpid()}; open it in each "
                "process (start workers by spawn)"
            )

    @contextlib.contextmanager
    def unpinned(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading outside of a transaction, nobody else's until the block ends."""
        self._check_usable()
        with translated(self.path):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = connect(self.path, readonly=self.readonly, cache=16)
            try:
                yield connection
            finally:
                self._idle.append(connection)
                if self._closed:
                    self._close_idle()

    @contextlib.contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """The same for reads that see one state; inside `reading` it is that of the block."""
        if pinned := getattr(self._pinned, "connection", None):
            self._check_usable()
            with translated(self.path):
                yield pinned
            return
        with self.unpinned() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    def row(self, query: str) -> Any:
        """The first row of one query, which sees one state by itself; inside `reading` that of the block."""
        if getattr(self._pinned, "connection", None):
            with self.lent() as connection:
                return connection.execute(query).fetchone()
        with self.unpinned() as connection:
            return connection.execute(query).fetchone()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside the block all reads of this thread see the memory as it is now, whatever others commit meanwhile."""
        if getattr(self._pinned, "connection", None):
            yield
            return
        with self.lent() as connection:
            connection.execute("SELECT key FROM info").fetchone()  # a transaction begins with its first read
            self._pinned.connection = connection
            try:
                yield
            finally:
                self._pinned.connection = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed and durable when the block ends, undone where it raises; one at a time."""
        self._check_usable()
        if self.readonly:
            raise WriteError(f"{self.path}: the memory was opened for reading only; nothing was changed")
        with self._lock, translated(self.path):
            if self._writer is None:
                self._writer = connect(self.path, cache=64)
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._beacon.announce(int(connection.execute(LAST).fetchone()[0] or 0))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise
        self._checkpoint_if_due()

    def announce(self) -> None:
        """Put the number of the newest change where readers look for it, unless somebody is writing, who will do so."""
        with contextlib.suppress(sqlite3.Error, WriteError), contextlib.closing(connect(self.path, wait=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._beacon.announce(int(connection.execute(LAST).fetchone()[0] or 0))
            connection.execute("ROLLBACK")

    def _checkpoint_if_due(self) -> None:
        running = self._checkpoint is not None and self._checkpoint.is_alive()
        if running or log_size(self.path) < LOG_SIZE:
            return
        self._checkpoint = threading.Thread(target=self.checkpoint, name="checkpoint", daemon=True)
        self._checkpoint.start()

    def checkpoint(self) -> bool:
        """Copy the log into the database and begin it anew; False where a reader or writer was in the way, or the disk.

        Most is copied while others write; only what they wrote meanwhile is copied while they wait.
        """
        with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(self.path, wait=0.05)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            with self._lock:
                (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        return False

    def close(self) -> None:
        """Close all connections, those still lent when they come back; the last one leaves a database without a log."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        if self._checkpoint is not None:
            self._checkpoint.join()
        self._close_idle()
        self._beacon.close()
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._writer is not None:
                self._writer.close()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError, sqlite3.Error):
            while True:
                self._idle.pop().close()

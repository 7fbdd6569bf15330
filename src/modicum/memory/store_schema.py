"""The database file of a memory: tables, how it is made, opened and recognised, and what its errors mean.

Tables. `item`: one row an item under the number of the change that added it (its place), so that new rows are written
beside each other. `vector`: float32 little-endian and their CRC-32, by place. `recent`, `settled`: places by id; hashed ids
scatter over all pages of such a table, so new ones go to the small `recent`, and from there many at a time to `settled`.
`source`, `label`: their names and how many items have them. `change`: what each commit added, removed or relabelled, with
a random stamp. `info`: what the memory was created for.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

from modicum.errors import DataError, FileFormatError, ModicumError, WriteError
from modicum.files import make_folder, sync_folder
from modicum.memory.types import MemoryInfo

DATABASE = "memory.sqlite3"
SCHEMA = 1
APPLICATION = 0x4D6F4D65  # "MoMe", in the header of the file
PAGE = 16384  # bytes: five embeddings of 768 float32
WAIT = 60.0  # seconds for another process to end its commit

TABLES = """
CREATE TABLE info (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, items INTEGER NOT NULL);
CREATE TABLE label (key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, items INTEGER NOT NULL);
CREATE TABLE item (
  place INTEGER PRIMARY KEY, id INTEGER NOT NULL, source INTEGER NOT NULL, name TEXT NOT NULL,
  label INTEGER, text TEXT, time REAL NOT NULL, digest TEXT NOT NULL
);
CREATE TABLE recent (id INTEGER PRIMARY KEY, place INTEGER NOT NULL);
CREATE TABLE settled (id INTEGER PRIMARY KEY, place INTEGER NOT NULL);
CREATE UNIQUE INDEX item_name ON item (source, name);
CREATE TABLE vector (place INTEGER PRIMARY KEY, sum INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE change (
  last INTEGER PRIMARY KEY, first INTEGER NOT NULL, op TEXT NOT NULL, ids BLOB NOT NULL, stamp INTEGER NOT NULL
);
"""

_FULL = {"SQLITE_FULL": "the disk is full", "SQLITE_READONLY": "it is read-only", "SQLITE_CANTOPEN": "it cannot be opened"}
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ")


def damaged(path: Path, detail: str) -> FileFormatError:
    """The error for a database that cannot be trusted, with what to do."""
    return FileFormatError(
        f"{path}: the memory's database is damaged ({detail}). Nothing was changed. Put a snapshot in its place, or recover "
        f'what is left with `sqlite3 {path.name} ".recover"`, or make the memory anew from its data'
    )


def translated_error(path: Path, error: sqlite3.Error) -> ModicumError | sqlite3.Error:
    """What an error of SQLite means to a user: damage, a full or read-only disk, another process; else itself."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(_DAMAGED):
        return damaged(path, str(error))
    for start, reason in _FULL.items():
        if name.startswith(start):
            return WriteError(f"cannot write {path}: {reason} ({error}); what was acknowledged before is unchanged")
    if name.startswith("SQLITE_IOERR"):
        return WriteError(
            f"cannot write {path}: the disk refused, is it full? ({error}; {name}) What was acknowledged before is unchanged"
        )
    if name.startswith(_BUSY):
        return WriteError(f"{path}: another process has been writing for more than {WAIT:.0f} s; nothing was changed")
    if isinstance(error, sqlite3.DatabaseError) and "no such table" in str(error):
        return damaged(path, str(error))
    return error


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite inside become errors of ours; a text that is not Unicode becomes `DataError`."""
    try:
        yield
    except sqlite3.Error as error:
        told = translated_error(path, error)
        if told is error:
            raise
        raise told from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"a name, label or text is not valid Unicode: {error.object!r}; rename the file or the label"
        ) from error


def connect(path: Path, *, readonly: bool = False, wait: float = WAIT, cache: int = 16) -> sqlite3.Connection:
    """A connection to an existing database; commits are synchronised to disk before they return. cache: MB of pages."""
    mode = "ro" if readonly else "rw"
    if readonly and not os.access(path.parent, os.W_OK) and not path.with_name(DATABASE + "-wal").exists():
        mode = "ro&immutable=1"  # nobody can write there, and SQLite would have to make its -shm file to find that out
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # done beside the commits, see store_connections
        connection.execute(f"PRAGMA cache_size = {-1000 * cache}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def create_database(path: Path, info: MemoryInfo) -> MemoryInfo:
    """Make an empty database at `path`, whole or not at all, and return its info with the time of creation.

    `WriteError` where something is there already or nothing can be written.
    """
    if info.dim < 1:
        raise DataError(f"dim: {info.dim}, expected at least 1")
    info = info if info.created else replace(info, created=time.time())
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        with translated(path), contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {PAGE}")
            connection.execute("BEGIN")
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO info VALUES ('memory', ?)", [json.dumps(asdict(info), allow_nan=False)])
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        sync_file(temporary)
        _publish(temporary, path)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)
    except FileExistsError as error:
        raise WriteError(f"{path.parent}: there is a memory already; remove it first or choose another folder") from error
    except OSError as error:
        raise WriteError(f"cannot create {path}: {error.strerror}") from error
    finally:
        for leftover in path.parent.glob(temporary.name + "*"):
            with contextlib.suppress(OSError):
                leftover.unlink()
    return info


def _publish(temporary: Path, path: Path) -> None:
    """Give a file its name, never over a memory that another process has just made; `FileExistsError` where there is one."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def sync_file(path: Path) -> None:
    """Bring a file's content to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(path: Path | str) -> int:
    """Bytes of a file, 0 where there is none, such as one that another process has just deleted."""
    try:
        found = os.stat(path)
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def log_size(path: Path) -> int:
    """Bytes of a database's write-ahead log, 0 where there is none."""
    return size_of(f"{path}-wal")


def _is_whole(connection: sqlite3.Connection, path: Path, tries: int = 5) -> bool:
    """Whether a database without a log is as long as it says; with one, its end may be there only, and this is unknown.

    The file is not opened here: closing it again would take away the locks that this process has on it (POSIX), and another
    process could then delete the log under its eyes.
    """
    for _ in range(tries):
        if log_size(path):
            return True
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages * PAGE == os.stat(path).st_size:
            return True
        time.sleep(0.02)  # another process may just be copying its log into it
    return False


def read_info(connection: sqlite3.Connection, path: Path) -> MemoryInfo:
    """What a memory was created for; `FileFormatError` where the file is no memory, of a newer version, or damaged."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise FileFormatError(f"{path}: a database, but not a memory of modicum; see `modicum memory create`")
    if not _is_whole(connection, path):
        raise damaged(path, "it was cut off or something was written behind it")
    if version != SCHEMA:
        older = "; written by a newer modicum, update this one" if version > SCHEMA else ""
        raise FileFormatError(f"{path}: schema {version}, this version reads {SCHEMA}{older}")
    row = connection.execute("SELECT value FROM info WHERE key = 'memory'").fetchone()
    try:
        record = json.loads(row[0])
        return MemoryInfo(**{field.name: record[field.name] for field in fields(MemoryInfo)})
    except (TypeError, ValueError, KeyError) as error:
        raise damaged(path, f"its description cannot be read: {error!r}") from error

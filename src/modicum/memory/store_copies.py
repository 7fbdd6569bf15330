"""A consistent copy of a memory, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from pathlib import Path

from modicum.errors import WriteError
from modicum.files import make_folder, sync_folder
from modicum.memory.store_schema import DATABASE, sync_file, translated

ENCODER = "encoder"
"""The folder of a memory that holds a copy of its encoder."""


def copy_store(connection: sqlite3.Connection, folder: Path, target: Path) -> None:
    """Copy the database as the connection sees it, and the encoder, into a new folder; `WriteError` where one is there.

    The copy is written anew, so nothing of what was removed is in it; caches are not copied, they are made again.
    """
    if os.path.lexists(target):
        raise WriteError(f"{target}: is there already; a snapshot needs a new folder")
    make_folder(target.absolute().parent)
    temporary = target.absolute().parent / f".{target.name}.{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir()
        with translated(target):
            connection.execute("VACUUM INTO ?", [str(temporary / DATABASE)])
            with contextlib.closing(sqlite3.connect(temporary / DATABASE, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = WAL")
        if (folder / ENCODER).is_dir():
            shutil.copytree(folder / ENCODER, temporary / ENCODER)
        for place, _, names in os.walk(temporary):
            for name in names:
                sync_file(Path(place) / name)
            sync_folder(Path(place))
        os.rename(temporary, target)
        sync_folder(target.absolute().parent)
    except OSError as error:
        raise WriteError(f"cannot write {target}: {error.strerror}; nothing is there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

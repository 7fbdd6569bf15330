"""The log of changes in a memory's database: one row a commit, with the ids it changed, numbered without gaps."""

from __future__ import annotations

import secrets
import sqlite3
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from modicum.memory.types import Ints

Op = Literal["add", "remove", "relabel"]
LAST = "SELECT max(last) FROM change"


class Logged(NamedTuple):
    """One commit: the number of its first change, what was done, and to which ids int64 (n,)."""

    first: int
    op: Op
    ids: Ints


def last_change(connection: sqlite3.Connection) -> int:
    """The number of the newest change, 0 where there never was one."""
    (number,) = connection.execute(LAST).fetchone()
    return number or 0


def log_change(connection: sqlite3.Connection, op: Op, ids: Sequence[int]) -> int:
    """Write one commit into the log; returns the number of its first change."""
    first = last_change(connection) + 1
    row = (first + len(ids) - 1, first, op, struct.pack(f"<{len(ids)}q", *ids), secrets.randbits(63))
    connection.execute("INSERT INTO change VALUES (?, ?, ?, ?, ?)", row)
    return first


def logged(connection: sqlite3.Connection, after: int) -> list[Logged] | None:
    """Commits with changes above `after`, cut to those; None where the log does not reach back. Reads see one state."""
    import numpy as np

    last = last_change(connection)
    found = connection.execute("SELECT first, op, ids FROM change WHERE last > ? ORDER BY last", [after]).fetchall()
    if after > last or (after < last and found[0][0] > after + 1):
        return None
    commits = [Logged(first, op, np.frombuffer(ids, dtype="<i8").astype(np.int64)) for first, op, ids in found]
    return [Logged(max(c.first, after + 1), c.op, c.ids[max(0, after + 1 - c.first) :]) for c in commits]


def stamp(connection: sqlite3.Connection, number: int) -> int | None:
    """The random number of the commit that made a change; None where it is forgotten or never was."""
    row = connection.execute("SELECT first, stamp FROM change WHERE last >= ? ORDER BY last LIMIT 1", [number]).fetchone()
    return int(row[1]) if row and row[0] <= number else None


def forget(connection: sqlite3.Connection, before: int) -> None:
    """Forget commits whose changes all have numbers below `before`; the newest always stays, for numbers to go on."""
    connection.execute("DELETE FROM change WHERE last < min(?, (SELECT max(last) FROM change))", [before])

"""Whether anybody has committed to a database since: a look at SQLite's shared memory instead of a query.

In WAL mode every process that has the database open maps its `-shm` file, whose first 48 bytes (the header of the WAL index,
https://www.sqlite.org/walformat.html) change with every commit, before it returns: a counter and the number of frames are in
them. Bytes that are as they were mean that nothing was committed; where they are others a query must tell.
"""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path

HEADER = 48


class CommitWatch:
    """Watches a database that this process keeps open meanwhile; where it has no such file every look says "perhaps"."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database}-shm")
        self._map: mmap.mmap | None = None

    def look(self) -> bytes | None:
        """What stands there now, to be compared with an earlier look; None: cannot be told."""
        if self._map is None:
            with contextlib.suppress(OSError, ValueError), open(self._path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), HEADER, access=mmap.ACCESS_READ)
        return None if self._map is None else self._map[:HEADER]

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
            self._map = None

"""Whether a commit may have been made since, told by eight bytes in the cache instead of a query.

A process that searches makes the file. A writer that finds it puts the number that its last change will have into it, while
it alone may write to the database, and then commits. So whoever has read all changes up to n, and finds n here, has read all
there are: a later commit would have put a larger number here before it began. Any other number, or no file, proves nothing,
and a query must tell; a writer that is killed or undone costs queries until the next commit, and no more.

The database's own files must not be looked at in this way: closing them takes away the locks that SQLite has on them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from modicum.errors import WriteError
from modicum.files import make_folder

CACHE = "cache"
"""The folder of a memory that may be deleted at any time."""
NAME = "change"
_SIZE = 8


class Beacon:
    """The file of one memory; a writer has one and a reader another. Several threads may use each."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._path = str(folder / NAME)
        self._file: tuple[int, int] | None = None

    def _opened(self, flags: int) -> int | None:
        """A descriptor of the file that now has the name; None where there is none."""
        try:
            number = os.stat(self._path).st_ino
        except (FileNotFoundError, NotADirectoryError):
            number = 0
        if self._file is not None and (not number or self._file[1] != number):  # it was deleted or replaced
            self._close()
        if self._file is None and number:
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self._path, flags)
                self._file = descriptor, os.fstat(descriptor).st_ino
        return None if self._file is None else self._file[0]

    def create(self) -> None:
        """Make the file, where it is not there and can be made, so that writers put their numbers into it."""
        with contextlib.suppress(OSError, WriteError):
            make_folder(os.path.dirname(self._path))
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666))

    def announce(self, change: int) -> None:
        """Say that changes up to a number are about to be committed. A file that cannot be written, such as that of another
        user, is deleted, which readers notice; `WriteError` where that fails, too."""
        try:
            with self._lock:
                descriptor = self._opened(os.O_RDWR)
                if descriptor is not None and os.pwrite(descriptor, change.to_bytes(_SIZE, "little"), 0) != _SIZE:
                    raise OSError(28, "No space left on device")
        except OSError as error:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                return
            except OSError:
                raise WriteError(
                    f"cannot write {self._path}: {error.strerror}; nothing was changed. Delete "
                    f"{os.path.dirname(self._path)}, which is made again when the memory is searched"
                ) from error

    def seen(self) -> int:
        """The number there; -1 for none."""
        try:
            with self._lock:
                descriptor = self._opened(os.O_RDONLY)
                found = b"" if descriptor is None else os.pread(descriptor, _SIZE, 0)
        except OSError:
            return -1
        return int.from_bytes(found, "little") if len(found) == _SIZE else -1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file[0])
            self._file = None

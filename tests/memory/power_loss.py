"""What a power cut may leave of recorded writes (recorded_writes.c): all that was synchronised, and any part of the rest.

A file keeps what was written before its last fsync; of each write since then, any 512-byte sectors. A name in a folder
(made, linked, renamed, removed) is certain once the folder was synchronised since; of the others of a folder, the first few
may have come to the disk. So is what POSIX promises; real file systems promise more.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

HERE = Path(__file__).parent
OPEN, CLOSE, WRITE, TRUNCATE, SYNC, LINK, UNLINK, RENAME = range(1, 9)
CREATED, FOLDER = 1 << 62, 1 << 61
SECTOR = 512
Kept = Literal["synchronised", "all", "some"]


def compile_recorder(target: Path) -> Path | None:
    """The shared object to preload; None where there is no C compiler."""
    library = target / "recorded_writes.so"
    source = str(HERE / "recorded_writes.c")
    try:
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), source, "-ldl", "-lpthread"], check=True)
    except FileNotFoundError:
        return None
    return library


class Record(NamedTuple):
    """One recorded call; data: bytes written, or names."""

    op: int
    fd: int
    offset: int
    data: bytes


def records(path: Path) -> Iterator[Record]:
    """All records of a file that recorded_writes.c wrote."""
    with open(path, "rb") as file:
        while head := file.read(32):
            op, fd, offset, size = struct.unpack("<4q", head)
            yield Record(op, fd, offset, file.read(size))


class File:
    """A file's content that is certain, and the writes since: (offset, bytes), or (size, None) for a truncation."""

    def __init__(self) -> None:
        self.certain = bytearray()
        self.since: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        for change in self.since:
            put(self.certain, *change)
        self.since.clear()

    def left(self, keep: Kept, rng: np.random.Generator) -> bytes:
        """The content after a power cut."""
        content = bytearray(self.certain)
        for offset, data in self.since if keep != "synchronised" else ():
            if keep == "all":
                put(content, offset, data)
            elif data is None:
                if rng.random() < 0.5:
                    put(content, offset, data)
            else:
                share = rng.choice([0.0, 0.5, 1.0])
                for start in range(0, len(data), SECTOR):
                    if rng.random() < share:
                        put(content, offset + start, data[start : start + SECTOR])
        return bytes(content)


def put(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write into a file's content, or cut or extend it where `data` is None."""
    if data is None:
        del content[offset:]
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is not None:
        content[offset : offset + len(data)] = data


class Disk:
    """Files by name as the process sees them, and as a power cut now would leave them."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.certain: dict[str, File] = {}
        self.since: list[tuple[str, dict[str, File | None]]] = []  # folder, and what became of its names
        self.open: dict[int, Any] = {}
        self.acknowledged: list[int] = []

    def apply(self, record: Record) -> None:
        """One more call of the process."""
        op, fd, offset, data = record
        if fd == 1:
            self.acknowledged += map(int, data.split())
        elif op == OPEN:
            self._opened(fd, offset, data.decode())
        elif op == CLOSE:
            del self.open[fd]
        elif op == WRITE:
            self.open[fd].since.append((offset, data))
        elif op == TRUNCATE:
            self.open[fd].since.append((offset, None))
        elif op == SYNC and isinstance(self.open[fd], File):
            self.open[fd].sync()
        elif op == SYNC:
            self._certain([change for folder, change in self.since if folder == self.open[fd]])
            self.since = [(folder, change) for folder, change in self.since if folder != self.open[fd]]
        elif op == UNLINK:
            self._named({data.decode(): None})
        else:
            first, second = data[:offset].decode(), data[offset + 1 :].decode()
            self._named({second: self.names[first]} | ({first: None} if op == RENAME else {}))

    def _opened(self, fd: int, flags: int, path: str) -> None:
        if flags & FOLDER:
            self.open[fd] = path.rstrip("/")
            return
        if flags & CREATED:
            self._named({path: File()})
        self.open[fd] = self.names[path]
        if flags & os.O_TRUNC:
            self.open[fd].since.append((0, None))

    def _named(self, change: dict[str, File | None]) -> None:
        folder = os.path.dirname(next(iter(change)))
        self.since.append((folder, change))
        _rename(self.names, change)

    def _certain(self, changes: list[dict[str, File | None]]) -> None:
        for change in changes:
            _rename(self.certain, change)

    def left(self, keep: Kept, rng: np.random.Generator, below: str, target: Path) -> None:
        """Write what a power cut leaves of the folder `below` into a new folder."""
        names = dict(self.certain)
        for folder in {folder for folder, _ in self.since}:
            changes = [change for where, change in self.since if where == folder]
            first = {"synchronised": 0, "all": len(changes), "some": int(rng.integers(len(changes) + 1))}[keep]
            for change in changes[:first]:
                _rename(names, change)
        target.mkdir(parents=True)
        for path, file in names.items():
            content = file.left(keep, rng)
            if path.endswith("-shm"):  # written through a memory map, so not recorded: anything may be in it
                content = rng.bytes(32768)
            (target / os.path.relpath(path, below)).write_bytes(content)


def _rename(names: dict[str, File], change: dict[str, File | None]) -> None:
    for path, file in change.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file

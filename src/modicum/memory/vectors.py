"""The vector file of a memory: embeddings beside each other on disk, mapped into memory. A cache, made again when in doubt.

STORE/cache holds `rows.json` (the manifest: which files, how many rows, up to which change of the database, checksums) and
for its generation `G.vectors` (float32, row after row), `G.rows` (id and squared length of each) and `G-CHANGE.removed` (one
bit a row). Rows are only appended, behind what the manifest counts, and the manifest is replaced last, so another process
that reads meanwhile sees the old state or the new one. Parts of the file are checked against the manifest's checksums when
they are read for the first time. Whatever is missing, damaged, of another version or does not fit the database is made anew
from the database. One process writes at a time (a lock file); without such locks (not on POSIX) the cache is not used.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modicum.errors import FileFormatError, ModicumError, WriteError
from modicum.files import make_folder, read_json, write_json
from modicum.memory.checksums import MASK, checksum
from modicum.memory.segments import PART
from modicum.similarity import squared_lengths

if TYPE_CHECKING:
    from modicum.memory.segments import Flags
    from modicum.memory.types import Ints, Rows, Values

MANIFEST, LOCK = "rows.json", "lock"
RECORD = np.dtype([("id", "<i8"), ("square", "<f8")])


class CacheDamaged(Exception):
    """A part of a cache is not what its checksum says; whoever reads it makes it anew. Never reaches a user."""


class State(NamedTuple):
    """Up to which change of the database something is, and that commit's stamp (`Store.stamp`)."""

    change: int
    stamp: int | None


class PartChecks:
    """Compares parts of `PART` rows with their checksums, each when it is read for the first time.

    vectors (n, D); sums, seen: one for each part; first: the row that is number 0 to the caller.
    """

    def __init__(self, vectors: Rows, sums: list[int], seen: Flags, first: int = 0) -> None:
        self.vectors, self.sums, self.seen, self.first = vectors, sums, seen, first
        self.complete = bool(seen.all())

    def __call__(self, first: int, last: int) -> None:
        """Raise `CacheDamaged` unless the parts with rows first <= r < last are as they were written."""
        if self.complete:
            return
        last = min(last + self.first, len(self.vectors))
        for part in range((first + self.first) // PART, -(-last // PART)):
            if not self.seen[part]:
                if checksum(self.vectors[part * PART : (part + 1) * PART]) != self.sums[part]:
                    raise CacheDamaged(f"rows from {part * PART} on are not what was written")
                self.seen[part] = True
        self.complete = bool(self.seen.all())

    def chosen(self, rows: Ints) -> None:
        """The same for the parts with chosen rows; -1 for none."""
        parts = (rows + self.first) // PART
        if not self.seen[parts].all():
            for part in np.unique(parts[rows >= 0]).tolist():
                self(part * PART - self.first, (part + 1) * PART - self.first)

    def behind(self, rows: int) -> PartChecks:
        """The checks for rows numbered from `rows` on."""
        return PartChecks(self.vectors, self.sums, self.seen, self.first + rows)


@dataclass(frozen=True)
class VectorFile:
    """A mapped generation: vectors float32 (n, D), ids and squared lengths (n,), alive (n,) False where removed; read-only.

    records: checksum of ids and squared lengths.
    """

    generation: str
    state: State
    vectors: Rows
    ids: Ints
    squares: Values
    alive: Flags
    records: int
    check: PartChecks = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)


class VectorCache:
    """The folder of a memory's vector file. Methods that write want the lock held, and raise `WriteError`."""

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder, dim

    @contextlib.contextmanager
    def locked(self, name: str = LOCK, wait: bool = False) -> Iterator[bool]:
        """Whether this process may write until the block ends; wait: until another one has ended."""
        with contextlib.ExitStack() as stack:
            yield self._lock(stack, name, wait)

    def _lock(self, stack: contextlib.ExitStack, name: str, wait: bool) -> bool:
        try:
            import fcntl

            make_folder(self.folder)
            file = stack.enter_context(open(self.folder / name, "ab"))  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except (ImportError, OSError, ModicumError):
            return False
        return True

    def load(self) -> VectorFile | None:
        """The generation of the manifest, mapped; None where it is missing, damaged or not ours."""
        try:
            return self._load(read_json(self.folder / MANIFEST))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FileFormatError):
            return None

    def _load(self, manifest: dict[str, Any]) -> VectorFile | None:
        if (manifest["dim"], manifest["byteorder"], manifest["part"]) != (self.dim, sys.byteorder, PART):
            return None
        generation, count, sums = manifest["generation"], int(manifest["rows"]), [int(s, 16) for s in manifest["sums"]]
        if len(sums) != -(-count // PART):
            return None
        records = np.fromfile(self.folder / f"{generation}.rows", RECORD, count)
        bits = np.zeros(0, np.uint8)
        if manifest["removed"]:
            bits = np.fromfile(self.folder / manifest["removed"], np.uint8)
        if len(records) != count or checksum(records) != int(manifest["records"], 16):
            return None
        if checksum(bits) != int(manifest["bits"], 16):
            return None
        alive = np.ones(count, bool)
        alive[: 8 * len(bits)] &= np.unpackbits(bits, count=min(count, 8 * len(bits)), bitorder="little") == 0
        vectors = np.zeros((0, self.dim), np.float32)
        if count:
            path = self.folder / f"{generation}.vectors"
            vectors = np.asarray(np.memmap(path, np.float32, "r", shape=(count, self.dim)))
        state = State(int(manifest["change"]), manifest["stamp"])
        ids, squares = (np.ascontiguousarray(records[name]) for name in ("id", "square"))
        check = PartChecks(vectors, sums, np.zeros(len(sums), bool))
        return VectorFile(generation, state, vectors, ids, squares, alive, int(manifest["records"], 16), check)

    def create(self, parts: Iterable[tuple[Ints, Rows]], state: State) -> VectorFile:
        """A new generation of (ids (n,), vectors (n, D)). Files of older ones are deleted; who mapped them keeps them."""
        generation = secrets.token_hex(6)
        empty = np.zeros(0, bool)
        nothing = np.zeros((0, self.dim), np.float32), np.zeros(0, np.int64), np.zeros(0)
        check = PartChecks(nothing[0], [], empty)
        try:
            made = self.append(VectorFile(generation, state, *nothing, empty, 0, check), parts, state, empty)
        except BaseException:  # such as a full disk, which it must not keep full
            self._delete(lambda name: generation in name)
            raise
        self._delete(lambda name: generation not in name)
        return made

    def _delete(self, chosen: Callable[[str], bool]) -> None:
        """Delete files of generations, by name."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.suffix in (".vectors", ".rows", ".removed", ".faiss") and chosen(path.name):
                    path.unlink(missing_ok=True)

    def append(self, file: VectorFile, parts: Iterable[tuple[Ints, Rows]], state: State, alive: Flags) -> VectorFile:
        """The generation with rows (ids (n,), vectors (n, D)) behind its own, of which alive (len(file),) are not removed.

        Parts that were checked are not checked again.
        """
        try:
            count, sums, records = self._write(file, parts)
            removed, bits = f"{file.generation}-{state.change}.removed", np.packbits(~alive, bitorder="little")
            if alive.all():
                removed, bits = "", bits[:0]
            else:
                bits.tofile(self.folder / removed)
            write_json(
                self.folder / MANIFEST,
                {
                    "dim": self.dim, "byteorder": sys.byteorder, "part": PART, "generation": file.generation, "rows": count,
                    "change": state.change, "stamp": state.stamp, "records": f"{records:x}", "removed": removed,
                    "bits": f"{checksum(bits):x}", "sums": [f"{value:x}" for value in sums],
                },
            )  # fmt: skip
        except OSError as error:
            raise WriteError(
                f"cannot write the cache {self.folder}: {error.strerror}; the memory itself is whole"
            ) from error
        for path in self.folder.glob("*.removed"):
            if path.name != removed:
                path.unlink(missing_ok=True)
        made = self._load(read_json(self.folder / MANIFEST))
        if made is None:
            raise WriteError(f"the cache {self.folder} is not what was written; the memory itself is whole")
        made.check.seen[: len(file.check.seen)] = file.check.seen
        return made

    def _write(self, file: VectorFile, parts: Iterable[tuple[Ints, Rows]]) -> tuple[int, list[int], int]:
        """Write rows behind those that count; returns number of rows, sums of parts and sum of the records."""
        count, sums, records = len(file), list(file.check.sums), file.records
        names = (self.folder / f"{file.generation}.{suffix}" for suffix in ("vectors", "rows"))
        with contextlib.ExitStack() as stack:
            vectors, rows = (stack.enter_context(_opened(name)) for name in names)
            vectors.seek(count * 4 * self.dim)
            rows.seek(count * RECORD.itemsize)
            for ids, part in parts:
                part = np.ascontiguousarray(part, np.float32)
                record = np.empty(len(ids), RECORD)
                record["id"], record["square"] = ids, squared_lengths(part)
                vectors.write(part.data)
                rows.write(record.tobytes())
                records = (records + checksum(record, count * (RECORD.itemsize // 4))) & MASK
                _add_sums(sums, part, count)
                count += len(ids)
            for out in (vectors, rows):
                out.truncate()
                out.flush()
                os.fsync(out.fileno())
        return count, sums, records


def _opened(path: Path) -> IO[bytes]:
    """A file for writing anywhere in it, made where it is missing."""
    return open(path, "r+b" if path.exists() else "w+b")


def _add_sums(sums: list[int], rows: Rows, count: int) -> None:
    """Bring the checksums of the parts up to date for rows written behind `count` others."""
    first = 0
    while first < len(rows):
        part, inside = divmod(count + first, PART)
        last = min(len(rows), first + PART - inside)
        if part == len(sums):
            sums.append(0)
        sums[part] = (sums[part] + checksum(rows[first:last], inside * rows.shape[1])) & MASK
        first = last

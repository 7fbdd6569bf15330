"""One cache file: a manifest of picture files and their decoded pixels, to be memory-mapped.

Layout: 16 bytes magic, zeros to a page | pixels uint8 (m, side, side, C) | manifest | uint64 length of the manifest |
16 bytes BLAKE2b of the manifest | magic. Manifest: a line of JSON (types and shapes of the arrays; problems), then the
paths, then the arrays' bytes. A file is written whole under a temporary name and renamed, so readers see the old or the
new one; while it is written its writer holds a lock on it, by which leftovers of killed writers are told from work in
progress.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from modicum.data.images import Facts, Preparation, Problem
from modicum.errors import FileFormatError, WriteError
from modicum.files import make_folder, sync_folder

MAGIC = b"modicum-pictures"
PAGE = 4096
_SUFFIX = 8 + 16 + len(MAGIC)


@dataclass(frozen=True)
class Manifest:
    """What is known about n picture files, in the order of `paths`; the usable ones have a row of pixels.

    origin: where they come from, for people. stats int64 (n, 2): size in bytes, mtime_ns. row int64 (n,): row of pixels,
    -1 where there is a problem. digests uint8 (n, 16): BLAKE2b-128 of the file's bytes (zeros where it could not be
    read). sums uint32 (n,): CRC-32 of the row. shape int32 (n, 3): width, height, animated. looks uint8 (n,): index into
    `look_names` ("JPEG RGB").
    """

    origin: str
    prepare: Preparation
    paths: tuple[str, ...]
    stats: np.ndarray
    row: np.ndarray
    digests: np.ndarray
    sums: np.ndarray
    shape: np.ndarray
    looks: np.ndarray
    look_names: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def rows(self) -> int:
        """How many pictures have pixels."""
        return int((self.row >= 0).sum())

    def facts(self, index: int) -> Facts:
        """What the file at `index` says about its picture."""
        format_, mode = self.look_names[int(self.looks[index])].split(" ")
        width, height, animated = (int(value) for value in self.shape[index])
        return Facts(width, height, mode, format_, bool(animated))


_ARRAYS = ("stats", "row", "digests", "sums", "shape", "looks")


def begin(out: IO[bytes]) -> None:
    """Write what comes before the pixels."""
    out.write(MAGIC + bytes(PAGE - len(MAGIC)))


def finish(out: IO[bytes], manifest: Manifest) -> None:
    """Write what comes after the pixels."""
    names = "\0".join(manifest.paths).encode("utf-8", "surrogateescape")
    arrays = {name: np.ascontiguousarray(getattr(manifest, name)) for name in _ARRAYS}
    record = {
        "origin": manifest.origin,
        "prepare": list(manifest.prepare),
        "names": len(names),
        "arrays": {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()},
        "looks": manifest.look_names,
        "problems": [[problem.path, problem.kind, problem.message] for problem in manifest.problems],
    }
    body = json.dumps(record).encode() + b"\n" + names + b"".join(array.tobytes() for array in arrays.values())
    digest = hashlib.blake2b(body, digest_size=16).digest()
    out.write(body + len(body).to_bytes(8, "little") + digest + MAGIC)


def _unpack(body: bytes) -> Manifest:
    head, _, rest = body.partition(b"\n")
    record = json.loads(head)
    names = rest[: record["names"]].decode("utf-8", "surrogateescape")
    at, arrays = record["names"], {}
    for name, (kind, shape) in record["arrays"].items():
        count = math.prod(shape)
        arrays[name] = np.frombuffer(rest, np.dtype(kind), count, at).reshape(shape)
        at += arrays[name].nbytes
    return Manifest(
        origin=record["origin"],
        prepare=Preparation(*record["prepare"]),
        paths=tuple(names.split("\0")) if names else (),
        look_names=tuple(record["looks"]),
        problems=tuple(Problem(*problem) for problem in record["problems"]),
        **arrays,
    )


def read(path: Path) -> tuple[Manifest, np.ndarray]:
    """(manifest, memory-mapped pixels uint8 (m, side, side, C)); `FileFormatError` where the file is damaged."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < PAGE + _SUFFIX:
                raise FileFormatError(f"{path}: cut off")
            file.seek(size - _SUFFIX)
            suffix = file.read()
            length = int.from_bytes(suffix[:8], "little")
            if suffix[24:] != MAGIC or length > size - PAGE - _SUFFIX:
                raise FileFormatError(f"{path}: cut off, or not a picture cache")
            file.seek(size - _SUFFIX - length)
            body = file.read(length)
            if hashlib.blake2b(body, digest_size=16).digest() != suffix[8:24]:
                raise FileFormatError(f"{path}: the manifest is damaged")
            manifest = _unpack(body)
            shape = (manifest.rows, manifest.prepare.side, manifest.prepare.side, manifest.prepare.channels)
            if size != PAGE + math.prod(shape) + length + _SUFFIX:
                raise FileFormatError(f"{path}: the pixels are cut off")
            if manifest.rows == 0:
                return manifest, np.zeros(shape, np.uint8)
            return manifest, np.memmap(file, np.uint8, "r", PAGE, shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path}: cannot be read ({error})") from error


def _lock(file: IO[bytes]) -> bool:
    """Lock an open file against others; False where somebody holds the lock. No locks on this system: True."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Delete temporary files of writers that are dead; a minute's grace, for a file exists before it is locked."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if time.time() - os.fstat(file.fileno()).st_mtime > 60 and _lock(file):
                path.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """An open temporary file that becomes `path` when the block ends well, and is deleted when it does not."""
    make_folder(path.parent)
    sweep(path.parent)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "w+b") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        raise WriteError(f"cannot write the picture cache {path}: {error.strerror}; set MODICUM_CACHE to a folder "
                         "with room") from error  # fmt: skip
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

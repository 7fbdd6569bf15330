"""Pictures decoded once: in parallel, into one memory-mapped file per data set and preparation, kept up to date.

The manifest is keyed by path, size and mtime_ns. Only new and changed pictures are decoded; the rest are copied from the
old file. A damaged file is built anew. Two processes that build at once both write a whole file; the last rename stays.
"""

from __future__ import annotations

import shutil
import zlib
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from modicum.data import store
from modicum.data.decoding import BATCH, Decoded, decode_all
from modicum.data.images import VERSION, BadPicture, Preparation, Problem, content_hash, quiet, read_bytes
from modicum.data.sources import Listing
from modicum.errors import FileFormatError, WriteError
from modicum.files import cache_dir
from modicum.runtime import Progress


def cache_file(listing: Listing, prepare: Preparation) -> Path:
    """Where the decoded pictures of a listing are kept."""
    text = f"{VERSION}\0{listing.key}\0{prepare.side}\0{prepare.channels}"
    key = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return cache_dir() / "pictures" / f"{key}.pictures"


def _old(path: Path) -> tuple[store.Manifest, np.ndarray] | None:
    try:
        return store.read(path)
    except FileFormatError:
        return None


def _same(manifest: store.Manifest, listing: Listing) -> bool:
    return manifest.paths == listing.paths and np.array_equal(manifest.stats, listing.stats)


class _Builder:
    """Collects rows for a new manifest."""

    def __init__(self, count: int, prepare: Preparation) -> None:
        self.prepare = prepare
        self.row = np.full(count, -1, np.int64)
        self.digests = np.zeros((count, 16), np.uint8)
        self.sums = np.zeros(count, np.uint32)
        self.shape = np.zeros((count, 3), np.int32)
        self.looks = np.zeros(count, np.uint8)
        self.names: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.rows = 0

    def add(self, index: int, decoded: Decoded) -> None:
        """Record picture `index`; pixels, if any, take the next row."""
        facts = decoded.facts
        self.digests[index] = np.frombuffer(decoded.digest, np.uint8)
        self.shape[index] = facts.width, facts.height, facts.animated
        self.looks[index] = self.names.setdefault(f"{facts.format} {facts.mode}", len(self.names))
        if decoded.problem is not None:
            self.problems.append(decoded.problem)
        if decoded.pixels is not None:
            self.sums[index] = zlib.crc32(decoded.pixels.data)
            self.row[index] = self.rows
            self.rows += 1

    def manifest(self, listing: Listing) -> store.Manifest:
        """The finished manifest."""
        return store.Manifest(
            str(listing.folder.resolve()), self.prepare, listing.paths, listing.stats, self.row, self.digests, self.sums,
            self.shape, self.looks, tuple(self.names), tuple(self.problems),
        )  # fmt: skip


def _known(old: tuple[store.Manifest, np.ndarray] | None, listing: Listing) -> dict[str, int]:
    """Path -> index in the old manifest of the pictures that did not change."""
    if old is None:
        return {}
    manifest = old[0]
    now = dict(zip(listing.paths, map(tuple, listing.stats.tolist()), strict=True))
    before = map(tuple, manifest.stats.tolist())
    return {path: i for i, (path, stat) in enumerate(zip(manifest.paths, before, strict=True)) if now.get(path) == stat}


def _reuse(old: tuple[store.Manifest, np.ndarray], index: int) -> Decoded:
    manifest, pixels = old
    row = int(manifest.row[index])
    problem = None
    if row < 0:
        problem = next((p for p in manifest.problems if p.path == manifest.paths[index]), None)
    return Decoded(pixels[row] if row >= 0 else None, manifest.digests[index].tobytes(), manifest.facts(index), problem)


def _build(
    listing: Listing,
    prepare: Preparation,
    old: tuple[store.Manifest, np.ndarray] | None,
    out: IO[bytes],
    progress: Progress | None,
) -> None:
    """Write the cache of a listing into an open file."""
    store.begin(out)
    known = _known(old, listing)
    fresh = decode_all(listing.folder, [path for path in listing.paths if path not in known], prepare, progress)
    builder = _Builder(len(listing.paths), prepare)
    for index, path in enumerate(listing.paths):
        at = known.get(path)
        decoded = next(fresh) if old is None or at is None else _reuse(old, at)
        builder.add(index, decoded)
        if decoded.pixels is not None:
            out.write(decoded.pixels.data)
    store.finish(out, builder.manifest(listing))


def open_cache(
    listing: Listing, prepare: Preparation, *, progress: Progress | None = None
) -> tuple[store.Manifest, np.ndarray]:
    """(manifest, memory-mapped pixels uint8 (m, side, side, C)) of a listing, decoding what is new or changed."""
    path = cache_file(listing, prepare)
    old = _old(path)
    if old is not None and _same(old[0], listing):
        return old
    return _write(path, listing, prepare, old, progress)


def _write(
    path: Path,
    listing: Listing,
    prepare: Preparation,
    old: tuple[store.Manifest, np.ndarray] | None,
    progress: Progress | None,
) -> tuple[store.Manifest, np.ndarray]:
    with quiet(), store.writing(path) as out:
        _build(listing, prepare, old, out, progress)
    return store.read(path)


def verify(listing: Listing, prepare: Preparation, *, progress: Progress | None = None) -> list[str]:
    """Read every file again: the paths whose bytes, or whose cached pixels, are no longer what the manifest says.

    They, and those that could not be used before, are decoded anew. A file that changed with its size and time is no
    surprise and is not among them.
    """
    path = cache_file(listing, prepare)
    old = _old(path)
    if old is None:
        return []
    manifest, pixels = old
    now = dict(zip(listing.paths, map(tuple, listing.stats.tolist()), strict=True))
    stats, changed = manifest.stats.copy(), []
    for index, (name, stat) in enumerate(zip(manifest.paths, map(tuple, manifest.stats.tolist()), strict=True)):
        if progress is not None and index % BATCH == 0:
            progress(index, len(manifest.paths))
        row = int(manifest.row[index])
        if now.get(name) != stat or (row >= 0 and _sound(listing.folder / name, manifest, pixels, index)):
            continue
        stats[index] = -1
        if row >= 0:
            changed.append(name)
    if (stats != manifest.stats).any():
        _write(path, listing, prepare, (replace(manifest, stats=stats), pixels), progress)
    return changed


def verify_every(listing: Listing, *, progress: Progress | None = None) -> list[str]:
    """`verify` for every side and channels the pictures of a listing are kept in; the changed paths, sorted."""
    changed = set[str]()
    for path in sorted((cache_dir() / "pictures").glob("*.pictures")):
        old = _old(path)
        if old is not None and cache_file(listing, old[0].prepare) == path:
            changed.update(verify(listing, old[0].prepare, progress=progress))
    return sorted(changed)


def _sound(path: Path, manifest: store.Manifest, pixels: np.ndarray, index: int) -> bool:
    """Whether a file's bytes and its cached pixels are what the manifest says."""
    try:
        same = content_hash(read_bytes(path)) == manifest.digests[index].tobytes().hex()
    except BadPicture:
        return False
    return same and zlib.crc32(pixels[manifest.row[index]].data) == int(manifest.sums[index])


class Entry(NamedTuple):
    """One thing in the cache folder: what it is, bytes, when it was last written (seconds since 1970)."""

    name: str
    size: int
    written: float


FOLDERS = {"pictures": "decoded pictures", "archives": "unpacked zip", "sets": "data set"}


def entries() -> list[Entry]:
    """Everything in the cache folder, largest first."""
    found = []
    for folder, what in FOLDERS.items():
        for path in sorted((cache_dir() / folder).glob("*")):
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            size = sum(file.stat().st_size for file in files)
            found.append(Entry(_describe(path, what), size, path.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.size)


def _describe(path: Path, what: str) -> str:
    if path.suffix != ".pictures":
        return f"{what} {path.name}"
    try:
        manifest = store.read(path)[0]
    except FileFormatError:
        return f"{what}, damaged ({path.name})"
    side, channels = manifest.prepare
    return f"{manifest.origin}: {manifest.rows:,} pictures, {side} x {side} x {channels}"


def clear() -> int:
    """Delete everything in the cache folder; how many bytes that freed."""
    freed = sum(entry.size for entry in entries())
    for folder in FOLDERS:
        try:
            if (cache_dir() / folder).exists():
                shutil.rmtree(cache_dir() / folder)
        except OSError as error:
            raise WriteError(f"cannot clear {cache_dir() / folder}: {error.strerror}") from error
    return freed

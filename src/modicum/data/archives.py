"""Zips are unpacked once into the cache folder: no path leads out of it, no bomb fits, the user's folder is not touched."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from hashlib import blake2b
from pathlib import Path

from modicum.data.sources import NO_PICTURES
from modicum.errors import DataError, WriteError
from modicum.files import cache_dir, make_folder, sync_folder
from modicum.runtime import Progress

MAX_UNPACKED = 32 * 2**30
MAX_FILES = 2_000_000
MAX_RATIO = 200  # unpacked to packed size of an archive that unpacks to more than `FREE`
FREE = 2**28


def safe_name(name: str) -> str:
    """The path an entry is unpacked to; `DataError` where it leads out of the archive."""
    path = posixpath.normpath(name.replace("\\", "/"))
    if path.startswith(("/", "../")) or path == ".." or path[1:2] == ":" or "\0" in path:
        raise DataError(f"data: the entry {name!r} leads out of the archive; it is not unpacked")
    return path


def _wanted(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts) or "__MACOSX" in parts
    ending = os.path.splitext(entry.filename)[1].lower()
    return not entry.is_dir() and not hidden and (ending not in NO_PICTURES or ending == ".csv")


def _entries(archive: zipfile.ZipFile, path: Path) -> list[tuple[zipfile.ZipInfo, str]]:
    """The entries to unpack with their places, without folders that hold all of them; `DataError` where it is not safe."""
    chosen = [(entry, safe_name(entry.filename)) for entry in archive.infolist() if _wanted(entry)]
    if len(chosen) > MAX_FILES:
        raise DataError(f"data: {path} holds {len(chosen):,} files, more than the limit of {MAX_FILES:,}")
    for entry, _ in chosen:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(f"data: {path} holds a link ({entry.filename}); pack the files themselves")
        if entry.flag_bits & 1:
            raise DataError(f"data: {path} is encrypted; unpack it and give the folder")
    total = sum(entry.file_size for entry, _ in chosen)
    packed = path.stat().st_size
    if total > MAX_UNPACKED or (total > FREE and total > MAX_RATIO * packed):
        raise DataError(f"data: {path} would unpack to {total / 2**30:.1f} GiB from {packed / 2**20:.1f} MiB; that is more "
                        f"than the limit of {MAX_UNPACKED / 2**30:.0f} GiB, or no archive of pictures")  # fmt: skip
    places = [place for _, place in chosen]
    common = posixpath.commonpath([posixpath.dirname(place) for place in places]) if places else ""
    if common and len({posixpath.dirname(place) for place in places}) == 1:
        common = posixpath.dirname(common)  # a single class folder stays a class folder
    return [(entry, posixpath.relpath(place, common) if common else place) for entry, place in chosen]


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out, 2**20)


def unpack(path: Path, progress: Progress | None = None) -> Path:
    """The folder in the cache with the pictures and tables of a zip, unpacked unless it is there already."""
    status = path.stat()
    name = blake2b(os.fsencode(path.resolve()), digest_size=8).hexdigest()
    folder = cache_dir() / "archives" / f"{name}-{status.st_size:x}-{status.st_mtime_ns:x}"
    if folder.is_dir():
        return folder
    make_folder(folder.parent)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, path)
            for done, (entry, place) in enumerate(entries, 1):
                _copy(archive, entry, temporary / place)
                if progress is not None and done % 64 == 0:
                    progress(done, len(entries))
        _publish(temporary, folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"data: the archive {path} is damaged or of an unknown kind ({error})") from error
    except OSError as error:
        raise WriteError(f"cannot unpack {path} into {folder.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in folder.parent.glob(f"{name}-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def _sweep(parent: Path) -> None:
    """Delete what killed processes left half unpacked more than a day ago."""
    for leftover in parent.glob(".*"):
        if time.time() - leftover.stat().st_mtime > 86_400:
            shutil.rmtree(leftover, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    """Give the finished folder its name; where another process was faster, its folder stays."""
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)

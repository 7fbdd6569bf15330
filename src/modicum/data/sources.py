"""What the user brought -> a `Listing` of picture files with labels, groups and splits; nothing is decoded here.

A class is a folder that directly holds pictures, its name the path relative to DATA with forward slashes. Hidden files
and folders are ignored. A file counts as a picture by its ending where that is a known one, else by its first bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modicum.data.images import Problem, sniff
from modicum.errors import DataError

ENDINGS = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
     ".ppm", ".pgm", ".pbm", ".pnm"))  # fmt: skip
NO_PICTURES = frozenset((".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".py", ".zip",
                         ".npy", ".npz", ".pdf", ".db", ".ini", ".log"))  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """n picture files, sorted by path, with what is known of them before any is decoded.

    folder: what `paths` are relative to. stats int64 (n, 2): size in bytes, mtime_ns. labels int64 (n,): index into
    classes. groups int64 (n,): index into group_names, or None. splits: split -> classes, class-disjoint; empty where
    nothing says which. key: what the cache of these pictures is called by.
    """

    name: str
    key: str
    folder: Path
    paths: tuple[str, ...]
    stats: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split_rule: str = ""
    problems: tuple[Problem, ...] = ()


def _walk(top: Path) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """(relative folder, its files) of every folder that is not hidden; links are followed, but never in a circle."""
    stack, seen = [("", top)], set()
    while stack:
        relative, folder = stack.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        files = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    stack.append((f"{relative}{entry.name}/", Path(entry.path)))
                else:
                    files.append(entry)
        yield relative, files


def _is_picture(entry: os.DirEntry[str]) -> bool:
    ending = os.path.splitext(entry.name)[1].lower()
    if ending in ENDINGS:
        return True
    if ending in NO_PICTURES:
        return False
    try:
        with open(entry.path, "rb") as file:
            return sniff(file.read(16)) is not None
    except OSError:
        return False


def scan(top: Path) -> tuple[list[tuple[str, int, int]], list[str]]:
    """(relative path, size, mtime_ns) of every picture file under a folder, sorted, and the paths of other files."""
    pictures, others = [], []
    try:
        for relative, files in _walk(top):
            for entry in files:
                if not _is_picture(entry):
                    others.append(relative + entry.name)
                    continue
                try:
                    status = entry.stat()
                    pictures.append((relative + entry.name, status.st_size, status.st_mtime_ns))
                except OSError:  # a dangling link: named as missing when it is read
                    pictures.append((relative + entry.name, 0, 0))
    except OSError as error:
        raise DataError(f"data: the folder {error.filename} cannot be read ({error.strerror})") from error
    pictures.sort()
    return pictures, sorted(others)


def class_of_path(path: str) -> str:
    """The class of a picture in a folder of class folders: the folder it lies in, "" where that is DATA itself."""
    return path.rpartition("/")[0]


def number(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(index of every name among the sorted distinct names int64 (n,), those names)."""
    distinct = tuple(sorted(set(names)))
    place = {name: index for index, name in enumerate(distinct)}
    return np.fromiter((place[name] for name in names), np.int64, len(names)), distinct


def from_files(
    name: str,
    key: str,
    folder: Path,
    files: Sequence[tuple[str, int, int]],
    classes: Sequence[str],
    problems: Sequence[Problem] = (),
) -> Listing:
    """A listing of (path, size, mtime_ns) with the class of each."""
    labels, names = number(classes)
    stats = np.array([entry[1:] for entry in files], np.int64).reshape(-1, 2)
    paths = tuple(entry[0] for entry in files)
    return Listing(name, key, folder, paths, stats, labels, names, problems=tuple(problems))


def list_folder(
    folder: Path,
    name: str | None = None,
    class_of: Callable[[str], str] = class_of_path,
    keep: Callable[[str], bool] | None = None,
) -> Listing:
    """The pictures of a folder of class folders; `class_of` maps a path to its class, `keep` chooses paths."""
    files, others = scan(folder)
    if keep is not None:
        files = [entry for entry in files if keep(entry[0])]
    problems = [Problem(path, "ignored", "not a picture") for path in others]
    lost = [entry[0] for entry in files if not class_of(entry[0])]
    problems += [Problem(path, "no-class", "lies beside the class folders, not in one; left out") for path in lost]
    files = [entry for entry in files if class_of(entry[0])]
    key = f"folder\0{folder.resolve()}"
    return from_files(name or folder.resolve().name, key, folder, files, [class_of(entry[0]) for entry in files], problems)

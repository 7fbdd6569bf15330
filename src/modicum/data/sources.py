"""A folder of class folders -> a `Listing` of picture files with labels and splits; nothing is decoded here.

A class is a folder that directly holds pictures, its name the path relative to DATA with forward slashes. Hidden files
and folders are ignored. A file counts as a picture by its ending where that is a known one, else by its first bytes.
Where the topmost folders are `train`, `val`, `test` and share no classes, they are the splits.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modicum.data.images import Problem, sniff
from modicum.errors import DataError

ENDINGS = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
     ".ppm", ".pgm", ".pbm", ".pnm"))  # fmt: skip
NO_PICTURES = frozenset((".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".py", ".zip",
                         ".npy", ".npz", ".pdf", ".db", ".ini", ".log"))  # fmt: skip
SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                 "test": "test", "testing": "test"}  # fmt: skip


class File(NamedTuple):
    """A picture file: path relative to DATA, size in bytes, mtime_ns."""

    path: str
    size: int
    mtime: int


class Scan(NamedTuple):
    """What lies under a folder: picture files, paths of other files, folders that hold neither pictures nor folders, and
    picture files whose names are not UTF-8 (shown with marks for the bytes that are not).
    """

    pictures: list[File]
    others: list[str]
    empty: list[str]
    unnamed: list[str]


@dataclass(frozen=True)
class Listing:
    """n picture files, sorted by class and path, with what is known of them before any is decoded.

    folder: what `paths` are relative to. stats int64 (n, 2): size in bytes, mtime_ns. labels int64 (n,): index into
    classes. groups int64 (n,): index into group_names, or None. parts int64 (n,): index into part_names, or None: the
    split of every picture where the source says so. splits: split -> classes, class-disjoint; empty where nothing says
    which. drawn: the splits are by our own rule, not from the source. key: what the cache of these pictures is called by.
    problems: files left out and why.
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
    parts: np.ndarray | None = None
    part_names: tuple[str, ...] = ()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split_rule: str = ""
    drawn: bool = False
    problems: tuple[Problem, ...] = ()


def _walk(top: Path) -> Iterator[tuple[str, list[os.DirEntry[str]], int]]:
    """(relative folder, its files, number of its folders) of every folder not hidden; links are followed, not in circles."""
    stack, seen = [("", os.fspath(top))], set[tuple[int, int]]()
    while stack:
        relative, folder = stack.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        files, folders = [], 0
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if entry.is_dir():
                    folders += 1
                    stack.append((f"{relative}{entry.name}/", entry.path))
                else:
                    files.append(entry)
        yield relative, files, folders


def _is_picture(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    ending = name[name.rfind(".") :].lower()  # of a name without a dot its last letter, which is no ending
    if ending in ENDINGS:
        return True
    if ending in NO_PICTURES or not entry.is_file():
        return False
    try:
        with open(entry.path, "rb") as file:
            return sniff(file.read(16)) is not None
    except OSError:
        return False


def _shown(path: str) -> str:
    """A path whose bytes are no UTF-8 as it can be printed; "" for one that is as it should be."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return ""


def scan(top: Path) -> Scan:
    """Everything under a folder, sorted by path; `DataError` where a folder cannot be read."""
    found = Scan([], [], [], [])
    try:
        for relative, files, folders in _walk(top):
            pictures = [entry for entry in files if _is_picture(entry)]
            if not pictures and not folders and relative:
                found.empty.append(_shown(relative) or relative.rstrip("/"))
            for entry in pictures:
                if not (entry.name.isascii() and relative.isascii()) and (shown := _shown(relative + entry.name)):
                    found.unnamed.append(shown)
                    continue
                try:
                    status = entry.stat()
                    found.pictures.append(File(relative + entry.name, status.st_size, status.st_mtime_ns))
                except OSError:  # a dangling link: named as missing when it is read
                    found.pictures.append(File(relative + entry.name, 0, 0))
            if len(pictures) < len(files):
                kept = {entry.name for entry in pictures}
                others = (relative + entry.name for entry in files if entry.name not in kept)
                found.others.extend(_shown(path) or path for path in others)
    except OSError as error:
        raise DataError(f"data: the folder {error.filename} cannot be read ({error.strerror})") from error
    return Scan(sorted(found.pictures), sorted(found.others), sorted(found.empty), sorted(found.unnamed))


def class_of_path(path: str) -> str:
    """The class of a picture in a folder of class folders: the folder it lies in, "" where that is DATA itself."""
    return path.rpartition("/")[0]


def number(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(index of every name among the sorted distinct names int64 (n,), those names)."""
    distinct = tuple(sorted(set(names)))
    place = {name: index for index, name in enumerate(distinct)}
    return np.fromiter((place[name] for name in names), np.int64, len(names)), distinct


def from_files(name: str, key: str, folder: Path, files: Sequence[File], classes: Sequence[str]) -> Listing:
    """A listing of files, sorted by path, with the class of each; sorted by class, then path."""
    labels, names = number(classes)
    order = np.argsort(labels, kind="stable")
    paths = tuple(files[i].path for i in order.tolist())
    stats = np.array([file.size for file in files] + [file.mtime for file in files], np.int64).reshape(2, -1).T
    return Listing(name, key, folder, paths, np.ascontiguousarray(stats[order]), labels[order], names)


def list_folder(folder: Path) -> Listing:
    """The pictures of a folder of class folders."""
    found = scan(folder)
    classes = [class_of_path(file.path) for file in found.pictures]
    inside = [(file, name) for file, name in zip(found.pictures, classes, strict=True) if name]
    problems = [Problem(file.path, "no-class", "lies beside the class folders, not in one")
                for file, name in zip(found.pictures, classes, strict=True) if not name]  # fmt: skip
    problems += [Problem(path, "bad-name", "its name is not UTF-8; rename it") for path in found.unnamed]
    problems += [Problem(path, "empty-folder", "a folder without pictures") for path in found.empty]
    problems += [Problem(path, "ignored", "not a picture") for path in found.others]
    listing = from_files(folder.resolve().name, f"folder\0{folder.resolve()}", folder, *_columns(inside))
    return split_folders(replace(listing, problems=tuple(problems)))


def _columns(pairs: Sequence[tuple[File, str]]) -> tuple[list[File], list[str]]:
    return [file for file, _ in pairs], [name for _, name in pairs]


def list_by(folder: Path, name: str, rule: str, class_of: Callable[[str], str | None]) -> Listing:
    """The pictures of a folder whose path `class_of`, called `rule`, gives a class; others are left out without a word."""
    pairs = [(file, label) for file in scan(folder).pictures if (label := class_of(file.path))]
    return from_files(name, f"{rule}\0{folder.resolve()}", folder, *_columns(pairs))


def split_folders(listing: Listing) -> Listing:
    """The listing with splits where its topmost folders are called train, val and test.

    A class name in two of them is a trap (the pictures of one class would count as two classes), so it becomes a problem
    of kind "split-folders" that `open_pictures` refuses.
    """
    tops = {class_name.partition("/")[0] for class_name in listing.classes}
    nested = all("/" in class_name for class_name in listing.classes)
    if len(tops) < 2 or not nested or not tops <= set(SPLIT_FOLDERS):
        return listing
    parts, part_names = number([SPLIT_FOLDERS[path.partition("/")[0]] for path in listing.paths])
    listing = replace(listing, parts=parts, part_names=part_names)
    counts = Counter(class_name.partition("/")[2] for class_name in listing.classes)
    shared = sorted(class_name for class_name, count in counts.items() if count > 1)
    if shared:
        told = f"{', '.join(sorted(tops))} hold the same classes ({', '.join(shared[:3])}{', ...' if shared[3:] else ''})"
        hint = f"give one of them ({listing.folder / sorted(tops)[-1]}) or put the pictures of a class into one folder"
        return replace(listing, problems=(*listing.problems, Problem(".", "split-folders", f"{told}; {hint}")))
    splits: dict[str, tuple[str, ...]] = {split: () for split in ("train", "val", "test") if split in part_names}
    for class_name in listing.classes:
        splits[SPLIT_FOLDERS[class_name.partition("/")[0]]] += (class_name,)
    return replace(listing, splits=splits, split_rule=f"classes split by the folders {', '.join(sorted(tops))}")

"""The one way in: `open_pictures` makes of any DATA a `PictureSet`, pixels memory-mapped where they come from files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from modicum.data import benchmarks
from modicum.data.archives import unpack
from modicum.data.cache import open_cache
from modicum.data.characters import digits, rotated
from modicum.data.images import Preparation, Problem, picture_size, quiet, side_of
from modicum.data.picture_set import PictureSet
from modicum.data.sources import Listing, list_folder
from modicum.data.splits import by_rule, from_file
from modicum.data.store import Manifest
from modicum.data.tables import groups_beside, list_table, list_tables_inside
from modicum.errors import ConfigError, DataError
from modicum.registry import suggest
from modicum.runtime import Progress

__all__ = ["NOTES", "PictureSet", "list_data", "load", "open_pictures", "refuse_listing", "usual_preparation"]

SIZES = (28, 32, 64, 84)
NOTES = ("ignored", "empty-folder", "incomplete", "repeated")  # problems that cost no picture


def list_data(
    data: str,
    *,
    root: str | None = None,
    splits: str | None = None,
    group: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Listing:
    """What DATA (not digits) holds, before decoding, with groups and class splits; options as in `open_pictures`."""
    if data not in benchmarks.KNOWN:
        return _with_splits(_list_path(Path(data), group, progress), splits, seed)
    _refuse_group(data, group)
    _refuse_splits(data, splits)
    listing = benchmarks.list_known(data, root, splits, progress)
    return listing if listing.split_rule else _with_splits(listing, splits, seed)


def _refuse_group(data: str, group: str | None) -> None:
    if group is not None:
        raise DataError(f"group: {data} has no column {group!r}; only tables and folders with a CSV beside them have")


def _refuse_splits(data: str, splits: str | None) -> None:
    published = benchmarks.KNOWN[data].splits
    if splits is not None and splits not in published and not Path(splits).exists():
        raise DataError(f"splits: there is no file {splits}{suggest(splits, published)}; expected a JSON file, or a "
                        f"published split of {data}: {', '.join(published) or 'none'}")  # fmt: skip


def _with_splits(listing: Listing, splits: str | None, seed: int) -> Listing:
    """The listing with the splits of a file, else its own, else drawn by the seed."""
    if splits is not None:
        table, rule = from_file(Path(splits), listing.classes)
    elif listing.splits or listing.split_rule or not listing.classes:
        return listing
    else:
        table, rule = by_rule(listing.classes, seed)
        return replace(listing, splits=table, split_rule=rule, drawn=True)
    return replace(listing, splits=table, split_rule=rule)


def load(
    data: str,
    *,
    root: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    splits: str | None = None,
    group: str | None = None,
    seed: int = 0,
    margin: float = 1.0,
    min_classes: int = 2,
    progress: Progress | None = None,
) -> tuple[Listing, Manifest, np.ndarray]:
    """Listing, manifest and pixels of DATA, bad pictures and all; options as in `open_pictures`."""
    if data == "digits":
        _refuse_group(data, group)
        _refuse_splits(data, splits)
        listing, manifest, pixels = digits(usual_preparation(data, None, size, channels, margin))
        if splits in (None, "digits"):
            return benchmarks.with_published(listing, "digits"), manifest, pixels
        return _with_splits(listing, splits, seed), manifest, pixels
    listing = list_data(data, root=root, splits=splits, group=group, seed=seed, progress=progress)
    refuse_listing(listing, min_classes)
    prepare = usual_preparation(data, listing, size, channels, margin)
    return (listing, *open_cache(listing, prepare, progress=progress))


def _list_path(path: Path, group: str | None, progress: Progress | None) -> Listing:
    """A folder, table or zip; `DataError` says what was expected where it is none of these."""
    if path.is_dir():
        listing = list_folder(path)
        return listing if group is None else groups_beside(listing, group)
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        return list_table(path, group)
    if path.is_file() and zipfile.is_zipfile(path):
        return replace(_list_zip(unpack(path, progress), group), name=path.stem)
    known = ", ".join(benchmarks.KNOWN)
    if path.suffix.lower() == ".zip" and path.is_file():
        raise DataError(f"data: {path} is called a zip but is none; it may be cut off, so fetch or pack it again")
    if path.exists():
        raise DataError(f"data: {path} is neither a folder, a CSV (.csv), a zip nor a known name ({known})")
    hint = suggest(str(path), benchmarks.KNOWN)
    raise DataError(f"data: there is no {path}{hint}; expected a folder of class folders, a CSV, a zip, or one of {known}")


def _list_zip(folder: Path, group: str | None) -> Listing:
    """What a table in the zip with paths and labels names, else its class folders."""
    by_table = list_tables_inside(folder, group)
    if by_table is not None:
        return by_table
    listing = list_folder(folder)
    return listing if group is None else groups_beside(listing, group)


def usual_preparation(
    data: str, listing: Listing | None, size: int | None, channels: int | None, margin: float
) -> Preparation:  # fmt: skip
    """Side and channels pictures are brought to, where None by the data's usual ones."""
    if channels not in (None, 1, 3):
        raise ConfigError(f"channels: expected 1 or 3, found {channels}")
    if size is not None and not 1 <= size <= 1024:
        raise ConfigError(f"size: expected 1 to 1024 pixels, found {size}")
    if not 1 <= margin <= 4:
        raise ConfigError(f"margin: expected 1 to 4, found {margin}")
    known = benchmarks.KNOWN.get(data)
    if size is None:
        size = known.size if known else SIZES[0] if listing is None else _usual_size(listing)
    return Preparation(side_of(size, margin), channels or (known.channels if known else 3))


def _usual_size(listing: Listing) -> int:
    """The largest of 28, 32, 64, 84 not above the median short side of up to 101 pictures, evenly spaced."""
    step = -(-len(listing.paths) // 101) or 1
    with quiet():
        sizes = [picture_size(listing.folder / path) for path in listing.paths[::step]]
    short = [min(size) for size in sizes if size is not None]
    median = float(np.median(short)) if short else SIZES[0]
    return max([size for size in SIZES if size <= median], default=SIZES[0])


def _names(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")


def refuse_listing(listing: Listing, min_classes: int) -> None:
    """`DataError` where a listing cannot be used whatever its pictures look like."""
    for problem in listing.problems:
        if problem.kind == "split-folders":
            raise DataError(f"data: {problem.message}")
    beside = next((problem for problem in listing.problems if problem.kind == "no-class"), None)
    if not listing.paths and beside is not None:
        raise DataError(f"data: the pictures of {listing.folder} lie in no class folder ({beside.path}); make a folder for "
                        "each class and put its pictures there, or write a CSV: path,label")  # fmt: skip
    if not listing.paths:
        others = sum(problem.kind == "ignored" for problem in listing.problems)
        seen = f" ({others} other files)" if others else ""
        raise DataError(
            f"data: {listing.folder} holds no pictures{seen}; expected a folder for each class with its pictures"
        )
    if len(listing.classes) < min_classes:
        tables = ", ".join(path.name for path in sorted(listing.folder.glob("*.csv")))
        hint = f"; if {tables} has the labels, give that file as DATA" if tables else ""
        raise DataError(f"data: {listing.name} has one class only ({_names(listing.classes)}); expected at least "
                        f"{min_classes}, a folder for each{hint}")  # fmt: skip


def assemble(listing: Listing, manifest: Manifest, pixels: np.ndarray, bad: str, min_classes: int) -> PictureSet:
    """The usable pictures of a listing; classes without any are left out."""
    lost = [problem for problem in (*listing.problems, *manifest.problems) if problem.kind not in NOTES]
    if lost and bad == "refuse":
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in lost[:5])
        raise DataError(f"data: {len(lost)} pictures of {listing.name} cannot be used: {told}")
    good = np.flatnonzero(manifest.row >= 0)
    digests = manifest.digests.tobytes().hex()
    pictures = PictureSet(
        pixels=pixels,
        labels=listing.labels[good],
        classes=listing.classes,
        ids=tuple(listing.paths[i] for i in good),
        digests=tuple(digests[32 * i : 32 * i + 32] for i in good),
        groups=None if listing.groups is None else listing.groups[good],
        group_names=listing.group_names,
        splits=listing.splits,
        split_rule=listing.split_rule,
        skipped=tuple(lost),
        name=listing.name,
        parts=None if listing.parts is None else listing.parts[good],
        part_names=listing.part_names,
    )
    filled = {listing.classes[label] for label in np.unique(pictures.labels)}
    if len(filled) == len(listing.classes):
        return pictures
    empty = [class_name for class_name in listing.classes if class_name not in filled]
    gone = [Problem(name, "empty-class", "none of its pictures can be used; the class is left out") for name in empty]
    if len(filled) < min_classes:
        raise DataError(f"data: no picture of {_names(empty)} can be used ({lost[0].path}: {lost[0].message}), which leaves "
                        f"{len(filled)} classes; expected at least {min_classes}")  # fmt: skip
    return replace(pictures.only(filled), skipped=(*lost, *gone))


def open_pictures(
    data: str | os.PathLike[str],
    *,
    root: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    splits: str | None = None,
    group: str | None = None,
    seed: int = 0,
    margin: float = 1.0,
    bad: Literal["refuse", "skip"] = "skip",
    min_classes: int = 2,
    progress: Progress | None = None,
) -> PictureSet:
    """The pictures of a folder of class folders, a CSV, a zip of either, or a known name.

    Decoded once and kept under `MODICUM_CACHE`. root: where known sets lie (default `MODICUM_DATA`). size None: a known
    name's usual size, else the largest of 28/32/64/84 not above the median short side; pixels are side x side with
    side = ceil(size * margin). channels None: 1 for digits and omniglot, else 3. splits: a JSON file, or a published
    split's name ("lake" for omniglot); without one and without splits in the data, 64/16/20 per cent drawn by `seed`
    (`PictureSet.split_rule` says which). group: CSV column whose pictures belong together. bad: skip pictures that
    cannot be used (they stand in `skipped`) or refuse the set. `DataError` names what is wrong and what to do.
    """
    data = os.fspath(data)
    if not data:
        raise DataError("data: expected a folder, a CSV, a zip or a known name, found an empty name")
    listing, manifest, pixels = load(
        data, root=root, size=size, channels=channels, splits=splits, group=group, seed=seed, margin=margin,
        min_classes=min_classes, progress=progress,
    )  # fmt: skip
    pictures = assemble(listing, manifest, pixels, bad, min_classes)
    return rotated(pictures) if data == "omniglot" and splits in (None, "vinyals") else pictures

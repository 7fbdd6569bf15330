"""Data sets known by name: where they may lie, what their classes are called, which class splits are published.

| name | source | splits |
|---|---|---|
| digits | scikit-learn (UCI, test part), 8x8 upsampled | 0-4 train, 5-9 test, no val |
| omniglot | Lake et al. 2015 (MIT) | `vinyals`: Vinyals et al. 2016, rotations by 90 degrees as classes; `lake` |
| cifar10 | Krizhevsky 2009, 10 classes of 5,000 + 1,000 | of pictures: train, test |
| cifar100 | Krizhevsky 2009, 100 classes of 500 + 100 | of pictures: train, test |
| cifar100-coarse | the same pictures by their 20 coarse classes | of pictures: train, test |
| cifar-fs | CIFAR-100, train and test merged, 600 a class | Bertinetto et al. 2019 |
| fc100 | the same pictures | Oreshkin et al. 2018 |
| mini-imagenet | a local copy, a folder per WordNet id | Ravi and Larochelle 2017 |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modicum.data.downloads import cifar_folder, download, may_download
from modicum.data.images import Problem
from modicum.data.sources import Listing, list_by, number
from modicum.data.splits import coarse_classes, shipped
from modicum.errors import DataError
from modicum.runtime import Progress


@dataclass(frozen=True)
class Benchmark:
    """Folders under the root to look in, usual size and channels, and the published splits, the usual one first."""

    folders: tuple[str, ...]
    size: int
    channels: int
    splits: tuple[str, ...]


_CIFAR = ("cifar100", "cifar-100", "cifar-fs", "cifar_fs", "fc100")
_MINI = ("mini-imagenet", "mini_imagenet", "miniimagenet", "miniImageNet")
_COARSE = "cifar100-coarse"
PARTED = ("cifar10", "cifar100", _COARSE)
"""Sets with published parts of pictures instead of splits of classes."""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_MARKS = {
    "cifar10": ("train/airplane", "data/airplane", "airplane"),
    _COARSE: ("train/apple", "data/apple", "apple"),
    "cifar100": ("train/apple", "data/apple", "apple"),
    "cifar-fs": ("train/apple", "data/apple", "apple"),
    "fc100": ("train/apple", "data/apple", "apple"),
    "mini-imagenet": ("train/n01532829", "images/n01532829", "n01532829"),
}
KNOWN: Mapping[str, Benchmark] = {
    "digits": Benchmark((), 28, 1, ("digits",)),
    "omniglot": Benchmark(("omniglot", "omniglot-py"), 28, 1, ("vinyals", "lake")),
    "cifar10": Benchmark(("cifar10", "cifar-10"), 32, 3, ()),
    "cifar100": Benchmark(_CIFAR, 32, 3, ()),
    _COARSE: Benchmark(_CIFAR, 32, 3, ()),
    "cifar-fs": Benchmark(_CIFAR, 32, 3, ("cifar-fs",)),
    "fc100": Benchmark(_CIFAR, 32, 3, ("fc100",)),
    "mini-imagenet": Benchmark(_MINI, 84, 3, ("mini-imagenet",)),
}


def data_root(root: str | None) -> Path | None:
    """The folder of data sets: the argument, else `MODICUM_DATA`, else None; `DataError` where it is no folder."""
    folder = root or os.environ.get("MODICUM_DATA")
    if folder and not Path(folder).is_dir():
        raise DataError(f"{'root' if root else 'MODICUM_DATA'}: {folder} is not a folder")
    return Path(folder) if folder else None


def character(path: str) -> str | None:
    """Omniglot's class of a path: "Alphabet/characterNN", for pictures of the two full sets."""
    parts = path.split("/")
    return f"{parts[1]}/{parts[2]}" if len(parts) == 4 and parts[0] in ("images_background", "images_evaluation") else None


def last_folder(path: str) -> str:
    """The folder a picture lies in without those above, so that train and test pictures of a class come together."""
    return path.rpartition("/")[0].rpartition("/")[2]


def stem(path: str) -> str:
    """The WordNet id a picture's name begins with, where it does."""
    return path.rpartition("/")[2][:9]


def _find(name: str, top: Path) -> Path | None:
    places = [top / folder for folder in KNOWN[name].folders]
    if name == "omniglot":
        return next((place for place in (*places, top) if (place / "images_background").is_dir()), None)
    inside = _MARKS[name]  # the root may be the data set's own folder
    return next(
        (place for place in places if place.is_dir()), top if any((top / mark).is_dir() for mark in inside) else None
    )


def locate(name: str, root: str | None, progress: Progress | None = None) -> Path:
    """The folder of a known data set: under the root, in torchvision's layout, or downloaded; else `DataError`."""
    top = data_root(root)
    found = None if top is None else _find(name, top)
    if found is None and (name == "cifar10" or KNOWN[name].folders == _CIFAR):
        found = cifar_folder(name, top, progress)
    if found is None and may_download(name):
        found = download(name, top, progress)
    if found is None:
        raise DataError(not_found(name, top))
    return found


def not_found(name: str, top: Path | None) -> str:
    """The message for a data set that is nowhere."""
    if top is None:
        looked = "neither --root nor MODICUM_DATA is set, so there was no folder to look in"
    else:
        looked = f"looked for {', '.join(str(top / folder) for folder in KNOWN[name].folders)}"
    if name == "mini-imagenet":
        how = "its pictures may not be passed on, so bring a copy: a folder per WordNet id (n01532829, ...)"
    else:
        how = "downloads are off here (MODICUM_OFFLINE); fetch it where there is a network"
    return f"data: {name} was not found: {looked}. {how}, and give the folder above it with --root or MODICUM_DATA"


def list_known(name: str, root: str | None, splits: str | None, progress: Progress | None = None) -> Listing:
    """The pictures of a known data set other than digits, with its published split (the usual one where None).

    Omniglot's classes are characters here. `DataError` says where the data was looked for.
    """
    folder = locate(name, root, progress)
    if name == "omniglot":
        listing = list_by(folder, name, "omniglot", character)
    else:
        own = _class_names(name)
        rule = name if name == _COARSE else KNOWN[name].folders[0]  # cifar100, cifar-fs and fc100 share decoded pictures
        flat = name == "mini-imagenet"  # its usual form: images/n0153282900000005.jpg
        listing = list_by(
            folder, name, rule, lambda path: own.get(last_folder(path)) or (own.get(stem(path)) if flat else None)
        )
    if not listing.paths:
        raise DataError(f"data: {folder} holds none of the classes of {name}")
    if name in PARTED:
        return _of_pictures(listing) if splits is None else listing
    which = splits or KNOWN[name].splits[0]
    return with_published(listing, which) if which in KNOWN[name].splits else listing


def _class_names(name: str) -> dict[str, str]:
    """The class that the pictures of each folder of a known data set belong to."""
    if name == _COARSE:
        return coarse_classes()
    if name == "cifar10":
        return {class_name: class_name for class_name in CIFAR10}
    whole = shipped("cifar-fs" if name == "cifar100" else name)
    return {class_name: class_name for classes in whole.values() for class_name in classes}


def with_published(listing: Listing, which: str) -> Listing:
    """The listing with a published class split; classes of it that are not there are a problem of kind "incomplete"."""
    if which == "lake":
        return _lake(listing)
    splits, rule = published(which)
    present = set(listing.classes)
    lost = [class_name for classes in splits.values() for class_name in classes if class_name not in present]
    problems = listing.problems
    if lost:
        told = f"{len(lost)} classes are missing ({', '.join(lost[:3])}{', ...' if lost[3:] else ''})"
        problems = (*problems, Problem(str(listing.folder), "incomplete", f"{told}; numbers are not comparable"))
    kept = {split: tuple(c for c in classes if c in present) for split, classes in splits.items()}
    return replace(listing, splits=kept, split_rule=rule, problems=problems)


def _of_pictures(listing: Listing) -> Listing:
    """CIFAR with the part of every picture, by the folder its class lies in; without parts where that says nothing."""
    parts, names = number([path.partition("/")[0] for path in listing.paths])
    if set(names) != {"train", "test"}:
        told = f"{listing.name}: no folders train and test, so no published parts, and no class splits"
        return replace(listing, split_rule=told)
    told = ", ".join(f"{count:,} {name}" for name, count in zip(names, np.bincount(parts).tolist(), strict=True))
    few = "" if listing.name == "cifar10" else "; few-shot tasks: cifar-fs, fc100"
    rule = f"{listing.name}: the published parts of pictures ({told}), no class splits{few}"
    return replace(listing, parts=parts, part_names=names, split_rule=rule)


def published(which: str) -> tuple[dict[str, tuple[str, ...]], str]:
    """A published class split and where it is from, in words; Omniglot's in characters without rotations."""
    if which == "digits":
        return {"train": tuple("01234"), "test": tuple("56789")}, "digits: 0-4 train, 5-9 test; too few classes for a val"
    if which == "vinyals":
        splits = {
            split: tuple(f"{alphabet}/character{index:02d}" for alphabet, indices in tree.items() for index in indices)
            for split, tree in shipped("omniglot-vinyals").items()
        }
        return splits, "omniglot: Vinyals split, 1028/172/423 characters in 4 rotations each"
    splits = {split: tuple(classes) for split, classes in shipped(which).items()}
    return splits, f"{which}: published split, {'/'.join(str(len(classes)) for classes in splits.values())} classes"


def _lake(listing: Listing) -> Listing:
    """Lake's split by the folder each character lies in; it has no val."""
    place = dict(zip(listing.labels.tolist(), listing.paths, strict=True))
    splits = {
        split: tuple(listing.classes[label] for label in sorted(place) if place[label].startswith(folder))
        for split, folder in (("train", "images_background"), ("test", "images_evaluation"))
    }
    rule = (
        f"omniglot: Lake's split, {len(splits['train'])} background characters train, {len(splits['test'])} evaluation test"
    )
    return replace(listing, splits=splits, split_rule=f"{rule}; no val, no rotations")

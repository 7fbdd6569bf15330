"""Data sets known by name: where they may lie, what their classes are called, which splits are published.

| name | source | splits |
|---|---|---|
| digits | scikit-learn (UCI, test part), 8x8 upsampled | 0-4 train, 5-9 test, no val |
| omniglot | Lake et al. 2015 (MIT) | Vinyals et al. 2016 with rotations by 90 degrees as classes; Lake's |
| cifar-fs | CIFAR-100, train and test merged | Bertinetto et al. 2019 |
| fc100 | the same pictures | Oreshkin et al. 2018 |
| mini-imagenet | a local copy, a folder per WordNet id | Ravi and Larochelle 2017 |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modicum.data.sources import Listing, list_folder
from modicum.data.splits import shipped
from modicum.errors import DataError

ROTATIONS = (0, 90, 180, 270)


@dataclass(frozen=True)
class Benchmark:
    """Folders under the root to look in, the usual size and channels, and names of the published splits."""

    folders: tuple[str, ...]
    size: int
    channels: int
    splits: tuple[str, ...]
    download: str = ""


_CIFAR = ("cifar100", "cifar-100", "cifar-fs", "cifar_fs", "fc100")
KNOWN: Mapping[str, Benchmark] = {
    "digits": Benchmark((), 28, 1, ("digits",)),
    "omniglot": Benchmark(("omniglot", "omniglot-py", "."), 28, 1, ("vinyals", "lake"), "Omniglot"),
    "cifar-fs": Benchmark(_CIFAR, 32, 3, ("cifar-fs",), "CIFAR100"),
    "fc100": Benchmark(_CIFAR, 32, 3, ("fc100",), "CIFAR100"),
    "mini-imagenet": Benchmark(
        ("mini-imagenet", "mini_imagenet", "miniimagenet", "miniImageNet"), 84, 3, ("mini-imagenet",)
    ),
}


def data_root(root: str | None) -> Path | None:
    """The folder of data sets: the argument, else `MODICUM_DATA`, else None."""
    folder = root or os.environ.get("MODICUM_DATA")
    return Path(folder) if folder else None


def character(path: str) -> str:
    """Omniglot's class of a path: "Alphabet/characterNN", whatever folder it lies in."""
    return "/".join(path.split("/")[-3:-1])


def last_folder(path: str) -> str:
    """The folder a picture lies in, without those above: train and test pictures of a class come together."""
    return path.split("/")[-2] if "/" in path else ""


def _whole(name: str, folder: Path) -> bool:
    """Whether a folder looks like the data set."""
    if name == "omniglot":
        return (folder / "images_background").is_dir() and (folder / "images_evaluation").is_dir()
    return folder.is_dir()


def find(name: str, root: Path | None) -> Path | None:
    """The folder of a known data set under the root, or None."""
    if root is None:
        return None
    places = (root / folder for folder in KNOWN[name].folders)
    return next((place for place in places if _whole(name, place)), None)


def list_known(name: str, root: str | None) -> Listing:
    """The pictures of a known data set other than digits; `DataError` says where it was looked for."""
    top = data_root(root)
    folder = find(name, top)
    if folder is None:
        raise DataError(not_found(name, top))
    if name == "omniglot":
        listing = list_folder(folder, name, character, lambda path: path.startswith("images_") and path.count("/") == 3)
    else:
        wanted = {class_name for classes in shipped(name).values() for class_name in classes}
        listing = list_folder(folder, name, last_folder, lambda path: last_folder(path) in wanted)
    return listing


def not_found(name: str, top: Path | None) -> str:
    """The message for a data set that is nowhere."""
    if top is None:
        looked = "nowhere, for neither --root nor MODICUM_DATA is set"
    else:
        looked = ", ".join(str(top / folder) for folder in KNOWN[name].folders)
    return f"data: {name} was not found; looked in: {looked}. Give the folder that holds it with --root or MODICUM_DATA"


def published(name: str, which: str | None) -> tuple[dict[str, tuple[str, ...]], str] | None:
    """The published class split of a known name and its rule in words; None where `which` is no published name.

    Omniglot's classes here are characters; its Vinyals splits stand for each character in four rotations.
    """
    which = which or KNOWN[name].splits[0]
    if which not in KNOWN[name].splits:
        return None
    if which == "digits":
        return {"train": tuple("01234"), "test": tuple("56789")}, "digits: 0-4 train, 5-9 test; too few classes for a val"
    if which == "vinyals":
        record = shipped("omniglot-vinyals")
        characters = {
            split: tuple(f"{alphabet}/character{index:02d}" for alphabet, indices in tree.items() for index in indices)
            for split, tree in record.items()
        }
        return characters, "omniglot: Vinyals split, 1028/172/423 characters in 4 rotations"
    if which == "lake":
        return {}, "omniglot: Lake's split, 964 background characters train, 659 evaluation characters test; no val"
    splits = {split: tuple(classes) for split, classes in shipped(which).items()}
    return splits, f"{name}: published split, {'/'.join(str(len(classes)) for classes in splits.values())} classes"

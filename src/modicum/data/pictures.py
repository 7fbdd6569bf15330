"""The one way in: `open_pictures` makes of any DATA a `PictureSet`, pixels memory-mapped where they come from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from modicum.data import benchmarks
from modicum.data.cache import open_cache
from modicum.data.images import Preparation, Problem, picture_size, quiet, side_of
from modicum.data.sources import Listing, list_folder
from modicum.data.splits import by_rule, from_file
from modicum.errors import ConfigError, DataError
from modicum.runtime import Progress

SIZES = (28, 32, 64, 84)


@dataclass(frozen=True)
class PictureSet:
    """n pictures of C classes.

    pixels uint8 (n, side, side, channels), memory-mapped or in RAM. labels int64 (n,): index into classes. ids: path
    inside DATA, unique. digests: hash of the content, equal for equal pictures. groups int64 (n,): index into
    group_names, or None. splits: split -> class names, class-disjoint. split_rule: where they come from, in words.
    skipped: pictures that could not be used and why.
    """

    pixels: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    digests: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split_rule: str = ""
    skipped: tuple[Problem, ...] = ()
    name: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, name: str) -> PictureSet:
        """Only the classes of a split, relabelled 0..C-1 in class order; "all" is every class, "train+val" a union."""
        if name == "all":
            return self
        parts = name.split("+")
        for part in parts:
            if part not in self.splits:
                known = ", ".join([*self.splits, "all"])
                raise DataError(f"split: {self.name} has no split {part!r}; it has: {known}. {self.split_rule}".rstrip())
        wanted = {class_name for part in parts for class_name in self.splits[part]}
        classes = tuple(class_name for class_name in self.classes if class_name in wanted)
        table = np.full(len(self.classes), -1, np.int64)
        table[[index for index, class_name in enumerate(self.classes) if class_name in wanted]] = np.arange(len(classes))
        keep = np.flatnonzero(table[self.labels] >= 0)
        part_set = self.subset(keep)
        return replace(part_set, labels=table[part_set.labels], classes=classes, splits={name: classes})

    def subset(self, keep: np.ndarray) -> PictureSet:
        """The pictures at the given indices (or where a boolean mask holds); classes stay as they are."""
        keep = np.flatnonzero(keep) if keep.dtype == bool else keep
        whole = len(keep) > 0 and np.array_equal(keep, np.arange(keep[0], keep[0] + len(keep)))
        pixels = self.pixels[keep[0] : keep[0] + len(keep)] if whole else self.pixels[keep]  # a slice stays a view
        return replace(
            self,
            pixels=pixels,
            labels=self.labels[keep],
            ids=tuple(self.ids[i] for i in keep),
            digests=tuple(self.digests[i] for i in keep) if self.digests else (),
            groups=None if self.groups is None else self.groups[keep],
        )


def usual_size(listing: Listing) -> int:
    """The largest of 28, 32, 64, 84 not above the median short side of up to 101 pictures, evenly spaced."""
    step = max(1, len(listing.paths) // 101)
    with quiet():
        sizes = [picture_size(listing.folder / path) for path in listing.paths[::step]]
    short = [min(size) for size in sizes if size is not None]
    median = float(np.median(short)) if short else SIZES[0]
    return max([size for size in SIZES if size <= median], default=SIZES[0])


def _digits(size: int, channels: int) -> PictureSet:
    """scikit-learn's 1,797 handwritten digits, 8x8 with 17 grey levels, upsampled bilinearly; light on dark."""
    from PIL import Image
    from sklearn.datasets import load_digits

    from modicum.data.images import content_hash

    bunch = load_digits()
    small = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    order = np.argsort(bunch.target, kind="stable")
    large = [np.asarray(Image.fromarray(small[i]).resize((size, size), Image.Resampling.BILINEAR)) for i in order]
    pixels = np.repeat(np.stack(large)[..., None], channels, axis=-1)
    labels = bunch.target[order].astype(np.int64)
    ids = tuple(f"{label}/{i:04d}" for label, i in zip(labels, order, strict=True))
    digests = tuple(content_hash(small[i].tobytes()) for i in order)
    found = benchmarks.published("digits", None)
    assert found is not None
    return PictureSet(pixels, labels, tuple("0123456789"), ids, digests, splits=found[0], split_rule=found[1], name="digits")


def _rotated(pictures: PictureSet) -> PictureSet:
    """Every class in four rotations as classes of their own, "Alphabet/characterNN/rot090" counter-clockwise, in RAM."""
    from modicum.data.images import content_hash

    count, turns = len(pictures.classes), benchmarks.ROTATIONS
    names = [f"{class_name}/rot{turn:03d}" for class_name in pictures.classes for turn in turns]
    labels = np.concatenate([pictures.labels * 4 + k for k in range(4)])
    order = np.argsort(labels, kind="stable")
    ids = [f"{id_}@rot{turn:03d}" for turn in turns for id_ in pictures.ids]
    digests = [content_hash(f"{digest}@{turn}".encode()) for turn in turns for digest in pictures.digests]
    splits = {
        split: tuple(f"{class_name}/rot{turn:03d}" for class_name in classes for turn in turns)
        for split, classes in pictures.splits.items()
    }
    pixels = np.empty((4 * len(pictures), *pictures.pixels.shape[1:]), np.uint8)
    place = np.argsort(order)
    for k in range(4):
        pixels[place[k * len(pictures) : (k + 1) * len(pictures)]] = np.rot90(pictures.pixels, k, axes=(1, 2))
    assert len(names) == 4 * count
    return replace(
        pictures,
        pixels=pixels,
        labels=labels[order],
        classes=tuple(names),
        ids=tuple(ids[i] for i in order),
        digests=tuple(digests[i] for i in order),
        splits=splits,
    )


def _decoded(listing: Listing, prepare: Preparation, bad: str, progress: Progress | None) -> PictureSet:
    """The usable pictures of a listing, in order of (class, path)."""
    manifest, pixels = open_cache(listing, prepare, progress=progress)
    problems = (*(p for p in listing.problems if p.kind != "ignored"), *manifest.problems)
    if problems and bad == "refuse":
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in problems[:5])
        raise DataError(f"data: {len(problems)} pictures of {listing.name} cannot be used: {told}")
    good = np.flatnonzero(manifest.row >= 0)
    if len(good) == 0:
        raise DataError(f"data: {listing.name} holds no usable picture")
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
        skipped=problems,
        name=listing.name,
    )
    return pictures


def _lake(listing: Listing) -> dict[str, tuple[str, ...]]:
    """Lake's split by the folder each character lies in."""
    first = dict(zip(listing.labels.tolist(), listing.paths, strict=True))
    parts = {"train": "images_background", "test": "images_evaluation"}
    return {
        split: tuple(listing.classes[label] for label in sorted(first) if first[label].startswith(folder))
        for split, folder in parts.items()
    }


def _with_splits(listing: Listing, splits: str | None, seed: int) -> Listing:
    if listing.name in benchmarks.KNOWN:
        found = benchmarks.published(listing.name, splits)
        if found is not None:
            table = _lake(listing) if splits == "lake" else found[0]
            present = set(listing.classes)
            table = {split: tuple(c for c in classes if c in present) for split, classes in table.items()}
            return replace(listing, splits=table, split_rule=found[1])
    if splits is not None:
        table_, rule = from_file(Path(splits), listing.classes)
        return replace(listing, splits=table_, split_rule=rule)
    if listing.splits or listing.split_rule:
        return listing
    table_, rule = by_rule(listing.classes, seed)
    return replace(listing, splits=table_, split_rule=rule)


def _listing(data: str, root: str | None, group: str | None) -> Listing:
    folder = Path(data)
    if data in benchmarks.KNOWN:
        return benchmarks.list_known(data, root)
    if not folder.is_dir():
        raise DataError(f"data: {data} is neither a folder nor a known name ({', '.join(benchmarks.KNOWN)})")
    return list_folder(folder)


def open_pictures(
    data: str,
    *,
    root: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    splits: str | None = None,
    group: str | None = None,
    seed: int = 0,
    margin: float = 1.0,
    bad: Literal["refuse", "skip"] = "skip",
    progress: Progress | None = None,
) -> PictureSet:
    """The pictures of a folder of class folders, a CSV, a zip of either, or a known name.

    Decoded once and kept under `MODICUM_CACHE`. size None: a known name's usual size, else the largest of 28/32/64/84 not
    above the median short side; pixels are side x side with side = ceil(size * margin). channels None: 1 for digits and
    omniglot, else 3. splits: a JSON file, or a published split's name ("lake" for omniglot). group: CSV column.
    bad: what to do about pictures that cannot be used. `DataError` names what is wrong and what to do.
    """
    if channels not in (None, 1, 3):
        raise ConfigError(f"channels: expected 1 or 3, found {channels}")
    known = benchmarks.KNOWN.get(data)
    channels = channels or (known.channels if known else 3)
    if data == "digits":
        return _digits(side_of(size or 28, margin), channels)
    listing = _with_splits(_listing(data, root, group), splits, seed)
    size = size or (known.size if known else usual_size(listing))
    pictures = _decoded(listing, Preparation(side_of(size, margin), channels), bad, progress)
    if data == "omniglot" and splits in (None, "vinyals"):
        pictures = _rotated(pictures)
    return pictures

"""The support set of a classifier: embeddings with ids, labels, groups and content digests, always in order of id."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.classifiers.rules import Rows
from modicum.errors import DataError
from modicum.registry import suggest

if TYPE_CHECKING:
    from modicum.data.pictures import PictureSet

THUMBNAIL = 32
"""Thumbnails are at most this wide, in pixels."""


@dataclass(frozen=True, eq=False)
class Support:
    """n labelled embeddings, sorted by id; make one with `support_of`.

    features (n, D) float32; ids unique; labels class names; digests hash of the picture's file, "" where unknown; groups
    name of the group, None where a picture stands alone; thumbnails uint8 (n, side, side, C), or None where none are kept.
    """

    features: Rows
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    digests: tuple[str, ...]
    groups: tuple[str | None, ...]
    thumbnails: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted."""
        return tuple(sorted(set(self.labels)))

    def at(self, keep: Sequence[int] | npt.NDArray[np.int64]) -> Support:
        """The pictures at the given indices, which must rise."""
        thumbnails = None if self.thumbnails is None else np.ascontiguousarray(self.thumbnails[np.asarray(keep, int)])
        return Support(
            np.ascontiguousarray(self.features[np.asarray(keep, int)]),
            tuple(self.ids[i] for i in keep),
            tuple(self.labels[i] for i in keep),
            tuple(self.digests[i] for i in keep),
            tuple(self.groups[i] for i in keep),
            thumbnails,
        )

    def joined(self, other: Support) -> Support:
        """Union of two sets. A picture in both with the same label and content counts once.

        `DataError` names ids that stand for different pictures or labels, and widths of embeddings that differ.
        """
        if self.features.shape[1] != other.features.shape[1]:
            widths = f"{self.features.shape[1]} and {other.features.shape[1]}"
            raise DataError(f"embeddings: expected equally many features, found {widths}; use the classifier's own encoder")
        mine = dict(zip(self.ids, zip(self.labels, self.digests, self.groups, strict=True), strict=True))
        theirs = list(zip(other.ids, zip(other.labels, other.digests, other.groups, strict=True), strict=True))
        clash = [id_ for id_, what in theirs if mine.get(id_, what) != what or (id_ in mine and not what[1])]
        if clash:
            raise DataError(
                f"ids: {len(clash)} pictures have the id of another picture, label or group that is already there: "
                f"{', '.join(clash[:5])}; rename them, or forget the old ones first"
            )
        new = other.at([i for i, (id_, _) in enumerate(theirs) if id_ not in mine])
        thumbnails = _stacked(self.thumbnails, new.thumbnails)
        return in_order(
            Support(
                np.concatenate([self.features, new.features]),
                self.ids + new.ids,
                self.labels + new.labels,
                self.digests + new.digests,
                self.groups + new.groups,
                thumbnails,
            )
        )

    def without(self, ids: Sequence[str] = (), class_name: str | None = None) -> Support:
        """What is left without pictures by id and without a class.

        `DataError` names the nearest known id or class for an unknown one, and says so where fewer than 2 classes are left.
        """
        if not ids and class_name is None:
            raise DataError("forget: nothing to forget was named; give ids (--id) or a class (--class)")
        unknown = [id_ for id_ in ids if id_ not in set(self.ids)]
        if unknown:
            hint = suggest(unknown[0], self.ids)
            raise DataError(f"id: no picture {unknown[0]!r} in this classifier{hint}; nothing was forgotten")
        if class_name is not None and class_name not in self.labels:
            hint = suggest(class_name, self.classes)
            known = ", ".join(self.classes[:20])
            raise DataError(
                f"class: no class {class_name!r} in this classifier{hint}; it has {known}; nothing was forgotten"
            )
        gone = set(ids)
        left = self.at([i for i, id_ in enumerate(self.ids) if id_ not in gone and self.labels[i] != class_name])
        if len(left.classes) < 2:
            raise DataError(
                f"forget: {len(left.classes)} class would be left, and a classifier needs 2; nothing was forgotten. "
                "Extend it with another class first, or delete its folder"
            )
        return left


def _stacked(mine: npt.NDArray[np.uint8] | None, theirs: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8] | None:
    if mine is None or theirs is None or mine.shape[1:] != theirs.shape[1:]:
        return None
    return np.concatenate([mine, theirs])


def in_order(support: Support) -> Support:
    """The same pictures sorted by id; `DataError` for an id that occurs twice."""
    order = sorted(range(len(support)), key=support.ids.__getitem__)
    if len(set(support.ids)) < len(order):
        twice = next(a for a, b in itertools.pairwise(order) if support.ids[a] == support.ids[b])
        raise DataError(f"ids: expected every picture's id once, found {support.ids[twice]!r} twice")
    return support if order == list(range(len(order))) else support.at(np.array(order, np.int64))


def support_of(
    features: npt.ArrayLike,
    labels: Sequence[str],
    ids: Sequence[str],
    digests: Sequence[str] = (),
    groups: Sequence[str | None] = (),
    thumbnails: npt.NDArray[np.uint8] | None = None,
) -> Support:
    """A support set from embeddings (n, D) and what belongs to them, in any order; checked and sorted by id."""
    x = np.ascontiguousarray(features, np.float32)
    n = len(labels)
    if x.ndim != 2 or len(x) != n or len(ids) != n or len(digests) not in (0, n) or len(groups) not in (0, n):
        raise DataError(f"features, labels and ids: expected n of each, found {x.shape}, {n} and {len(ids)}")
    if not np.isfinite(x).all():
        raise DataError("features: expected finite numbers, found NaN or infinity")
    plain = Support(
        x,
        tuple(map(str, ids)),
        tuple(map(str, labels)),
        tuple(digests) or ("",) * n,
        tuple(None if g is None else str(g) for g in groups) or (None,) * n,
        thumbnails,
    )
    return in_order(plain)


def thumbnails_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pictures uint8 (n, H, W, C) at most THUMBNAIL wide, by means over whole blocks of pixels."""
    n, height, width, channels = pixels.shape
    factor = -(-max(height, width) // THUMBNAIL)
    if factor == 1:
        return np.array(pixels)
    h, w = height // factor, width // factor
    out = np.empty((n, h, w, channels), np.uint8)
    for start in range(0, n, 256):
        part = pixels[start : start + 256, : h * factor, : w * factor].reshape(-1, h, factor, w, factor, channels)
        out[start : start + 256] = (part.mean((2, 4)) + 0.5).astype(np.uint8)
    return out


def of_pictures(pictures: PictureSet, features: npt.ArrayLike, *, thumbnails: bool = True) -> Support:
    """The support set of pictures and their embeddings (n, D)."""
    groups: tuple[str | None, ...] = ()
    if pictures.groups is not None:
        groups = tuple(pictures.group_names[i] if i >= 0 else None for i in pictures.groups)
    return support_of(
        features,
        [pictures.classes[i] for i in pictures.labels],
        pictures.ids,
        pictures.digests,
        groups,
        thumbnails_of(pictures.pixels) if thumbnails else None,
    )


def keep_no_pictures(support: Support) -> Support:
    """Without thumbnails, for private data."""
    return replace(support, thumbnails=None)

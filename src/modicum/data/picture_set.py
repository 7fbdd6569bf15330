"""`PictureSet`: decoded pictures with labels, groups and class splits. What everything above this layer works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from modicum.data.images import Problem
from modicum.errors import DataError


@dataclass(frozen=True)
class PictureSet:
    """n pictures of C classes, sorted by class and id.

    pixels uint8 (n, side, side, channels), memory-mapped or in RAM. labels int64 (n,): index into classes. ids: path
    inside DATA, unique. digests: hash of the content, equal for equal files. groups int64 (n,): index into
    group_names, or None. splits: split -> class names, class-disjoint. split_rule: where they come from, in words.
    skipped: pictures that could not be used and why. parts int64 (n,): index into part_names, or None: the split of every
    picture where the source says so ("": none), whether classes share splits or not.
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
    parts: np.ndarray | None = None
    part_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def left_out(self) -> str:
        """How many files could not be used, and the first of them with the reason; "" where there are none."""
        if not self.skipped:
            return ""
        first, more = self.skipped[0], f", and {len(self.skipped) - 1} more" if len(self.skipped) > 1 else ""
        return f"left out: {first.path} ({first.message}){more}; modicum check lists what is wrong with the data"

    def split(self, name: str) -> PictureSet:
        """Only the classes of a split, relabelled 0..C-1 in class order; "all" is every class, "train+val" a union.

        `DataError` names the splits there are.
        """
        if name == "all":
            return self
        parts = name.split("+")
        for part in parts:
            if part not in self.splits:
                known = ", ".join([*self.splits, "all"])
                raise DataError(f"split: {self.name} has no split {part!r}; it has: {known}. {self.split_rule}".rstrip(" ."))
        wanted = {class_name for part in parts for class_name in self.splits[part]}
        chosen = self.only(wanted)
        return replace(chosen, splits={name: chosen.classes})

    def only(self, wanted: set[str]) -> PictureSet:
        """Only the classes in `wanted`, relabelled in class order; splits keep those that are left."""
        places = [index for index, class_name in enumerate(self.classes) if class_name in wanted]
        table = np.full(len(self.classes), -1, np.int64)
        table[places] = np.arange(len(places))
        chosen = self.subset(np.flatnonzero(table[self.labels] >= 0))
        splits = {split: tuple(c for c in classes if c in wanted) for split, classes in self.splits.items()}
        return replace(
            chosen, labels=table[chosen.labels], classes=tuple(self.classes[index] for index in places), splits=splits
        )

    def subset(self, keep: np.ndarray) -> PictureSet:
        """The pictures at the given indices (or where a boolean mask holds); classes stay as they are."""
        keep = np.flatnonzero(keep) if keep.dtype == bool else keep
        start = int(keep[0]) if len(keep) else 0
        block = np.array_equal(keep, np.arange(start, start + len(keep)))
        pixels = self.pixels[start : start + len(keep)] if block else self.pixels[keep]  # a slice stays a view of the map
        return replace(
            self,
            pixels=pixels,
            labels=self.labels[keep],
            ids=tuple(self.ids[i] for i in keep),
            digests=tuple(self.digests[i] for i in keep) if self.digests else (),
            groups=None if self.groups is None else self.groups[keep],
            parts=None if self.parts is None else self.parts[keep],
        )

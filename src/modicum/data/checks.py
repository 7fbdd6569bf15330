"""What is in a data set and what is wrong with it, before anybody trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from modicum.data.cache import open_cache, verify_every
from modicum.data.duplicates import duplicate_findings, group_findings
from modicum.data.findings import Finding, from_problems, some
from modicum.data.pictures import list_data, load, usual_preparation
from modicum.data.sources import Listing
from modicum.data.store import Manifest
from modicum.errors import DataError
from modicum.runtime import Progress

FEW = 5  # pictures of a class below which its accuracy says little
_STEPS = (16, 28, 32, 64, 84, 128, 224, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found: usable pictures of every class, sizes, formats with modes, splits, and findings."""

    name: str
    classes: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    looks: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split_rule: str = ""
    groups: int | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def pictures(self) -> int:
        """How many pictures can be used."""
        return sum(self.classes.values())

    @property
    def unsafe(self) -> bool:
        """Whether training on this would be."""
        return any(finding.severity == "unsafe" for finding in self.findings)


def inspect(
    data: str,
    *,
    root: str | None = None,
    group: str | None = None,
    splits: str | None = None,
    deep: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Decode (once, into the cache) and examine DATA; options as in `open_pictures`.

    Nothing that is wrong with the data raises: it is a finding. deep: read every file again, for every size it is
    cached in, instead of trusting that a file of the same size and time is the same.
    """
    try:
        if data == "digits":
            listing, manifest, _ = load(data, splits=splits, group=group)
            return examine(listing, manifest)
        listing = list_data(data, root=root, splits=splits, group=group, progress=progress)
    except DataError as error:
        return Inspection(data, findings=(Finding("no-data", "unsafe", str(error)),))
    if not listing.paths:
        found = from_problems(listing.problems, 0)
        nothing = Finding("no-data", "unsafe", f"{listing.folder} holds no class folder with pictures")
        return Inspection(listing.name, findings=(nothing, *found))
    prepare = usual_preparation(data, listing, None, None, 1.0)
    changed = verify_every(listing, progress=progress) if deep else []
    manifest, _ = open_cache(listing, prepare, progress=progress)
    return examine(listing, manifest, changed)


def examine(listing: Listing, manifest: Manifest, changed: list[str] | None = None) -> Inspection:
    """The inspection of decoded pictures; changed: paths whose content changed unseen."""
    usable = manifest.row >= 0
    counts = np.bincount(listing.labels[usable], minlength=len(listing.classes))
    looks = np.bincount(manifest.looks[usable], minlength=len(manifest.look_names))
    problems = (*listing.problems, *manifest.problems)
    named = len(listing.paths) + sum(problem.kind == "missing" for problem in listing.problems)
    findings = [
        *_class_findings(listing, counts),
        *from_problems(problems, named),
        *duplicate_findings(listing, manifest.digests, usable),
        *group_findings(listing, usable),
        *_picture_findings(listing, manifest, usable),
    ]
    if changed:
        message = f"changed unseen (the file or its cached pixels), now decoded anew: {len(changed)} ({some(changed)})"
        findings.append(Finding("changed", "warning", message, tuple(changed)))
    order = {"unsafe": 0, "warning": 1, "note": 2}
    return Inspection(
        name=listing.name,
        classes={class_name: int(count) for class_name, count in zip(listing.classes, counts, strict=True)},
        sizes=_sizes(manifest.shape[usable]),
        looks={name: int(count) for name, count in zip(manifest.look_names, looks, strict=True) if count},
        splits=listing.splits,
        split_rule=listing.split_rule,
        groups=None if listing.groups is None else len(listing.group_names),
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
    )


def _class_findings(listing: Listing, counts: np.ndarray) -> list[Finding]:
    """Too few classes, classes with too few pictures, splits that are not of classes."""
    found = []
    by_count = [(class_name, int(count)) for class_name, count in zip(listing.classes, counts, strict=True)]
    empty = [class_name for class_name, count in by_count if count == 0]
    single = [class_name for class_name, count in by_count if count == 1]
    few = [class_name for class_name, count in by_count if 1 < count < FEW]
    filled = len(by_count) - len(empty)
    if filled < 2:
        message = f"classes with usable pictures: {filled}; there is nothing to tell apart"
        found.append(Finding("one-class", "unsafe", message, listing.classes))
    if empty:
        message = f"classes without a usable picture: {len(empty)} ({some(empty)})"
        found.append(Finding("empty-class", "unsafe", message, tuple(empty)))
    if single:
        message = f"classes with one picture, usable but not measurable: {len(single)} ({some(single)})"
        found.append(Finding("one-picture", "warning", message, tuple(single)))
    if few:
        message = f"classes with fewer than {FEW} pictures, whose accuracy says little: {len(few)} ({some(few)})"
        found.append(Finding("few-pictures", "note", message, tuple(few)))
    if listing.parts is not None and not listing.splits and listing.split_rule:
        found.append(Finding("splits", "warning", f"{listing.split_rule}; `train` needs splits of classes"))
    return found


def _picture_findings(listing: Listing, manifest: Manifest, usable: np.ndarray) -> list[Finding]:
    """Animations and pictures smaller than what they are brought to."""
    found = []
    animated = [listing.paths[i] for i in np.flatnonzero(usable & (manifest.shape[:, 2] > 0))]
    if animated:
        message = f"animated or of several pages, the first is taken: {len(animated)} ({some(animated)})"
        found.append(Finding("animated", "note", message, tuple(animated)))
    side = manifest.prepare.side
    small = [listing.paths[i] for i in np.flatnonzero(usable & (manifest.shape[:, :2].min(axis=1) < side))]
    if small:
        message = f"smaller than {side} x {side} and enlarged: {len(small)} ({some(small)})"
        found.append(Finding("small", "note", message, tuple(small)))
    return found


def _sizes(shape: np.ndarray) -> dict[str, int]:
    """How many pictures have which size; where there are more than 8 sizes, by the short side in steps."""
    exact = Counter(f"{width} x {height}" for width, height in shape[:, :2].tolist())
    if len(exact) <= 8:
        return dict(exact.most_common())
    short = shape[:, :2].min(axis=1)
    bins = np.bincount(np.searchsorted(_STEPS, short, side="right"), minlength=len(_STEPS) + 1)
    names = [f"short side below {_STEPS[0]}"]
    names += [f"short side {low} to {high - 1}" for low, high in pairwise(_STEPS)]
    names.append(f"short side from {_STEPS[-1]}")
    return {name: int(count) for name, count in zip(names, bins, strict=True) if count}

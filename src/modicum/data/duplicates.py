"""What belongs together and lies apart: equal files across classes, splits, groups; groups across splits.

Two files are equal where all their bytes are (BLAKE2b-128). The same picture saved twice in different ways is not found.
"""

from __future__ import annotations

import numpy as np

from modicum.data.findings import Finding, Severity, some
from modicum.data.sources import Listing


def equal_files(digests: np.ndarray) -> list[np.ndarray]:
    """Indices, int64 (k,) with k > 1 each, of equal rows of digests uint8 (n, 16), ordered by first index."""
    if len(digests) == 0:
        return []
    keys = np.ascontiguousarray(digests).view([("", "V16")]).reshape(-1)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    found = [order[starts[i] : starts[i + 1]] for i in np.flatnonzero(counts > 1)]
    return sorted(found, key=lambda indices: int(indices[0]))


def parts_of(listing: Listing) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """The split of every picture int64 (n,), index into names (-1: none); None where there are no splits."""
    if listing.parts is not None:
        return listing.parts, listing.part_names
    if not listing.splits:
        return None
    names = tuple(listing.splits)
    place = {class_name: index for index, split in enumerate(names) for class_name in listing.splits[split]}
    table = np.array([place.get(class_name, -1) for class_name in listing.classes], np.int64)
    return table[listing.labels], names


def duplicate_findings(listing: Listing, digests: np.ndarray, usable: np.ndarray) -> list[Finding]:
    """What equal files mean for training; usable bool (n,) says which pictures count."""
    places = np.flatnonzero(usable)
    sets = [places[indices] for indices in equal_files(digests[places])]
    within = [indices for indices in sets if len(set(listing.labels[indices])) == 1]
    across = [indices for indices in sets if len(set(listing.labels[indices])) > 1]
    found = [
        _finding(listing, within, "duplicates-within-class", "warning",
                 "equal files in one class (`fit` keeps them together, `train` counts them twice)"),
        _finding(listing, across, "duplicates-across-classes", "unsafe",
                 "equal files in several classes (which label is right?)"),
    ]  # fmt: skip
    if (parts := parts_of(listing)) is not None:
        torn = [indices for indices in sets if len(set(parts[0][indices])) > 1]
        message = "equal files in several splits (the test is then not of unseen pictures)"
        found.append(_finding(listing, torn, "duplicates-across-splits", "unsafe", message))
    if listing.groups is not None:
        shared = [indices for indices in sets if len(set(listing.groups[indices])) > 1]
        message = "equal files in several groups (`fit` keeps them together)"
        found.append(_finding(listing, shared, "duplicates-across-groups", "warning", message))
    return [finding for finding in found if finding.sets]


def group_findings(listing: Listing, usable: np.ndarray) -> list[Finding]:
    """Groups with pictures in several splits; a warning only where we drew the splits, for `fit` does not use those."""
    parts = parts_of(listing)
    if listing.groups is None or parts is None:
        return []
    named = usable & np.array([*map(bool, parts[1]), False])[parts[0]]  # -1 and "" are no split
    pairs = np.unique(np.stack([listing.groups[named], parts[0][named]]), axis=1)
    torn = np.flatnonzero(np.bincount(pairs[0], minlength=len(listing.group_names)) > 1)
    if len(torn) == 0:
        return []
    names = tuple(listing.group_names[i] for i in torn)
    words = "groups with pictures in several splits (the test is then not of unseen groups)"
    severity: Severity = "warning" if listing.drawn else "unsafe"
    return [Finding("groups-across-splits", severity, f"{words}: {len(names)} ({some(names)})", names)]


def _finding(listing: Listing, sets: list[np.ndarray], kind: str, severity: Severity, words: str) -> Finding:
    named = tuple(tuple(listing.paths[i] for i in indices) for indices in sets)
    told = some([" = ".join(paths) for paths in named])
    return Finding(kind, severity, f"{words}: {len(sets)} ({told})", tuple(path for paths in named for path in paths), named)

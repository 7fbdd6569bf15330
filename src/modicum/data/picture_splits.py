"""Data whose own train and test parts hold the same classes: usual for ordinary training, a trap for few-shot tasks.

`open_pictures` refuses folders `train/cat` and `test/cat`: one class would count as two. Here they are parts of the pictures
of the class `cat`. A table's column `split`, `cifar10` and `cifar100` say the parts of pictures either way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modicum.data.benchmarks import KNOWN, PARTED
from modicum.data.cache import open_cache
from modicum.data.picture_set import PictureSet
from modicum.data.pictures import assemble, list_data, open_pictures, refuse_listing, usual_preparation
from modicum.data.sources import Listing, number
from modicum.runtime import Progress


def merged(listing: Listing) -> Listing:
    """The listing with the folders train, val and test as parts of pictures where they hold the same classes.

    Where every class lies in one of them only, and where there are no such folders, it stays as it is.
    """
    left = tuple(problem for problem in listing.problems if problem.kind != "split-folders")
    if len(left) == len(listing.problems) or listing.parts is None:
        return listing
    labels, classes = number([listing.classes[label].partition("/")[2] for label in listing.labels.tolist()])
    order = np.argsort(labels, kind="stable")
    return replace(
        listing,
        paths=tuple(listing.paths[i] for i in order.tolist()),
        stats=np.ascontiguousarray(listing.stats[order]),
        labels=labels[order],
        classes=classes,
        groups=None if listing.groups is None else listing.groups[order],
        parts=listing.parts[order],
        splits={},
        split_rule=f"the folders {', '.join(listing.part_names)} split pictures, not classes",
        problems=left,
    )


def open_split_pictures(
    data: str,
    *,
    root: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    group: str | None = None,
    seed: int = 0,
    margin: float = 1.0,
    progress: Progress | None = None,
) -> PictureSet:
    """The pictures of DATA for training on all of its classes at once, with their parts where the data says them.

    As `open_pictures`, but that folders train, val and test may hold the same classes. `DataError` as there.
    """
    if data in KNOWN and data not in PARTED:  # their splits are of classes; digits and omniglot are made, not only read
        return open_pictures(
            data, root=root, size=size, channels=channels, group=group, seed=seed, margin=margin, progress=progress
        )
    listing = merged(list_data(data, root=root, group=group, seed=seed, progress=progress))
    refuse_listing(listing, 2)
    prepare = usual_preparation(data, listing, size, channels, margin)
    return assemble(listing, *open_cache(listing, prepare, progress=progress), "skip", 2)

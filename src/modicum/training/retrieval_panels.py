"""What a few test pictures retrieved, as arrays for the report: figure S3 of Long et al., arXiv 2202.11233, with pictures.

| array | shape | is |
|---|---|---|
| panel_pixels | (Q, h, w, C) uint8 | the pictures asked about, as thumbnails |
| panel_ids, panel_labels | (Q,) text | which they are, and of what class |
| panel_branches | (B,) text | the branches, and votes where they were asked for |
| panel_predictions | (Q, B) text | the class that each branch names |
| panel_similarity | (Q, k) float64 | similarities of the items retrieved, falling |
| panel_words | (Q, k) text | what the text encoder read of them, cut at WORDS characters |
| panel_own | (Q, k) bool | whether an item has the picture's own class as its label |
| panel_sources | (Q, k) text | the sources they were added under |
| panel_near | (Q, m, h, w, C) uint8 | thumbnails of the first m items |
| panel_near_there | (Q, m) bool | which of these are known: items whose pictures are among the data at hand |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.data.picture_set import PictureSet
from modicum.evaluation.long_tail import bucket_of
from modicum.memory.types import Item
from modicum.runtime import philox
from modicum.training.supervised_scoring import Scored

Ints = NDArray[np.int64]
QUERIES, NEAR, SIDE, WORDS = 12, 8, 96, 80
"""Pictures asked about, thumbnails of neighbours for each, side of a thumbnail, characters of a text."""


def panel_places(labels: Ints, counts: Ints, seed: int = 0, queries: int = QUERIES) -> Ints:
    """Which of n test pictures with labels (n,) are shown: places (Q,), drawn by seed and by nothing else.

    As many of frequent as of medium and of rare classes, by training pictures (C,); where a bucket has too few, the others
    take its places. Most frequent classes first.
    """
    shuffled = philox(seed, "retrieval/panels", 0).permutation(len(labels))
    bucket = bucket_of(counts)[labels[shuffled]]
    turn = np.zeros(len(shuffled), np.int64)  # how many of its bucket come before a picture
    for b in np.unique(bucket):
        turn[bucket == b] = np.arange((bucket == b).sum())
    chosen = shuffled[np.lexsort((bucket, turn))[:queries]]
    return chosen[np.lexsort((chosen, -counts[labels[chosen]]))].astype(np.int64)


def retrieval_panels(
    scored: Scored, predicted: Mapping[str, Ints], tested: PictureSet, rows: Ints, labels: Ints, classes: Sequence[str],
    places: Ints,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The arrays above; {} where no memory was read or there is no place.

    scored: of n pictures, rows (n,) of `tested`, with labels (n,) among classes (C,). predicted: class (n,) by branch.
    places (Q,) of the n. Thumbnails of neighbours are pictures of `tested` with the item's source and name, else with its
    content. A pure function.
    """
    if scored.neighbours is None or not len(places):
        return {}
    chosen, names = rows[places].tolist(), [classes[label] for label in labels[places].tolist()]
    items = [scored.items[place] for place in places.tolist()]
    near, there = _near(items, tested)
    return {
        "panel_pixels": np.stack([thumbnail(tested.pixels[row]) for row in chosen]),
        "panel_ids": np.array([tested.ids[row] for row in chosen]),
        "panel_labels": np.array(names),
        "panel_branches": np.array(list(predicted)),
        "panel_predictions": np.array([[classes[c] for c in guess[places].tolist()] for guess in predicted.values()]).T,
        "panel_similarity": np.asarray(scored.neighbours.similarity[places], np.float64),
        "panel_words": np.array([[_cut(item.words) for item in row] for row in items]),
        "panel_own": np.array([[i.label == name for i in row] for row, name in zip(items, names, strict=True)]),
        "panel_sources": np.array([[item.source for item in row] for row in items]),
        "panel_near": near,
        "panel_near_there": there,
    }


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, C) with at most SIDE pixels a side."""
    if max(pixels.shape[:2]) <= SIDE:
        return np.asarray(pixels)
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(image).reshape(*np.asarray(image).shape[:2], -1)


def _cut(text: str) -> str:
    return text if len(text) <= WORDS else text[: WORDS - 1] + "…"


def _near(items: list[list[Item]], pictures: PictureSet) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Thumbnails (Q, m, h, w, C) of the first items of each row, black where not known, and which are known (Q, m)."""
    wanted = [row[:NEAR] for row in items]
    by_name = {name: row for row, name in enumerate(pictures.ids)}
    by_digest = {digest: row for row, digest in enumerate(pictures.digests) if digest}

    def row_of(item: Item) -> int | None:
        row = by_name.get(item.name) if item.source == pictures.name else None
        return by_digest.get(item.digest) if row is None else row

    places = [[row_of(item) for item in row] for row in wanted]
    there = np.array([[place is not None for place in row] for row in places])
    blank = np.zeros_like(thumbnail(pictures.pixels[0]))
    shown = [[blank if place is None else thumbnail(pictures.pixels[place]) for place in row] for row in places]
    return np.stack([np.stack(row) for row in shown]), there

"""What test pictures retrieved, ready for a page: figure S3 of Long et al., arXiv 2202.11233, with the pictures themselves.

The arrays are those of `training.retrieval_panels`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modicum.reporting.long_tail_figures import BINS, similarities
from modicum.reporting.long_tail_rows import BRANCHES
from modicum.reporting.pictures import Picture, data_uri
from modicum.reporting.records import Array
from modicum.reporting.story import counted

LISTED = 8
"""Entries of each list, as in the paper's figure."""
SHORT = {"1-nn": "1-NN", "knn": "k-NN", "knn-interpolation": "mixed"}
NAMES = ("pixels", "ids", "labels", "branches", "predictions", "similarity", "words", "own", "sources", "near", "near_there")


@dataclass(frozen=True)
class Panel:
    """One picture. nearest: (words, similarity, whether of its class); counted: (words, number, whether of its class).

    predictions: (branch, class, whether right). near: thumbnails of the first items, those that are known. own: how many
    of the k items are of its class. sources: (source, number of items).
    """

    uri: str
    id: str
    label: str
    count_told: str
    predictions: list[tuple[str, str, bool]]
    nearest: list[tuple[str, float, bool]]
    counted: list[tuple[str, int, bool]]
    histogram: str | None
    near: list[Picture]
    own: int
    k: int
    sources: list[tuple[str, int]]


def read_panels(arrays: Mapping[str, Array], classes: Sequence[str], counts: Array | None) -> tuple[list[Panel], bool]:
    """(panels, whether pictures are so small that a browser should not smooth them); none where a file holds none.

    counts (C,): training pictures of the classes. All histograms have the same bins.
    """
    if any(f"panel_{name}" not in arrays for name in NAMES):
        return [], False
    found = {name: arrays[f"panel_{name}"] for name in NAMES}
    edges = np.histogram_bin_edges(found["similarity"], BINS)
    seen = {} if counts is None else dict(zip(classes, counts.tolist(), strict=True))
    panels = [_panel({name: values[row] for name, values in found.items() if name != "branches"},
                     found["branches"].tolist(), edges, seen)
              for row in range(len(found["labels"]))]  # fmt: skip
    return panels, max(found["pixels"].shape[1:3]) <= 48


def _panel(one: Mapping[str, Array], branches: Sequence[str], edges: Array, seen: Mapping[str, int]) -> Panel:
    label, words = str(one["labels"]), [str(text) or "-" for text in one["words"]]
    own, similarity = one["own"].astype(bool), one["similarity"].astype(float)
    of_class = {text for text, match in zip(words, own.tolist(), strict=True) if match}
    called = dict(zip(branches, map(str, one["predictions"]), strict=True))
    shown = [name for name in BRANCHES if name in called] + [name for name in branches if name not in BRANCHES]
    near = [
        Picture(
            data_uri(pixels), f"{words[place]}, similarity {similarity[place]:.3f}", bool(own[place]), label=words[place]
        )
        for place, (pixels, there) in enumerate(zip(one["near"], one["near_there"], strict=True))
        if there
    ]
    return Panel(
        uri=data_uri(one["pixels"]),
        id=str(one["ids"]),
        label=label,
        count_told=counted(seen[label], "training picture", "training pictures") if label in seen else "",
        predictions=[(SHORT.get(name, name), called[name], called[name] == label) for name in shown],
        nearest=list(zip(words, similarity.tolist(), own.tolist(), strict=True))[:LISTED],
        counted=[(text, number, text in of_class) for text, number in Counter(words).most_common(LISTED)],
        histogram=similarities(similarity, own, edges, f"a picture of {label}"),
        near=near,
        own=int(own.sum()),
        k=len(words),
        sources=Counter(map(str, one["sources"])).most_common(),
    )

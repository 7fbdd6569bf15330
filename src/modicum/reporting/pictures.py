"""Pictures as PNG data URIs, and sample tasks arranged for a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from modicum.reporting.records import Array, Samples, Task

SIDE = 96  # pictures on a page are at most this large
PER_CLASS = 20  # query pictures of a class that a sample task shows


@dataclass(frozen=True)
class Picture:
    """A picture ready for a page. right None: it was given with its label."""

    uri: str
    text: str
    right: bool | None = None
    called: str = ""
    label: str = ""


@dataclass(frozen=True)
class ClassRow:
    """One class of a sample task: the labelled pictures it was learned from, then the pictures it had to name."""

    name: str
    support: tuple[Picture, ...]
    query: tuple[Picture, ...]
    wrong: int


def data_uri(pixels: Array) -> str:
    """A picture (H, W, C) or (H, W) uint8, C 1 or 3, as a PNG data URI of at most SIDE pixels a side."""
    array = np.asarray(pixels, dtype=np.uint8)
    image = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def class_rows(task: Task) -> list[ClassRow]:
    """The sample task, one row per class; within a row mistakes first, at most PER_CLASS of its query pictures."""
    return [_class_row(task, index) for index in range(len(task.classes))]


def _class_row(task: Task, index: int) -> ClassRow:
    name = task.classes[index]
    queries = np.flatnonzero(task.query_labels == index)
    wrong = task.predictions[queries] != index
    shown = queries[np.argsort(~wrong, kind="stable")][:PER_CLASS]
    support = [
        Picture(data_uri(task.support[place]), f"labelled picture of {name}", label=name)
        for place in np.flatnonzero(task.support_labels == index)
    ]
    query = [_named(task.query[place], name, task.classes[int(task.predictions[place])]) for place in shown]
    return ClassRow(name, tuple(support), tuple(query), int(wrong.sum()))


def _named(pixels: Array, label: str, called: str) -> Picture:
    right = label == called
    verdict = f"right: {label}" if right else f"wrong: {label} called {called}"
    return Picture(data_uri(pixels), verdict, right, called, label)


def sample_pictures(samples: Iterable[Samples | None], most: int = 20) -> list[Picture]:
    """At most `most` pictures of each side (right, wrong), each with its label and what it was called."""
    return [
        _named(sample.pixels[place], sample.labels[place], sample.predictions[place])
        for sample in samples
        if sample is not None
        for place in range(min(most, len(sample.labels)))
    ]

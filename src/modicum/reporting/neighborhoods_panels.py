"""Entries with their nearest test pictures, and pictures with what they attend to: figures 9 and 10, ready for a page.

The arrays are those of `training.neighborhoods.panels`, whose module says what each of them is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modicum.reporting.pictures import Picture, data_uri
from modicum.reporting.records import Array

GROUPS = ("entries", "classes", "values", "near", "cosine")
ASKED = ("drawn", "before", "after", "votes", "effective", "entries", "weights", "near")
CLASSES = 4
"""Classes of a distribution that a page shows."""
DRAWN = {"corrected": "drawn from those adaptation corrected", "spoiled": "drawn from those adaptation spoiled",
         "all": "drawn from all"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """An entry. likely: (class, probability) of its value. near: its nearest pictures; right: of the entry's class."""

    number: int
    name: str
    likely: list[tuple[str, float]]
    near: list[Picture]
    cosines: list[float]
    usage: float
    own: int


@dataclass(frozen=True)
class Attended:
    """An entry that a picture attends to: weight, its share and in multiples of the even one; near: a picture near it."""

    number: int
    name: str
    right: bool
    weight: float
    even: float
    near: Picture | None


@dataclass(frozen=True)
class Asked:
    """A test picture. verdict: what adaptation did to its answer. rows: (class, before, votes of entries, after, whether its
    own). effective: as many entries with equal weights have the entropy of its attention; top: what those listed hold."""

    picture: Picture
    label: str
    drawn: str
    before: str
    after: str
    verdict: str
    rows: list[tuple[str, float, float, float, bool]]
    entries: list[Attended]
    effective: float
    top: float


@dataclass(frozen=True)
class Panels:
    """groups: (class, entries of it), so many `each` in a row. pixelated: pictures too small to be smoothed by a browser."""

    groups: list[tuple[str, list[Entry]]]
    each: int
    asked: list[Asked]
    pictures: bool
    pixelated: bool


def read_panels(arrays: Mapping[str, Array], classes: Sequence[str]) -> Panels | None:
    """What the arrays of an evaluation hold; None where they say nothing of a dictionary."""
    names = ["entry_usage", "asked", "true", "pictures"]
    names += [f"group_{name}" for name in GROUPS] + [f"asked_{name}" for name in ASKED]
    if any(name not in arrays for name in names):
        return None
    there = "shown" in arrays
    uris: dict[int, str] = {}
    if there:
        shown = zip(arrays["shown"].tolist(), arrays["shown_pixels"], strict=True)
        uris = {place: data_uri(pixels) for place, pixels in shown}

    def picture(place: int, own: int | None) -> Picture:
        """The test picture at a place; right where it is labelled with the class `own`, None: not said."""
        label = classes[int(arrays["true"][place])]
        right = None if own is None else bool(arrays["true"][place] == own)
        return Picture(uris.get(place, ""), f"{label}: {arrays['pictures'][place]}", right, label=label)

    found = arrays["group_entries"]
    groups = [
        (classes[int(arrays["group_classes"][row, 0, 0])],
         [_entry(arrays, classes, row, place, picture) for place in range(found.shape[1]) if found[row, place] >= 0])
        for row in range(len(found))
    ]  # fmt: skip
    asked = [_asked(arrays, classes, row, picture) for row in range(len(arrays["asked"]))]
    side = max(arrays["shown_pixels"].shape[1:3]) if there else 0
    return Panels(groups, found.shape[1], asked, there, side <= 48)


def _entry(
    arrays: Mapping[str, Array], classes: Sequence[str], row: int, place: int, picture: Callable[[int, int | None], Picture]
) -> Entry:
    number = int(arrays["group_entries"][row, place])
    likely = arrays["group_classes"][row, place].tolist()
    near = [picture(int(at), likely[0]) for at in arrays["group_near"][row, place]]
    return Entry(
        number=number,
        name=classes[likely[0]],
        likely=list(zip((classes[c] for c in likely), arrays["group_values"][row, place].tolist(), strict=True)),
        near=near,
        cosines=arrays["group_cosine"][row, place].tolist(),
        usage=float(arrays["entry_usage"][number]) * len(arrays["entry_usage"]),
        own=sum(bool(one.right) for one in near),
    )


def _asked(
    arrays: Mapping[str, Array], classes: Sequence[str], row: int, picture: Callable[[int, int | None], Picture]
) -> Asked:
    place, label = int(arrays["asked"][row]), int(arrays["true"][arrays["asked"][row]])
    before, after, votes = (arrays[f"asked_{name}"][row] for name in ("before", "after", "votes"))
    was, now = int(before.argmax()), int(after.argmax())
    order = np.argsort(-np.maximum(before, after), kind="stable")[:CLASSES].tolist()
    order += [label] if label not in order else []
    weights, size = arrays["asked_weights"][row].astype(float), len(arrays["entry_usage"])
    entries, nearest = [], arrays["asked_near"][row].tolist()
    for number, weight, near in zip(arrays["asked_entries"][row].tolist(), weights.tolist(), nearest, strict=True):
        of = int(arrays["entry_class"][number])
        shown = picture(near, of) if near >= 0 else None
        entries.append(Attended(number, classes[of], of == label, weight, weight * size, shown))
    return Asked(
        picture=picture(place, None),
        label=classes[label],
        drawn=DRAWN.get(str(arrays["asked_drawn"][row]), "-"),
        before=classes[was],
        after=classes[now],
        verdict=verdict(was, now, label),
        rows=[(classes[c], float(before[c]), float(votes[c]), float(after[c]), c == label) for c in order],
        entries=entries,
        effective=float(arrays["asked_effective"][row]),
        top=float(weights.sum()),
    )


def likely(share: float) -> str:
    """A probability with one decimal, `< 0.1 %` and `> 99.9 %` at the ends."""
    text = "< 0.1" if 0 < share < 0.0005 else "> 99.9" if 0.9995 <= share < 1 else f"{100 * share:.1f}"
    return f"{text} %".replace(" ", "\u00a0")


def breakable(name: str) -> str:
    """A class name that a browser may break behind each underscore, where it stands in a narrow place."""
    return name.replace("_", "_\u200b")


def verdict(was: int, now: int, label: int) -> str:
    """What adaptation did to an answer: from the classes before and after, and the true one."""
    if was == now:
        return "right before and after" if now == label else "wrong before and after"
    return "corrected" if now == label else "spoiled" if was == label else "changed, wrong before and after"

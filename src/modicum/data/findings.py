"""`Finding`: one thing that `check` has to say, and the findings that come from files that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modicum.data.images import Problem

Severity = Literal["unsafe", "warning", "note"]
MANY_BAD = 0.1  # share of unusable pictures from which on training on the rest is unsafe


@dataclass(frozen=True)
class Finding:
    """A short word for the kind, how bad it is, a sentence, and the paths it is about.

    "unsafe": a classifier trained on this would be wrong or its accuracy would not hold. "warning": it works, but
    something is left out or to be known. "note": nothing to do. sets: for duplicates, the paths that hold equal files.
    """

    kind: str
    severity: Severity
    message: str
    paths: tuple[str, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()


_KINDS: Mapping[str, tuple[Severity, str]] = {
    "unreadable": ("warning", "unreadable, left out"),
    "truncated": ("warning", "cut off, left out"),
    "wrong-type": ("warning", "named like pictures but of no type we read, left out"),
    "too-large": ("warning", "too large, left out"),
    "bad-name": ("warning", "with a name that is not UTF-8, left out"),
    "missing": ("warning", "named, but not there"),
    "outside": ("warning", "outside the archive, left out"),
    "bad-row": ("warning", "rows of the table that cannot be used"),
    "repeated": ("warning", "named twice, counted once"),
    "two-labels": ("unsafe", "with two labels (which one is right?), left out"),
    "no-class": ("warning", "beside the class folders, left out, for a class is a folder"),
    "empty-folder": ("warning", "folders without pictures"),
    "ignored": ("note", "other files, ignored"),
    "incomplete": ("warning", "incomplete known data set"),
    "split-folders": ("unsafe", "folders called like splits that share classes"),
}


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, with dots where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def from_problems(problems: Iterable[Problem], pictures: int) -> list[Finding]:
    """One finding for every kind of problem, and one more where a tenth or more of `pictures` cannot be used."""
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    found = []
    for kind, group in by_kind.items():
        severity, words = _KINDS.get(kind, ("warning", kind))
        told = some([f"{problem.path}: {problem.message}" for problem in group])
        message = f"{words}: {len(group)} ({told})"
        found.append(Finding(kind, severity, message, tuple(problem.path for problem in group)))
    lost = sum(len(by_kind.get(kind, ())) for kind in ("unreadable", "truncated", "wrong-type", "too-large", "missing"))
    if lost and lost >= MANY_BAD * pictures:
        message = f"{lost} of {pictures} pictures cannot be used; what is left may not stand for the rest"
        found.append(Finding("many-bad", "unsafe", message))
    return found

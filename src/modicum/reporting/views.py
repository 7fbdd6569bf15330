"""A source -> everything its part of the page shows, ready for the template. No numbers are made here but shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modicum.errors import DataError
from modicum.evaluation.intervals import excludes_zero, paired_interval
from modicum.evaluation.lda import lda_plane
from modicum.reporting import figures
from modicum.reporting.confusion import Mistake, Table, mistakes, table
from modicum.reporting.gradient import InnerView, Travelled, compare_distances, inner_view
from modicum.reporting.modes import Pair, pairs
from modicum.reporting.pictures import ClassRow, Picture, class_rows, sample_pictures
from modicum.reporting.records import Accuracy, Recall, Source
from modicum.reporting.story import Sentences, class_recalls, last_part, named, tell

LOWEST = 12  # classes of the recall list that are open at once
HIDDEN = ("schema", "kind", "ids", "classes", "settings", "config", "environment", "out", "root", "resume", "tensorboard")
PLACES = ("data", "splits", "fold_file")  # may be paths: a page shows their last part only


@dataclass(frozen=True)
class View:
    """One source as the template reads it; a part that the result files lack is None or empty."""

    letter: str
    colour: str
    name: str
    kind: str
    sentences: Sentences
    accuracies: tuple[Accuracy, ...]
    bars: str | None
    mistakes: list[Mistake]
    confusion: Table | None
    recalls: list[Recall]
    not_measurable: tuple[str, ...]
    task: list[ClassRow]
    samples: list[Picture]
    map: str | None
    map_legend: list[tuple[str, str, str]]
    calibration: str | None
    ece: float | None
    curves: str | None
    inner: InnerView | None
    pairs: list[Pair]
    settings: list[tuple[str, str]]
    files: tuple[str, ...]
    pixelated: bool


def view(source: Source, index: int, name: str) -> View:
    """Everything the page shows of one source; `index` gives letter and colour."""
    confusion = source.confusion
    rows = [(index, row.label, row) for row in source.accuracies]
    chart, legend = _map(source)
    task = class_rows(source.task) if source.task is not None else []
    samples = sample_pictures((source.wrong, source.right))
    return View(
        letter=letter(index),
        colour=figures.colour(index),
        name=name,
        kind=source.kind,
        sentences=tell(source),
        accuracies=source.accuracies,
        bars=figures.accuracy_bars(rows),
        mistakes=[] if confusion is None else mistakes(confusion, source.classes),
        confusion=None if confusion is None else table(confusion, source.classes),
        recalls=class_recalls(source),
        not_measurable=source.not_measurable,
        task=task,
        samples=samples,
        map=chart,
        map_legend=legend,
        calibration=figures.reliability(_bins(source.reliability)),
        ece=source.ece,
        curves=figures.curves([source.log]),
        inner=inner_view(source.inner),
        pairs=pairs(source.accuracies),
        settings=settings(source),
        files=source.files,
        pixelated=_small(source),
    )


def letter(index: int) -> str:
    """A, B, ..., Z, A2, B2, ..."""
    return chr(65 + index % 26) + (str(index // 26 + 1) if index >= 26 else "")


def _small(source: Source) -> bool:
    """Whether pictures are so small that a browser should not smooth them."""
    pixels = source.task.query if source.task is not None else source.wrong.pixels if source.wrong is not None else None
    return pixels is not None and pixels.shape[1] <= 48


SHAPES = ("●", "■", "▲", "◆", "▼", "⬟")


def _map(source: Source) -> tuple[str | None, list[tuple[str, str, str]]]:
    """LDA figure and its legend (colour, shape, class); none where the files have no features of classes."""
    if source.features is None:
        return None, []
    features, labels, names = source.features
    if set(np.unique(labels).tolist()) != set(range(len(names))):
        return None, []
    try:
        points = lda_plane(features, labels)
    except DataError:  # other than 2 or 3 classes, or a class of one picture
        return None, []
    legend = [(figures.colour(i), SHAPES[i % len(SHAPES)], name) for i, name in enumerate(names)]
    return figures.scatter(points, labels, names), legend


def _bins(bins: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, float | None, float | None, int]]:
    """(confidence, share right, low, high, n) of the bins that hold pictures."""
    found = []
    for entry in bins:
        confidence, right, n = entry.get("confidence"), entry.get("accuracy"), int(entry.get("n") or 0)
        if isinstance(confidence, int | float) and isinstance(right, int | float) and n > 0:
            found.append((float(confidence), float(right), entry.get("lower"), entry.get("upper"), n))
    return sorted(found)


def settings(source: Source) -> list[tuple[str, str]]:
    """(name, value) of every setting, versions and device last."""
    found = {**source.config, **source.details, **source.environment}
    for key in PLACES:
        if isinstance(found.get(key), str):
            found[key] = last_part(found[key])
    if isinstance(found.get("encoder"), str):
        found["encoder"] = named(found["encoder"])
    return [(str(key), _shown(value)) for key, value in found.items() if key not in HIDDEN]


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in value.items() if entry is not None)
    if isinstance(value, list | tuple):
        parts = [_shown(entry) for entry in value[:12]]
        return ", ".join(parts) + (f", … ({len(value)} in all)" if len(value) > 12 else "")
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Comparison:
    """Several sources side by side. accuracies: (setting, one Accuracy or None per source)."""

    accuracies: list[tuple[str, list[Accuracy | None]]]
    bars: str | None
    curves: str | None
    differences: list[str]
    distances: list[Travelled]
    settings: list[tuple[str, list[str]]]


def compare(sources: Sequence[Source]) -> Comparison:
    """What differs between sources, and by how much where they met the same tasks."""
    by_source = [_by_setting(source.accuracies) for source in sources]
    names = dict.fromkeys(name for rows in by_source for name in rows)
    accuracies = [(name, [rows.get(name) for rows in by_source]) for name in names]
    bars = [(i, f"{letter(i)}: {name}", row) for name, rows in accuracies for i, row in enumerate(rows) if row is not None]
    logs = [source.log for source in sources]
    tables = [dict(settings(source)) for source in sources]
    keys = dict.fromkeys(key for entries in tables for key in entries)
    differing = [(key, [entries.get(key, "-") for entries in tables]) for key in keys]
    return Comparison(
        accuracies=accuracies,
        bars=figures.accuracy_bars(bars),
        curves=figures.curves(logs),
        differences=[told for name, rows in accuracies for told in _differences(name, rows)],
        distances=compare_distances([(letter(i), source.inner) for i, source in enumerate(sources)]),
        settings=[(key, values) for key, values in differing if len(set(values)) > 1],
    )


def _by_setting(rows: Sequence[Accuracy]) -> dict[str, Accuracy]:
    """A source's rows by name: the first of each setting by the setting alone, so that sources meet; others by label."""
    found: dict[str, Accuracy] = {}
    for row in rows:
        found[row.label if row.setting in found else row.setting] = row
    return found


def _differences(setting: str, rows: Sequence[Accuracy | None]) -> list[str]:
    """Paired differences to the first source, only where both met the same tasks."""
    first = rows[0]
    if first is None or first.tasks_key is None or first.per_task is None:
        return []
    told = []
    for index, row in enumerate(rows[1:], 1):
        if row is None or row.per_task is None or row.tasks_key != first.tasks_key:
            continue
        gap = paired_interval(row.per_task, first.per_task, "draws of tasks")
        verdict = "" if excludes_zero(gap) else "; the interval holds 0, so these tasks do not tell them apart"
        told.append(
            f"{setting}: {letter(index)} minus {letter(0)} = {100 * gap.mean:+.2f} points "
            f"(95 % interval {100 * (gap.mean - gap.ci95):+.2f} to {100 * (gap.mean + gap.ci95):+.2f}, over "
            f"{len(row.per_task):,} tasks that both met{verdict})"
        )
    return told

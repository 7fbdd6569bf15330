"""Runs of `--method rac` and their baselines -> everything their page shows. No numbers are made here but those of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modicum.configs.long_tail import RAC
from modicum.errors import FileFormatError
from modicum.evaluation.long_tail import BUCKETS
from modicum.files import read_json
from modicum.reporting.figures import Log, colour
from modicum.reporting.long_tail_edits import KIND, Edit, read_edit
from modicum.reporting.long_tail_figures import bucket_dots, training_curves
from modicum.reporting.long_tail_panels import Panel, read_panels
from modicum.reporting.long_tail_rows import BucketHead, Cell, Measured, Row, class_figure, distinct, dots, read_measured
from modicum.reporting.long_tail_story import Card, cards, facts, run_source, tell_long_tail
from modicum.reporting.records import Array
from modicum.reporting.run_files import read_run_files
from modicum.reporting.story import Sentences
from modicum.reporting.views import letter, settings


@dataclass(frozen=True)
class LongTailRun:
    """One run as the template reads it; what the files lack is None or empty. reads: whether it has a retrieval branch."""

    letter: str
    colour: str
    name: str
    reads: bool
    cards: list[Card]
    sentences: Sentences
    facts: list[tuple[str, str]]
    measurements: list[Measured]
    panels: list[Panel]
    pixelated: bool
    edits: list[Edit]
    training: str | None
    log: Log
    settings: list[tuple[str, str]]
    files: tuple[str, ...]


def is_long_tail(folder: Path | str) -> bool:
    """Whether a folder is that of a run of rac or of a baseline of it."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        return False
    config = read_json(path).get("config")
    return isinstance(config, Mapping) and config.get("method") == RAC


def read_long_tail(folder: Path | str, index: int, name: str) -> LongTailRun:
    """The run in a folder; `index` gives letter and colour. `FileFormatError` where a file is damaged or incomplete."""
    path = Path(folder)
    record, results, files, arrays, log = read_run_files(path)
    reading = path / "config.json"
    try:
        trained, classes = str(record["config"]["branches"]), [str(each) for each in record["data"]["classes"]]
        measured, edits = [], []
        for reading in results:
            found = read_json(reading)
            if found.get("kind") == KIND:
                edits.append(read_edit(found, trained, classes))
            elif found.get("measure") == "branches":
                measured.append(read_measured(found, trained, classes))
        reading = path / "artifacts.npz"
        panels, pixelated = read_panels(arrays, classes, _counts(record))
        reading = path / "config.json"
        measured = distinct(measured)
        return LongTailRun(
            letter=letter(index), colour=colour(index), name=name, reads=trained != "base", cards=cards(measured),
            sentences=tell_long_tail(record, log, measured), facts=facts(record, measured), measurements=measured,
            panels=panels, pixelated=pixelated, edits=edits, training=training_curves([(index, log)]), log=log,
            settings=settings(run_source(path, name, record, PLACES)),
            files=tuple(file.relative_to(path).as_posix() for file in files),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileFormatError(f"{reading}: incomplete or of another version ({error!r}); evaluate anew") from error


def _counts(record: Row) -> Array | None:
    counts = record["data"].get("counts")
    return None if counts is None else np.array(counts, np.int64)


PLACES = ("memory", "pretrained", "encoder", "text")
"""Options that may be paths or addresses: a page shows their last part only."""


class ComparedRow(NamedTuple):
    """One branch of one run beside others."""

    letter: str
    colour: str
    name: str
    main: bool
    cells: list[Cell]
    balanced: Cell


@dataclass(frozen=True)
class Place:
    """Runs that were measured on the same data. dots, curve: what each was trained to predict with."""

    title: str
    over: str
    buckets: list[BucketHead]
    rows: list[ComparedRow]
    dots: str | None
    curve: str | None
    window: int


@dataclass(frozen=True)
class LongTailComparison:
    """Several runs side by side. settings: (name, value of each run) of what differs."""

    places: list[Place]
    training: str | None
    settings: list[tuple[str, list[str]]]


def compare_long_tail(runs: Sequence[LongTailRun]) -> LongTailComparison:
    """Every data set on which two runs or more were measured with equal training pictures of classes, and what differs."""
    found: dict[tuple[Any, ...], list[tuple[int, Measured]]] = {}
    for index, run in enumerate(runs):
        for one in run.measurements:
            key = (one.record["data"], one.record["split"], tuple(one.record["classes"]), tuple(one.counts.tolist()))
            found.setdefault(key, []).append((index, one))
    places = [_compared(runs, those) for those in found.values() if len({index for index, _ in those}) > 1]
    tables = [{**dict(run.facts), **dict(run.settings)} for run in runs]
    keys = dict.fromkeys(key for entries in tables for key in entries)
    differing = [(key, [entries.get(key, "-") for entries in tables]) for key in keys]
    return LongTailComparison(
        places=places,
        training=training_curves([(index, run.log) for index, run in enumerate(runs)]),
        settings=[(key, values) for key, values in differing if len(set(values)) > 1],
    )


def _compared(runs: Sequence[LongTailRun], measured: Sequence[tuple[int, Measured]]) -> Place:
    first = measured[0][1]
    rows, shown, lines = [], [], []
    for index, one in measured:
        run = runs[index]
        more = one.title.partition(", ")[2]
        for branch in one.branches:
            name = f"{branch.name}, {more}" if more else branch.name
            rows.append(ComparedRow(run.letter, run.colour, name, branch.main, branch.cells, branch.balanced))
        if one.main is not None:
            label = f"{run.letter}: {one.main.name}"
            shown.append((index, label, dots(one.main)))
            lines.append((index, label, one.main.per_class))
    return Place(
        title=first.title.partition(", ")[0],
        over=first.over,
        buckets=first.buckets,
        rows=rows,
        dots=bucket_dots([*BUCKETS, "all pictures", "balanced"], shown),
        curve=class_figure(first.counts, lines, first.window),
        window=first.window,
    )

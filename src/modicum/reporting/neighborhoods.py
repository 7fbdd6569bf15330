"""Runs of `--method meta-neighborhoods` on pictures and their baselines -> everything their page shows, from files only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.errors import FileFormatError
from modicum.evaluation.intervals import excludes_zero, paired_interval
from modicum.files import read_json
from modicum.reporting.confusion import Table, table
from modicum.reporting.figures import Log, colour
from modicum.reporting.long_tail_edits import signed
from modicum.reporting.long_tail_figures import training_curves
from modicum.reporting.long_tail_rows import BucketHead
from modicum.reporting.long_tail_story import Card, run_source
from modicum.reporting.neighborhoods_figures import accuracy_dots, shares, usage_curves
from modicum.reporting.neighborhoods_panels import Panels, read_panels
from modicum.reporting.neighborhoods_rows import (
    MAIN,
    Branch,
    Dictionary,
    Measured,
    distinct,
    dots_of,
    interval_told,
    read_measured,
)
from modicum.reporting.neighborhoods_story import cards, facts, tell_neighborhoods
from modicum.reporting.neighborhoods_subcategories import KIND, Subcategories, read_subcategories
from modicum.reporting.records import Array
from modicum.reporting.run_files import read_run_files
from modicum.reporting.story import Sentences
from modicum.reporting.views import letter, settings

PLACES = ("data", "pretrained", "encoder", "splits")
"""Options that may be paths or addresses: a page shows their last part only."""


class Answers(NamedTuple):
    """What the run predicts with on n pictures: ids (n,), true and named class (n,); None where the file lacks them."""

    ids: Array
    true: Array
    named: Array


@dataclass(frozen=True)
class NeighborhoodsRun:
    """One run as the template reads it; what the files lack is None or empty. adapts: whether it has a dictionary."""

    letter: str
    colour: str
    name: str
    adapts: bool
    cards: list[Card]
    sentences: Sentences
    facts: list[tuple[str, str]]
    measurements: list[Measured]
    subcategories: list[Subcategories]
    confusion: Table | None
    usage: Array | None
    usage_figure: str | None
    shares: str | None
    panels: Panels | None
    answers: Answers | None
    training: str | None
    log: Log
    settings: list[tuple[str, str]]
    files: tuple[str, ...]


def is_neighborhoods(folder: Path | str) -> bool:
    """Whether a folder is that of a run of Meta-Neighborhoods on pictures, or of a baseline of it."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        return False
    config = read_json(path).get("config")
    return isinstance(config, Mapping) and config.get("method") == NEIGHBORHOODS and config.get("target") is None


def read_neighborhoods(folder: Path | str, index: int, name: str) -> NeighborhoodsRun:
    """The run in a folder; `index` gives letter and colour. `FileFormatError` where a file is damaged or incomplete."""
    path = Path(folder)
    record, results, files, arrays, log = read_run_files(path)
    reading = path / "config.json"
    try:
        config, classes = record["config"], [str(each) for each in record["data"]["classes"]]
        measured, finer = [], []
        for reading in results:
            found = read_json(reading)
            if found.get("measure") == "branches":
                measured.append(read_measured(found, classes))
            elif found.get("measure") == KIND:
                finer.append(read_subcategories(found))
        measured = distinct(measured)
        reading = path / "artifacts.npz"
        usage = arrays.get("entry_usage")
        panels, near = read_panels(arrays, classes), 1 if "group_near" not in arrays else arrays["group_near"].shape[-1]
        drawn = None if usage is None else shares(arrays["entry_value"], arrays["entry_agreement"], near, index)
        confusion = table(arrays["confusion"], classes) if "confusion" in arrays else None
        answers = _answers(arrays, config["baseline"])
        reading = path / "config.json"
        return NeighborhoodsRun(
            letter=letter(index), colour=colour(index), name=name, adapts=config["baseline"] == "none",
            cards=cards(measured), sentences=tell_neighborhoods(record, log, measured, finer),
            facts=facts(record, measured), measurements=measured, subcategories=finer, confusion=confusion, usage=usage,
            usage_figure=None if usage is None else usage_curves([(index, name, usage)]), shares=drawn, panels=panels,
            answers=answers, training=training_curves([(index, log)]), log=log,
            settings=settings(run_source(path, name, record, PLACES)),
            files=tuple(file.relative_to(path).as_posix() for file in files),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileFormatError(f"{reading}: incomplete or of another version ({error!r}); evaluate anew") from error


def _answers(arrays: Mapping[str, Array], baseline: str) -> Answers | None:
    named = f"predicted_{MAIN.get(baseline, 'adapted')}"
    if any(name not in arrays for name in ("pictures", "true", named)):
        return None
    return Answers(arrays["pictures"], arrays["true"], arrays[named])


class ComparedRow(NamedTuple):
    """One row of one run beside others."""

    letter: str
    colour: str
    name: str
    branch: Branch


class Gap(NamedTuple):
    """What one run's answers are worth more than another's on the same pictures, in points."""

    what: str
    pictures: int
    points: str
    interval: str
    decided: bool


@dataclass(frozen=True)
class Place:
    """Runs that were measured on the same data."""

    title: str
    over: str
    heads: list[BucketHead]
    rows: list[ComparedRow]
    dots: str | None


@dataclass(frozen=True)
class NeighborhoodsComparison:
    """Several runs side by side. dictionaries: of each run; settings: (name, value of each run) of what differs."""

    places: list[Place]
    gaps: list[Gap]
    dictionaries: list[tuple[NeighborhoodsRun, Dictionary]]
    usage: str | None
    subcategories: list[tuple[NeighborhoodsRun, Subcategories]]
    training: str | None
    settings: list[tuple[str, list[str]]]


def compare_neighborhoods(runs: Sequence[NeighborhoodsRun]) -> NeighborhoodsComparison:
    """Every data set on which two runs or more were measured, paired differences, and what differs."""
    found: dict[tuple[Any, ...], list[tuple[int, Measured]]] = {}
    for index, run in enumerate(runs):
        for one in run.measurements:
            key = (one.record["data"], one.record["split"], tuple(one.record["classes"]))
            found.setdefault(key, []).append((index, one))
    tables = [{**dict(run.facts), **{key: value for key, value in run.settings if key != "entries"}} for run in runs]
    keys = dict.fromkeys(key for entries in tables for key in entries)
    differing = [(key, [entries.get(key, "-") for entries in tables]) for key in keys]
    usages = [(index, run.letter, run.usage) for index, run in enumerate(runs) if run.usage is not None]
    dictionaries = [(run, run.measurements[0].dictionary) for run in runs if run.measurements]
    return NeighborhoodsComparison(
        places=[_compared(runs, those) for those in found.values() if len({index for index, _ in those}) > 1],
        gaps=_gaps(runs),
        dictionaries=[(run, one) for run, one in dictionaries if one is not None],
        usage=usage_curves(usages) if len(usages) > 1 else None,
        subcategories=[(run, one) for run in runs for one in run.subcategories],
        training=training_curves([(index, run.log) for index, run in enumerate(runs)]),
        settings=[(key, values) for key, values in differing if len(set(values)) > 1],
    )


def _compared(runs: Sequence[NeighborhoodsRun], measured: Sequence[tuple[int, Measured]]) -> Place:
    first = measured[0][1]
    rows, shown = [], []
    for index, one in measured:
        run, more = runs[index], one.title.partition(", ")[2]
        for branch in one.branches:
            name = f"{branch.name}, {more}" if more else branch.name
            rows.append(ComparedRow(run.letter, run.colour, name, branch))
            shown.append((index, f"{run.letter}: {name}", branch))
    heads = first.heads if all(one.heads for _, one in measured) else []
    return Place(
        title=first.title.partition(", ")[0], over=first.over, heads=heads, rows=rows,
        dots=accuracy_dots(["all pictures", "balanced"], dots_of(shown)),
    )  # fmt: skip


def _gaps(runs: Sequence[NeighborhoodsRun]) -> list[Gap]:
    """Each run minus the first one before it whose last evaluation met the same pictures, by what they predict with."""
    found = []
    for index, run in enumerate(runs):
        a = run.answers
        for other in runs[:index]:
            b = other.answers
            if a is None or b is None or len(a.ids) < 2 or not _same(a, b):
                continue
            right = [(one.named == one.true).astype(np.float64) for one in (a, b)]
            gap = paired_interval(right[0], right[1], "pictures")
            told = interval_told(gap.mean, gap.ci95)
            found.append(Gap(f"{run.letter} minus {other.letter}", len(a.ids), signed(gap.mean), told, excludes_zero(gap)))
            break
    return found


def _same(a: Answers, b: Answers) -> bool:
    return np.array_equal(a.ids, b.ids) and np.array_equal(a.true, b.true)

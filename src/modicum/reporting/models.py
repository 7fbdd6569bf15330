"""The folder that `modicum compare` wrote -> everything its page shows. No numbers are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modicum.errors import FileFormatError
from modicum.files import read_json
from modicum.reporting import figures
from modicum.reporting.arrays import read_arrays
from modicum.reporting.records import Accuracy, Array
from modicum.reporting.story import Sentences, counted, last_part
from modicum.reporting.views import SHAPES, letter

RESULT, ARTIFACTS = "compare.json", "artifacts.npz"


@dataclass(frozen=True)
class Model:
    """One model: its place on the page and its record in the result file."""

    letter: str
    colour: str
    name: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class ModelComparison:
    """A comparison as the template reads it; a figure that the files lack is None."""

    models: list[Model]
    sentences: Sentences
    rows: list[tuple[Model, Mapping[str, Any]]]
    bars: str | None
    differences: list[tuple[str, Mapping[str, Any], str]]
    dots: str | None
    map: str | None
    map_legend: list[tuple[str, str, str]]
    cka: Mapping[str, Sequence[Sequence[float]]]
    bounded: bool
    pictures: int
    pairs: int
    files: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of the models in order."""
        return [model.name for model in self.models]


def is_comparison(folder: Path | str) -> bool:
    """Whether a folder was written by `modicum compare`."""
    return (Path(folder) / RESULT).is_file()


def read_comparison(folder: Path | str) -> ModelComparison:
    """The comparison in a folder; `FileFormatError` where it is damaged or incomplete."""
    path = Path(folder) / RESULT
    record = read_json(path)
    if record.get("kind") != "compare":
        raise FileFormatError(f"{path}: holds {record.get('kind')!r}, expected a result of `modicum compare`")
    files = [path]
    arrays = read_arrays(path.with_name(ARTIFACTS), files)
    try:
        return _comparison(record, arrays, tuple(file.name for file in files))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{path}: incomplete or of another version ({error!r}); compare anew") from error


def _comparison(record: Mapping[str, Any], arrays: Mapping[str, Array], files: tuple[str, ...]) -> ModelComparison:
    models = [Model(letter(i), figures.colour(i), entry["name"], entry) for i, entry in enumerate(record["models"])]
    places = {model.name: place for place, model in enumerate(models)}
    rows = [(models[places[row["model"]]], row) for row in record["rows"]]
    differences = [(_pair(models, places, row), row, _verdict(models, places, row)) for row in record["differences"]]
    chart, legend = _map(models, arrays)
    return ModelComparison(
        models=models,
        sentences=_told(record, models, differences),
        rows=rows,
        bars=figures.accuracy_bars([(places[m.name], f"{m.letter}: {_setting(row)}", _accuracy(row)) for m, row in rows]),
        differences=differences,
        dots=figures.difference_dots(
            [(places[row["later"]], f"{pair}, {row['shots']}-shot", row["difference"], row["ci95"])
             for pair, row, _ in differences]
        ),
        map=chart,
        map_legend=legend,
        cka={name: record["cka"][name] for name in ("linear", "debiased")},
        bounded=any(model.record["one_shot"]["share_bounded"] > 0 for model in models),
        pictures=record["figure_pictures"],
        pairs=record["figure_pairs"],
        files=files,
    )  # fmt: skip


def _setting(row: Mapping[str, Any]) -> str:
    return f"{row['ways']}-way {row['shots']}-shot"


def _accuracy(row: Mapping[str, Any]) -> Accuracy:
    value, radius = row["accuracy"], row["ci95"]
    return Accuracy(_setting(row), value, value - radius, value + radius, per_task=np.asarray(row["per_task"], float))


def _pair(models: Sequence[Model], places: Mapping[str, int], row: Mapping[str, Any]) -> str:
    return f"{models[places[row['later']]].letter} − {models[places[row['first']]].letter}"


def _verdict(models: Sequence[Model], places: Mapping[str, int], row: Mapping[str, Any]) -> str:
    if row["verdict"] not in ("later", "first"):
        return "undecided"
    return f"{models[places[row[row['verdict']]]].letter} better"


def _map(models: Sequence[Model], arrays: Mapping[str, Array]) -> tuple[str | None, list[tuple[str, str, str]]]:
    """The maps side by side and their legend (colour, shape, class)."""
    labels, names = arrays.get("lda_labels"), arrays.get("lda_classes")
    points = [arrays.get(f"lda_points_{place}") for place in range(len(models))]
    if labels is None or names is None or any(found is None or len(found) != len(labels) for found in points):
        return None, []
    shown = [(f"{m.letter}: {_short(m.name)}", found) for m, found in zip(models, points, strict=True) if found is not None]
    classes = tuple(map(str, names.tolist()))
    legend = [(figures.colour(i), SHAPES[i % len(SHAPES)], name) for i, name in enumerate(classes)]
    return figures.scatter_panels(shown, labels, classes), legend


def _short(name: str, most: int = 26) -> str:
    """A name that fits above a panel: its middle left out where it is longer."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def _told(
    record: Mapping[str, Any], models: Sequence[Model], differences: Sequence[tuple[str, Mapping[str, Any], str]]
) -> Sentences:
    classes = counted(len(record["classes"]), "class", "classes")
    what = (
        f"{len(models)} trained models on the same tasks: new pictures of {classes} of “{last_part(record['data'])}” "
        f"({record['split']}) are named after a few labelled pictures of each."
    )
    sure = (
        f"Intervals of accuracies and differences are over {record['interval_over']}. Each difference is taken task by "
        "task, so what makes a task hard for both models cancels. It says which of these trained models is better on these "
        "classes; which method is better takes several trainings (at least three seeds) of each."
    )
    told = [("What is this?", what), ("Which is better?", " ".join(_better(*entry) for entry in differences)),
            ("How sure is that?", sure)]  # fmt: skip
    if any(model.record["transductive"] for model in models):
        told.append(("Is anything special?", "The models are transductive: a query sees the other queries of its task."))
    return told


def _better(pair: str, row: Mapping[str, Any], verdict: str) -> str:
    shots = counted(row["shots"], "labelled picture", "labelled pictures")
    gap = f"{pair} is {100 * row['difference']:+.2f} points ({_bounds(row)})"
    ending = "which these tasks do not tell from 0" if verdict == "undecided" else verdict
    return f"With {row['ways']} classes and {shots} of each {gap}: {ending}."


def _bounds(row: Mapping[str, Any]) -> str:
    low, high = row["difference"] - row["ci95"], row["difference"] + row["ci95"]
    return f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}"

"""Runs on the rows of a table -> everything their page shows. No numbers are made here but those that files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.errors import FileFormatError
from modicum.files import read_json
from modicum.reporting import tables_figures
from modicum.reporting.figures import colour
from modicum.reporting.records import Source
from modicum.reporting.regression_figures import training_errors
from modicum.reporting.run_files import read_run_files
from modicum.reporting.story import Sentences, counted, last_part
from modicum.reporting.views import letter, settings

Row = Mapping[str, Any]
NAMES = {"none": "Meta-Neighborhoods", "vanilla": "A plain network", "parameters": "A wider network", "knn": "k-NN",
         "trees": "Boosted trees"}  # fmt: skip
BRANCHES = {"mean": "mean of the training rows", "before": "before adaptation", "adapted": "adapted", "knn": "k-NN",
            "trees": "boosted trees", "vanilla": "vanilla", "parameters": "vanilla + parameters"}  # fmt: skip

PARTS = ("train", "all", "val", "test")
"""What a run is judged by, the last first: rows that its training did not see."""
ONE, ALL = ", with this one training", ", all of them"


@dataclass(frozen=True)
class TableView:
    """One run as the template reads it; a figure that the files lack is None. rows: (measured on, branch, row)."""

    letter: str
    colour: str
    name: str
    sentences: Sentences
    rows: list[tuple[str, str, Row]]
    scatter: str | None
    training: str | None
    settings: list[tuple[str, str]]
    files: tuple[str, ...]


def is_table(folder: Path | str) -> bool:
    """Whether a folder is that of a run on the rows of a table."""
    path = Path(folder) / "config.json"
    return path.is_file() and "table" in read_json(path)


def read_table_run(folder: Path | str, index: int, name: str) -> TableView:
    """The run in a folder; `index` gives letter and colour. `FileFormatError` where a file is damaged or incomplete."""
    path = Path(folder)
    record, results, files, arrays, log = read_run_files(path)
    try:
        measured = [read_json(file) for file in results]
        rows = [
            (_measured_on(found), BRANCHES.get(row["branch"], row["branch"]), row)
            for found in measured
            for row in (found["mean_of_training"], *found["rows"])
        ]
        told: dict[str, Any] = {key: record[key] for key in ("choice", "parameters") if key in record}
        source = Source(
            path, "run", name, config=record["config"], environment=record.get("environment", {}), details=told,
        )  # fmt: skip
        return TableView(
            letter=letter(index), colour=colour(index), name=name, sentences=_told(record, log, measured), rows=rows,
            scatter=tables_figures.predicted_against_true(arrays, record["table"]["targets"], index),
            training=training_errors(log, index) if any(line.get("kind") == "train" for line in log) else None,
            settings=settings(source), files=tuple(file.relative_to(path).as_posix() for file in files),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{path}: incomplete or of another version ({error!r}); evaluate anew") from error


def _measured_on(found: Row) -> str:
    name = last_part(found["data"])
    return f"{name}, all rows" if ALL in found["interval_over"] else f"{name} {found['split']}"


def _told(record: Row, log: Sequence[Row], measured: Sequence[Row]) -> Sentences:
    config, data, columns = record["config"], record["data"], record["table"]
    steps = max((int(line["step"]) for line in log), default=0)
    how = f"{counted(steps, 'step', 'steps')} of {config['batch_pictures']} rows" if steps else "fitted at once"
    adapting = (
        f" Every row adapts it by {counted(config['inner_steps'], 'step', 'steps')} on {config['entries']:,} entries "
        "that are learned."
    )
    what = (
        f"{NAMES[config['baseline']]} that predicts {', '.join(columns['targets'])} from "
        f"{counted(len(columns['inputs']), 'column', 'columns')} of “{last_part(data['name'])}” "
        f"({data['parts']['train']:,} training rows; {how})."
    ) + (adapting if config["baseline"] == "none" else "")
    if not measured:
        return [("What is this?", what), ("How good is it?", "Not measured yet: run `modicum evaluate` on this folder.")]
    shown = max(measured, key=lambda found: (found["data"] == data["name"], PARTS.index(found["split"])))
    row, mean, unseen = shown["rows"][-1], shown["mean_of_training"], shown["split"] in ("val", "test")
    seen = "" if unseen else " These rows include those it was trained on."
    good = (
        f"On {shown['interval_over'].removesuffix(ONE)} it errs by {row['rmse']:.4g} (root mean square, in the "
        f"target's unit), which is {row['standardised']:.3f} standard deviations; the mean of the training rows errs "
        f"by {mean['rmse']:.4g}.{seen}"
    )
    sure = f"95 % interval: {row['lower']:.4g} to {row['upper']:.4g}, over {shown['interval_over']}."
    return [("What is this?", what), ("How good is it?", good), ("How sure is that?", sure)]

"""Runs on regression tasks -> everything their page shows. No numbers are made here but those that files hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modicum.errors import FileFormatError
from modicum.files import read_json
from modicum.reporting import regression_figures
from modicum.reporting.figures import colour
from modicum.reporting.records import Source
from modicum.reporting.run_files import read_run_files
from modicum.reporting.story import Sentences, counted, last_part
from modicum.reporting.views import letter, settings

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RegressionRun:
    """One run as the template reads it; a figure that the files lack is None. rows: (what it was measured on, row)."""

    letter: str
    colour: str
    name: str
    sentences: Sentences
    rows: list[tuple[str, Row]]
    errors: str | None
    curves: str | None
    shown: str
    training: str | None
    settings: list[tuple[str, str]]
    files: tuple[str, ...]


def is_regression(folder: Path | str) -> bool:
    """Whether a folder is that of a run on regression tasks."""
    path = Path(folder) / "config.json"
    return path.is_file() and "network" in read_json(path)


def read_regression(folder: Path | str, index: int, name: str) -> RegressionRun:
    """The run in a folder; `index` gives letter and colour. `FileFormatError` where a file is damaged or incomplete."""
    path = Path(folder)
    record, results, files, arrays, log = read_run_files(path)
    try:
        measured = [read_json(file) for file in results]
        rows = [(_measured_on(found, row), row) for found in measured for row in found["rows"]]
        rows.sort(key=lambda entry: (entry[1]["shots"], entry[0]))
        steps = [(place, label, row["per_step"]) for place, (label, row) in enumerate(rows)]
        source = Source(path=path, kind="run", name=name, config=record["config"], environment=record.get("environment", {}),
                        details={k: record[k] for k in ("version", "network", "split_rule") if record.get(k)})  # fmt: skip
        return RegressionRun(
            letter=letter(index),
            colour=colour(index),
            name=name,
            sentences=_told(record, log, measured, rows),
            rows=rows,
            errors=regression_figures.step_errors(steps),
            curves=regression_figures.task_curves(arrays, index),
            shown=_shown(arrays),
            training=regression_figures.training_errors(log, index),
            settings=settings(source),
            files=tuple(file.relative_to(path).as_posix() for file in files),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FileFormatError(f"{path}: incomplete or of another version ({error!r}); evaluate anew") from error


def _measured_on(found: Mapping[str, Any], row: Row) -> str:
    seed = f", seed {found['seed']}" if found["seed"] else ""
    return f"{last_part(found['data'])} {found['split']}: {row['shots']}-shot{seed}"


def _shown(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """What the curves are of, in words."""
    support = arrays.get("curve_support_x")
    return "" if support is None else f"{counted(support.shape[1], 'support point', 'support points')} each"


def _told(
    record: Mapping[str, Any], log: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]],
    rows: Sequence[tuple[str, Row]],
) -> Sentences:  # fmt: skip
    config, steps = record["config"], max((int(line["step"]) for line in log), default=0)
    network = record["network"]
    what = (
        f"A network ({network['backbone']}, {counted(network['inputs'], 'input', 'inputs')}) that was trained for "
        f"{counted(steps, 'step', 'steps')} on “{last_part(record['data']['name'])}” to fit a new function from a few of "
        f"its points by {counted(config['inner_steps'], 'gradient step', 'gradient steps')} (method {config['method']})."
    )
    if not rows:
        return [("What is this?", what), ("How good is it?", "Not measured yet: run `modicum evaluate` on this folder.")]
    good = " ".join(
        f"From {counted(row['shots'], 'point', 'points')} it errs by {row['mse']:.3f} (mean squared), "
        f"from {row['per_step'][0]['mse']:.3f} before it has seen them."
        for _, row in rows
    )
    over = "; ".join(dict.fromkeys(str(found["interval_over"]) for found in measured))
    sure = ", ".join(f"{row['mse'] - row['ci95']:.3f} to {row['mse'] + row['ci95']:.3f} ({label})" for label, row in rows)
    told = f"95 % intervals: {sure}. Each is over {over}. Another training run may give other numbers."
    return [("What is this?", what), ("How good is it?", good), ("How sure is that?", told)]

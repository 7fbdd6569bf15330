"""Result files of `train`, `evaluate` and `fit` -> one `Source` each. What is absent stays None; nothing is made up.

A RUN folder holds config.json, log.jsonl, results/*.json and artifacts.npz; a CLASSIFIER folder holds classifier.json,
results.json and artifacts.npz. Only plain JSON and arrays without pickle are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modicum.errors import FileFormatError
from modicum.files import read_json
from modicum.reporting.arrays import read_arrays
from modicum.reporting.inner import read_inner
from modicum.reporting.low_bit import KIND as LOW_BIT
from modicum.reporting.modes import setup, told_apart
from modicum.reporting.records import Accuracy, Array, Samples, Source, Task
from modicum.training.logs import read_log


def read_source(path: Path | str) -> Source:
    """The result files of a folder that `train` or `fit` made; `FileFormatError` where it is neither or damaged."""
    path = Path(path)
    if (path / "classifier.json").is_file():
        return _classifier(path)
    if (path / "config.json").is_file():
        return _run(path)
    raise FileFormatError(
        f"{path}: expected the folder of a run (with config.json) or of a classifier (with classifier.json), found "
        f"{'neither file in it' if path.is_dir() else 'no such folder'}; make one with `modicum train` or `modicum fit`"
    )


def _run(path: Path) -> Source:
    record = read_json(path / "config.json")
    results = sorted((path / "results").glob("*.json"))
    files = [path / "config.json", *results]
    measured = {file: read_json(file) for file in results}
    evaluated = {file: found for file, found in measured.items() if found.get("kind") != LOW_BIT}
    accuracies = [row for file, found in evaluated.items() for row in _evaluations(found, file)]
    inner = [read_inner(found, file.with_name(f"{file.stem}.npz"), files) for file, found in evaluated.items()]
    arrays = read_arrays(path / "artifacts.npz", files)
    return Source(
        path=path,
        kind="run",
        name=path.resolve().name,
        config=_mapping(record.get("config")),
        environment=_mapping(record.get("environment")),
        details={k: record[k] for k in ("version", "encoder", "split_rule") if record.get(k) is not None},
        log=_log(path / "log.jsonl", files),
        accuracies=told_apart(accuracies, str(_mapping(record.get("config")).get("method"))),
        inner=tuple(found for found in inner if found is not None),
        files=tuple(file.relative_to(path).as_posix() for file in files),
        **_pictures(arrays),
    )


_FITTED = (
    "head", "encoder", "encoder_saw", "measured", "only_new_measured", "pictures", "tried", "search", "chosen", "folds",
)  # fmt: skip


def _classifier(path: Path) -> Source:
    record = read_json(path / "classifier.json")
    files = [path / "classifier.json"]
    row: Mapping[str, Any] = {}
    if (path / "results.json").is_file():
        files.append(path / "results.json")
        rows = read_json(path / "results.json").get("rows") or [{}]
        row = _mapping(rows[0])
    arrays = read_arrays(path / "artifacts.npz", files)
    return Source(
        path=path,
        kind="classifier",
        name=path.resolve().name,
        config=_mapping(record.get("settings")),
        environment=_mapping(record.get("environment")),
        details={**record, **{key: row[key] for key in _FITTED if row.get(key) is not None}},
        accuracies=_balanced(row),
        per_class=_mapping(row.get("per_class")),
        ece=_number(row.get("ece")),
        reliability=tuple(map(_mapping, row.get("reliability") or ())),
        not_measurable=tuple(map(str, row.get("not_measurable") or ())),
        files=tuple(file.relative_to(path).as_posix() for file in files),
        **_pictures(arrays),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """A finite number or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if np.isfinite(value) else None


def _bounds(value: float, interval: Any) -> tuple[float | None, float | None]:
    """(low, high) from a radius or from a pair of bounds."""
    if isinstance(interval, list | tuple) and len(interval) == 2:
        return _number(interval[0]), _number(interval[1])
    radius = _number(interval)
    return (None, None) if radius is None else (value - radius, value + radius)


def _evaluations(record: Mapping[str, Any], file: Path) -> list[Accuracy]:
    """The rows of an evaluate record."""
    rows = record.get("rows")
    if not isinstance(rows, list):
        raise FileFormatError(f'{file}: no "rows" in it; evaluate anew')
    return [row for entry in rows if (row := _evaluation(record, _mapping(entry))) is not None]


def _evaluation(record: Mapping[str, Any], row: Mapping[str, Any]) -> Accuracy | None:
    value = _number(row.get("accuracy"))
    if value is None:
        return None
    low, high = _bounds(value, row.get("ci95"))
    ways, shots = row.get("ways", "-"), row.get("shots", "-")
    notes = [f"batch norm: {row['batch_norm']}"] if row.get("batch_norm") else []
    notes += ["transductive: a query sees the other queries"] if row.get("transductive") else []
    notes += [f"head: {record['head']}"] if record.get("head") else []
    notes += [f"{record['queries']} queries per class"] if record.get("queries") else []
    data, split = record.get("data", "-"), record.get("split", "-")
    return Accuracy(
        setting=f"{data} {split}: {ways}-way {shots}-shot",
        value=value,
        low=low,
        high=high,
        stderr=_number(row.get("stderr")),
        count=f"{row['tasks']} tasks" if row.get("tasks") else "",
        over=str(record.get("interval_over") or ""),
        chance=1 / ways if isinstance(ways, int) and ways > 0 else None,
        ways=ways if isinstance(ways, int) else None,
        shots=shots if isinstance(shots, int) else None,
        notes=tuple(notes),
        per_task=np.asarray(row["per_task"], dtype=float) if row.get("per_task") else None,
        tasks_key=_tasks_key(record, row),
        batch_norm=str(row.get("batch_norm") or ""),
        setup=setup(record, row),
    )


def _tasks_key(record: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What two rows must share to have met the same tasks; None where a row does not say."""
    wanted = [*(record.get(name) for name in ("data", "split", "seed"))]
    wanted.append(row.get("tasks_digest"))
    wanted += [row.get("queries", record.get("queries")), *(row.get(name) for name in ("ways", "shots", "tasks"))]
    if any(value is None for value in wanted):
        return None
    return (*wanted, tuple(record.get("classes") or ()))


def _balanced(row: Mapping[str, Any]) -> tuple[Accuracy, ...]:
    """The balanced accuracy of a classifier, empty where it could not be measured."""
    value = _number(row.get("balanced_accuracy"))
    if value is None:
        return ()
    low, high = _bounds(value, row.get("interval") or row.get("ci95"))
    measured = _mapping(row.get("per_class"))
    classes = row.get("classes") if isinstance(row.get("classes"), int) else len(measured)
    pictures = sum(int(_mapping(entry).get("n") or 0) for entry in measured.values())
    return (
        Accuracy(
            setting="balanced accuracy",
            value=value,
            low=low,
            high=high,
            stderr=_number(row.get("stderr")),
            count=f"{pictures} pictures" if pictures else "",
            over=str(row.get("interval_over") or ""),
            chance=1 / classes if classes else None,
        ),
    )


def _log(path: Path, files: list[Path]) -> tuple[Mapping[str, Any], ...]:
    """Lines of a run's log; what a kill cut off is left out."""
    if not path.is_file():
        return ()
    files.append(path)
    return tuple(map(_mapping, read_log(path)))


def _pictures(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The fields of `Source` that come from artifacts.npz."""
    classes = _names(arrays.get("classes"))
    found: dict[str, Any] = {"classes": classes, "right": _samples(arrays, "right", classes)}
    found["wrong"] = _samples(arrays, "wrong", classes)
    confusion = arrays.get("confusion")
    if confusion is not None and confusion.shape == (len(classes), len(classes)) and confusion.sum() > 0:
        found["confusion"] = confusion.astype(np.int64)
    if _has(arrays, "support_pixels", "support_labels", "query_pixels", "query_labels", "query_predictions", "task_classes"):
        found["task"] = Task(
            arrays["support_pixels"],
            arrays["support_labels"],
            arrays["query_pixels"],
            arrays["query_labels"],
            arrays["query_predictions"],
            _names(arrays["task_classes"]),
        )
    if _has(arrays, "lda_features", "lda_labels", "lda_classes"):
        names = _names(arrays["lda_classes"])
        found["features"] = (arrays["lda_features"].astype(float), arrays["lda_labels"], names)
    return found


def _has(arrays: Mapping[str, Array], *names: str) -> bool:
    return all(name in arrays and len(arrays[name]) for name in names)


def _names(array: Array | None) -> tuple[str, ...]:
    return () if array is None else tuple(map(str, array.tolist()))


def _samples(arrays: Mapping[str, Array], side: str, classes: tuple[str, ...]) -> Samples | None:
    """Pictures of one side; labels are class names or indices into `classes`."""
    if not _has(arrays, f"{side}_pixels", f"{side}_labels"):
        return None

    def named(array: Array) -> tuple[str, ...]:
        return tuple(classes[int(v)] if array.dtype.kind in "iu" else str(v) for v in array.tolist())

    labels = named(arrays[f"{side}_labels"])
    predictions = arrays.get(f"{side}_predictions")
    return Samples(arrays[f"{side}_pixels"], labels, labels if predictions is None else named(predictions))

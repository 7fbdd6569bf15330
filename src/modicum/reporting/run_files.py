"""What lies in the folder of a run and a page is made from: configuration, results, arrays, log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from modicum.files import read_json
from modicum.reporting.arrays import read_arrays
from modicum.reporting.figures import Log
from modicum.reporting.records import Array
from modicum.training.logs import read_log


class RunFiles(NamedTuple):
    """record: config.json; results: paths of the result files by name; files: those a page was made from, to be named."""

    record: dict[str, Any]
    results: list[Path]
    files: list[Path]
    arrays: dict[str, Array]
    log: Log


def read_run_files(path: Path) -> RunFiles:
    """The files of a run; arrays are {} and the log empty where there is none. `FileFormatError` for a damaged one."""
    record = read_json(path / "config.json")
    results = sorted((path / "results").glob("*.json"))
    files = [path / "config.json", *results]
    arrays = read_arrays(path / "artifacts.npz", files)
    return RunFiles(record, results, files, arrays, read_log(path / "log.jsonl"))

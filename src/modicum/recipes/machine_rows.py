"""Rows that no network is trained for: times of a layer on this machine, and the cost of a unit in hardware.

| source | figures |
|---|---|
| low_bit_conv | layer_ms KERNEL SHAPE: milliseconds of a layer, by `benchmarks/low_bit_conv.py`, batch 1, one thread |
| hardware | unit DESIGN WHAT: what `quantization.hardware` says of one multiply-accumulate unit or of a network |
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import modicum
from modicum.errors import DataError
from modicum.recipes.recipe import Machine, Row

LIMIT = 600
"""Seconds after which a benchmark is given up."""
Figures = dict[str, dict[str, Any]]


def measure_machine(row: Row, source: object) -> dict[str, Any]:
    """The parts of a row's record: its figure, and all figures of its source.

    `DataError` where the source is not there, as of an installed package without its benchmarks, or has no such number.
    """
    assert isinstance(source, Machine)
    found = _timed() if source.source == "low_bit_conv" else _hardware()
    if row.figure not in found:
        raise DataError(f"{row.name}: {source.source} has no {row.branch} of {row.bucket} on this machine")
    return {"figures": found, **found[row.figure]}


def _timed() -> Figures:
    script = Path(modicum.__file__).parents[2] / "benchmarks" / "low_bit_conv.py"
    if not script.is_file():
        raise DataError("benchmarks: low_bit_conv.py is part of the source, and this is an installed package")
    with TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        try:
            done = subprocess.run(
                [sys.executable, str(script), "--json", str(out)], capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"benchmarks: low_bit_conv.py took more than {LIMIT} seconds") from error
        if not out.is_file():
            raise DataError(f"benchmarks: low_bit_conv.py wrote nothing: {' '.join(done.stderr.split())[-300:]}")
        rows = json.loads(out.read_text())["rows"]
    return timed_figures(rows)


def timed_figures(rows: list[dict[str, Any]]) -> Figures:
    """Figure of a row -> milliseconds, from the rows of the benchmark; the fastest int8 layer of a shape also as `int8`."""
    found: Figures = {}
    for row in rows:
        over = f"{row['kernel']}, one measurement on this machine: no interval"
        if "activation_bits" not in row:  # those are of other widths than the others
            found[f"layer_ms {row['kernel']} {row['shape']}"] = _figure(float(row["ms"]), over)
        if row.get("fastest_int8"):
            found[f"layer_ms int8 {row['shape']}"] = _figure(float(row["ms"]), over)
    return found


def _hardware() -> Figures:
    from modicum.recipes.hardware_rows import unit_figures

    return {name: _figure(value, "a model: no interval") for name, value in unit_figures().items()}


def _figure(value: float, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": None, "stderr": None, "interval_over": over}

"""The page of runs on regression tasks: numbers of the files, curves, absent parts as dashes, damaged files named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, FileFormatError
from modicum.files import write_json
from modicum.reporting import write_report

from .test_page import read


def run(path: Path, measured: bool = True, **changes: Any) -> Path:
    write_json(
        path / "config.json",
        {
            "kind": "run", "version": "0", "config": {"method": "maml", "inner_steps": 2, "data": "/private/tasks.csv"},
            "network": {"backbone": "mlp-4", "inputs": 1, "outputs": 1}, "data": {"name": "tasks", "splits": {}},
        },
    )  # fmt: skip
    if not measured:
        return path
    steps = [{"step": step, "mse": mse, "ci95": 0.25} for step, mse in enumerate((4.0, 2.0, 1.125))]
    row = {"shots": 3, "queries": 9, "mse": 1.125, "ci95": 0.25, "stderr": 0.125, "tasks": 1_000, "per_step": steps}
    record = {"kind": "evaluate", "measure": "mse", "data": "tasks", "split": "test", "seed": 0,
              "interval_over": "draws of 1000 tasks", "rows": [{**row, **changes}]}  # fmt: skip
    write_json(path / "results" / "tasks.json", record)
    x = np.linspace(-1, 1, 9)[None].repeat(2, 0)
    curves = {"curve_x": x, "curve_y": x**2, "curve_predictions": np.stack([0 * x, x**2 / 2, x**2], 1),
              "curve_support_x": x[:, ::4], "curve_support_y": x[:, ::4] ** 2}  # fmt: skip
    np.savez(path / "artifacts.npz", **curves)
    return path


def test_numbers_and_curves_are_those_of_the_files(tmp_path: Path) -> None:
    """Of a task with y = x^2 on nine points the mean of x^4 is 2.7656 / 9 = 0.31 before (prediction 0), and 0 after."""
    reader, text = read(write_report([run(tmp_path / "one")], tmp_path / "page.html"))
    for told in ("1.125", "0.875 to 1.375", "± 0.250", "before adaptation: 4.000", "1,000", "draws of 1000 tasks"):
        assert told in text, told
    assert "task 1: error 0.31 before, 0.00 after" in text
    assert "/private" not in text
    assert reader.tags.count("svg") == 2  # no log, so no training curve


def test_a_run_that_was_not_measured_shows_dashes(tmp_path: Path) -> None:
    reader, text = read(write_report([run(tmp_path / "one", measured=False)], tmp_path / "page.html"))
    assert "Not measured yet" in text
    assert "svg" not in reader.tags
    assert reader.words.count("-") >= 3


def test_several_runs_stand_on_one_page_but_not_beside_pictures(tmp_path: Path) -> None:
    one, two = run(tmp_path / "a" / "one"), run(tmp_path / "b" / "one")
    _, text = read(write_report([one, two], tmp_path / "page.html"))
    assert "a/one" in text
    assert "b/one" in text
    write_json(tmp_path / "pictures" / "config.json", {"config": {}})
    with pytest.raises(ConfigError, match="run on regression tasks; put such runs on a page of their own"):
        write_report([one, tmp_path / "pictures"], tmp_path / "page.html")


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="one: incomplete or of another version"):
        write_report([run(tmp_path / "one", per_step=None)], tmp_path / "page.html")

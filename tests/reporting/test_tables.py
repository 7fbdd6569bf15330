"""The page of runs on the rows of a table: numbers of the files, absent parts as dashes, damaged files named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import ConfigError, FileFormatError
from modicum.files import read_json, write_json
from modicum.reporting import write_report

from .test_page import read


def read_page(page: Path) -> str:
    """The page as HTML, whose elements are closed and whose text is whole."""
    read(page)
    return page.read_text(encoding="utf-8")


def row(branch: str, rmse: float, names: tuple[str, ...] = ("wear",)) -> dict[str, Any]:
    targets = [{"name": name, "rmse": rmse, "ci95": 0.25, "standardised": rmse / 8} for name in names]
    return {"branch": branch, "rmse": rmse, "lower": rmse - 0.25, "upper": rmse + 0.125, "ci95": 0.25, "stderr": 0.1,
            "standardised": rmse / 8, "standardised_ci95": 0.1, "rows": 1_234, "targets": targets}  # fmt: skip


def run(path: Path, measured: bool = True, **changes: Any) -> Path:
    config = {"method": "meta-neighborhoods", "baseline": "none", "inner_steps": 1, "entries": 1_000, "batch_pictures": 128,
              "data": "/private/machines.csv", "fold_file": "/private/f.csv",
              "target": "wear"}  # fmt: skip
    data = {"name": "machines", "rows": 9_000, "parts": {"train": 7_000, "val": 766, "test": 1_234}, "splits": {}}
    write_json(
        path / "config.json",
        {
            "kind": "run",
            "version": "0",
            "config": config,
            "table": {"inputs": ["load", "heat"], "targets": ["wear"]},
            "data": data,
        },
    )
    if measured:
        record = {
            "kind": "evaluate", "measure": "rmse", "data": "machines", "split": "test",
            "interval_over": "the 1,234 test rows",
            "rows": [row("before", 6.5), row("adapted", 2.125)], "mean_of_training": row("mean", 8.0), **changes,
        }  # fmt: skip
        write_json(path / "results" / "machines.json", record)
        true = np.linspace(-1, 1, 40)[:, None]
        np.savez(path / "artifacts.npz", table_true=true, table_predicted=np.stack([0 * true, true]))
    return path


def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    text = read_page(write_report([run(tmp_path / "a")], tmp_path / "page.html"))
    for told in (
        "2.125",
        "1.875 – 2.25",
        "0.266",
        "6.5",
        "mean of the training rows",
        "1,000 entries",
        "7,000 training rows",
    ):
        assert told in text
    assert "/private" not in text
    assert text.count('role="img"') == 1


def test_the_headline_is_of_rows_that_training_did_not_see(tmp_path: Path) -> None:
    folder = run(tmp_path / "a")
    first = read_json(folder / "results" / "machines.json")
    others = {
        "train": {"split": "train", "interval_over": "the 7,000 train rows, with this one training"},
        "xother": {"data": "other", "interval_over": "the 50 rows of other, all of them, with this one training"},
    }
    for name, changes in others.items():
        write_json(folder / "results" / f"{name}.json", {**first, "rows": [row("adapted", 1.0)], **changes})
    text = read_page(write_report([folder], tmp_path / "page.html"))
    assert "On the 1,234 test rows it errs by 2.125" in text
    assert "<td>other, all rows</td>" in text
    (folder / "results" / "machines.json").unlink()
    (folder / "results" / "xother.json").unlink()
    text = read_page(write_report([folder], tmp_path / "page.html"))
    assert "On the 7,000 train rows it errs by 1 " in text
    assert "include those it was trained on" in text


def test_what_is_not_there_is_a_dash(tmp_path: Path) -> None:
    text = read_page(write_report([run(tmp_path / "a", measured=False)], tmp_path / "page.html"))
    assert "Not measured yet" in text
    assert text.count("<p>-</p>") == 3
    assert 'role="img"' not in text


def test_several_targets_have_a_line_each(tmp_path: Path) -> None:
    rows = [row("adapted", 2.125, ("wear", "<noise>"))]
    text = read_page(write_report([run(tmp_path / "a", rows=rows), run(tmp_path / "b")], tmp_path / "page.html"))
    assert "&lt;noise&gt;" in text
    assert "<noise>" not in text


def test_incomplete_results_and_other_sources_are_refused(tmp_path: Path) -> None:
    one, other = run(tmp_path / "a", rows=[{"branch": "adapted"}]), tmp_path / "other"
    with pytest.raises(FileFormatError, match="incomplete or of another version"):
        write_report([one], tmp_path / "page.html")
    write_json(other / "config.json", {"kind": "run", "config": {}})
    with pytest.raises(ConfigError, match="is a run on the rows of a table; put such runs on a page of their own"):
        write_report([run(tmp_path / "c"), other], tmp_path / "page.html")

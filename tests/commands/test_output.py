"""Tables and result files on stdout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modicum.commands.evaluate import show
from modicum.commands.output import percent, show_table, write_result


def test_a_table_shows_markup_as_text_and_none_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("", ("name", "n"), [("[red]a[/red]", 1), ("b", None)])
    out = capsys.readouterr().out
    assert "[red]a[/red]" in out
    assert out.splitlines()[-1].split() == ["b", "-"]


def test_percent_keeps_two_digits() -> None:
    assert percent(0.98765) == "98.77 %"
    assert percent(None) == "-"


def test_a_result_file_carries_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_result(str(tmp_path / "deep" / "result.json"), {"rows": [{"accuracy": 0.5}]})
    assert json.loads((tmp_path / "deep" / "result.json").read_text()) == {"schema": 1, "rows": [{"accuracy": 0.5}]}
    assert "result.json" in capsys.readouterr().out
    write_result(None, {})
    assert capsys.readouterr().out == ""


def test_an_evaluation_shows_both_radii_and_the_mode(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"ways": 5, "shots": 1, "accuracy": 0.9876, "ci95": 0.0012, "stderr": 0.0006, "tasks": 1000}
    over = "draws of 1000 tasks from the 5 classes of digits (test)"
    show({"rows": [{**row, "batch_norm": "batch", "transductive": True}], "interval_over": over})
    out = capsys.readouterr().out
    for part in ("98.76 %", "0.12 %", "0.06 %", "1000", "batch (transductive)", "draws of 1000 tasks"):
        assert part in out

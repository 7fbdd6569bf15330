"""`modicum check`: what is printed, what is written, and the exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum import configs
from modicum.commands.check import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for place in range(10):
        path = tmp_path / "data" / "ab"[place % 2] / f"[{place}].png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def test_safe_data_exits_0_and_the_record_says_what_is_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(configs.Check(str(folder), json=str(tmp_path / "c.json"))) == 0
    printed = capsys.readouterr().out
    assert "data: 10 pictures of 2 classes" in printed
    assert "split 64/16/20 per cent by seed 0" in printed
    assert "Nothing found that makes training unsafe." in printed
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["schema"] == 1
    (row,) = record["rows"]
    assert row["classes"] == {"a": 5, "b": 5}
    assert (row["safe"], row["pictures"], row["sizes"], row["findings"]) == (True, 10, {"32 x 32": 10}, [])


def test_unsafe_data_exits_1_and_names_the_pictures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copy(folder / "a/[0].png", folder / "b/[copy].png")
    assert run(configs.Check(str(folder), json=str(tmp_path / "c.json"))) == 1
    printed = capsys.readouterr().out
    assert "unsafe: equal files in several classes (which label is right?): 1 (a/[0].png = b/[copy].png)" in printed
    assert "Training on this would be unsafe." in printed
    found = {finding["kind"]: finding for finding in json.loads((tmp_path / "c.json").read_text())["rows"][0]["findings"]}
    assert found["duplicates-across-classes"]["severity"] == "unsafe"
    assert found["duplicates-across-classes"]["sets"] == [["a/[0].png", "b/[copy].png"]]


def test_data_that_is_nowhere_exits_1_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(configs.Check(str(tmp_path / "nowhere"))) == 1
    assert "unsafe: data: there is no" in capsys.readouterr().out


def test_many_classes_are_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for place in range(30):
        (tmp_path / "d" / f"c{place:02d}").mkdir(parents=True)
        Image.new("L", (32, 32), place).save(tmp_path / "d" / f"c{place:02d}" / "1.png")
    run(configs.Check(str(tmp_path / "d")))
    assert "... and 10 more of 1 to 1" in capsys.readouterr().out

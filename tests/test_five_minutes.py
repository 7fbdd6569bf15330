"""docs/five-minutes.md from top to bottom, as a reader copies it: end to end on real handwriting."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from modicum.cli import main
from modicum.files import read_json

PAGE = Path(__file__).parents[1] / "docs" / "five-minutes.md"


def test_every_block_of_the_page_does_what_it_says(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    said = {}
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), {})
        if kind == "sh":
            for line in filter(None, block.splitlines()):
                words = shlex.split(line)
                assert main(words[1:]) == 0, (line, capsys.readouterr().err)
                said[words[1]] = capsys.readouterr().out
    assert list(said) == ["check", "fit", "predict", "extend", "forget"]
    assert re.search(r"not measurable.*\n.*four", said["fit"])  # its one picture
    assert "new classes: five" in said["extend"]
    assert "none of these" in said["predict"]  # five to nine are new to the classifier
    assert (tmp_path / "my-classifier" / "report.html").stat().st_size > 10_000
    row = read_json(tmp_path / "my-classifier" / "results.json")["rows"][0]
    assert set(row["per_class"]) == {"zero", "two", "three", "five"}
    assert row["balanced_accuracy"] > 0.6  # chance is 0.2

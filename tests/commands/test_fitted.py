"""What the commands that write a classifier do before and after their work."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.cli import main

LINES = (
    "fit nowhere --out file/deep/x",
    "adapt nowhere --support nowhere --out file/deep/x",
    "extend nowhere nowhere --out file/deep/x",
    "forget nowhere --id 1 --out file/deep/x",
)


@pytest.mark.parametrize("line", LINES)
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_read(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert "cannot create the folder file/deep/x" in err
    assert "Traceback" not in err
    assert main(line.replace("file", "new").split()) == 2
    assert "nowhere" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""What `train` says at its end and to a method it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.cli import main

FEW = (
    "train --data digits --ways 3 --shots 1 --queries 2 --batch 1 --backbone conv4-32 --image_size 16 --steps 1 "
    "--inner_steps 1 --no_tensorboard"
)


@pytest.mark.parametrize(("method", "ways"), [("anil", " --ways 3"), ("fo-proto-maml", ""), ("protonet", "")])
def test_the_next_command_asks_for_ways_that_the_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str, ways: str
) -> None:
    """The line can be copied: `evaluate` would refuse five ways of a layer with three outputs."""
    monkeypatch.chdir(tmp_path)
    assert main([*FEW.split(), "--method", method, "--out", "run"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"next: modicum evaluate run{ways}"
    assert main([*line.removeprefix("next: modicum ").split(), *["--tasks", "2", "--shots", "1", "--queries", "2"]]) == 0


def test_a_misspelt_method_is_told_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FEW.split(), "--method", "proto_maml", "--out", str(tmp_path / "run")]) == 2
    assert "did you mean 'proto-maml'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

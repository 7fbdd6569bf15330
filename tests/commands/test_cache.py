"""`modicum cache ls|clear`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from modicum import configs
from modicum.commands.cache import readable, run
from modicum.data.pictures import open_pictures


def test_ls_and_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))
    assert run(configs.Cache("ls")) == 0
    assert capsys.readouterr().out == f"0 B in {tmp_path / 'cache'}\n"
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (32, 32), ord(name)).save(tmp_path / "data" / name / "1.png")
    open_pictures(str(tmp_path / "data"))
    run(configs.Cache("ls"))
    assert f"{tmp_path / 'data'}: 2 pictures, 32 x 32 x 3" in capsys.readouterr().out
    assert run(configs.Cache("clear")) == 0
    assert "freed 10." in capsys.readouterr().out
    assert list((tmp_path / "cache").rglob("*.pictures")) == []


def test_sizes_for_people():
    assert [readable(count) for count in (0, 1023, 1536, 5 * 2**30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]

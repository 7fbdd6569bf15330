"""The demonstration, shortened, from nothing to a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.configs import Demo
from modicum.errors import ConfigError
from modicum.files import read_json
from modicum.recipes.demo import options, run
from modicum.reporting import write_report


def test_digits_demo_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.recipes.demo.TASKS", 60)
    config = Demo(out=str(tmp_path / "demo"), steps=3)
    page = run(config, report=write_report)
    said = capsys.readouterr().out
    assert page == tmp_path / "demo" / "report.html"
    assert "draws of 60 tasks from the 5 classes of digits (test) (5, 6, 7, 8, 9)" in said
    (result,) = (tmp_path / "demo" / "digits" / "results").glob("*.json")
    one, five = read_json(result)["rows"]
    assert f"{100 * one['accuracy']:.1f} % right" in said
    assert 0.5 < one["accuracy"] < five["accuracy"]
    assert "draws of 60 tasks from the 5 classes of digits (test)" in page.read_text()

    assert run(config) == tmp_path / "demo" / "digits"  # finished before: goes on at once, and without a page
    with pytest.raises(ConfigError, match="steps"):
        run(Demo(out=config.out, steps=4))


def test_options_of_both_demos() -> None:
    digits, omniglot = options(Demo()), options(Demo(data="omniglot", root="somewhere", seed=3))
    assert (digits.data, digits.image_size, digits.root) == ("digits", None, None)
    assert (omniglot.data, omniglot.root, omniglot.seed, omniglot.shots) == ("omniglot", "somewhere", 3, 1)

"""The page: self-contained, escaped, honest about what is absent, never half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import ConfigError, FileFormatError, WriteError
from modicum.evaluation.intervals import paired_interval
from modicum.files import read_json
from modicum.reporting import write_report
from modicum.reporting.story import named, percent

Maker = Callable[..., Path]

NAMES = ("zero", "one", "two", "three", "four")
NASTY = ("<script>alert('x')</script>", 'a & b "quoted"', "{{ 7 * 7 }}", "Ελληνικά 名前", "x" * 120)
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Collects text, addresses and pictures without text, and fails where elements are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.mute: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action", "srcset")]
        if tag in ("img", "svg") and not (found.get("alt") or found.get("aria-label")):
            self.mute.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: Path) -> tuple[Reader, str]:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader, " ".join(" ".join(reader.words).split())


def test_page_of_a_run_shows_all_parts_and_loads_nothing(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", NAMES)
    reader, text = read(write_report([run], tmp_path / "report.html"))
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert "script" not in reader.tags
    assert "url(http" not in (tmp_path / "report.html").read_text()
    assert reader.mute == []
    assert reader.tags.count("svg") == 3  # accuracy, map, curves
    assert reader.tags.count("img") == 15 + 60
    for row in read_json(run / "results" / "omniglot-test-5way.json")["rows"]:
        assert percent(row["accuracy"], 2).replace("\xa0", " ") in text
    assert "draws of 400 tasks from the 5 classes of omniglot (test)" in text
    assert "trained for 8,000 steps on “omniglot”" in text


def test_names_are_text_and_never_markup_or_templates(tmp_path: Path, run_folder: Maker, classifier_folder: Maker) -> None:
    sources = [run_folder(tmp_path / "run", NASTY), classifier_folder(tmp_path / "<i>clf", NASTY, single=["<b>lone"])]
    reader, text = read(write_report(sources, tmp_path / "report.html"))
    assert "script" not in reader.tags
    for name in NASTY:
        assert name in text
    assert "<i>clf" in text
    assert "<b>lone" in text


def test_absent_parts_are_dashes(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", NAMES, log=False, results=False, artifacts=False)
    reader, text = read(write_report([run], tmp_path / "report.html"))
    assert "svg" not in reader.tags
    assert "Not measured yet" in text
    assert "Unknown: no interval was measured." in text
    assert not re.search(r"\d %", text)


def test_many_classes_are_shown_by_the_worst(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", [f"class {i}" for i in range(423)])
    page = write_report([run], tmp_path / "report.html")
    _, text = read(page)
    assert "the other 411 classes" in text
    assert page.stat().st_size < 500_000


def test_two_classes_have_a_map_and_a_matrix(tmp_path: Path, run_folder: Maker) -> None:
    reader, text = read(write_report([run_folder(tmp_path / "run", ["cat", "dog"])], tmp_path / "report.html"))
    assert reader.tags.count("svg") == 3
    assert "guessing: 50.0 %" in text


def test_calibration_and_unmeasurable_classes_of_a_classifier(tmp_path: Path, classifier_folder: Maker) -> None:
    folder = classifier_folder(tmp_path / "clf", NAMES, single=["rare"])
    reader, text = read(write_report([folder], tmp_path / "report.html"))
    assert reader.tags.count("svg") == 3  # accuracy, map, calibration
    assert "off by 3.1 % on average" in text
    assert "1 class has one picture (or one group) only" in text
    assert "learned from 101 labelled pictures" in text


def test_sources_are_compared_by_the_tasks_they_both_met(tmp_path: Path, run_folder: Maker) -> None:
    one, two = run_folder(tmp_path / "one", NAMES), run_folder(tmp_path / "two", NAMES, seed=1, right=0.93)
    _, text = read(write_report([one, two], tmp_path / "report.html"))
    tasks = [read_json(run / "results" / "omniglot-test-5way.json")["rows"][0]["per_task"] for run in (one, two)]
    gap = paired_interval(tasks[1], tasks[0], "draws of tasks")
    unpaired = float(np.hypot(np.std(tasks[0]), np.std(tasks[1]))) * 1.96 / 20
    assert gap.ci95 < 0.75 * unpaired
    low, high = 100 * (gap.mean - gap.ci95), 100 * (gap.mean + gap.ci95)
    assert f"B minus A = {100 * gap.mean:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}" in text
    assert "at least three seeds" in text


def test_other_tasks_are_not_paired(tmp_path: Path, run_folder: Maker) -> None:
    one, two = run_folder(tmp_path / "one", NAMES), run_folder(tmp_path / "two", (*NAMES[:4], "nine"))
    _, text = read(write_report([one, two], tmp_path / "report.html"))
    assert "no two of these met the same tasks" in text


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path, run_folder: Maker) -> None:
    sources = [run_folder(tmp_path / parent / "run", NAMES) for parent in ("x", "y")]
    _, text = read(write_report([*sources, sources[0]], tmp_path / "report.html"))
    assert "y/run" in text
    assert "x/run (3)" in text


def test_a_failure_leaves_the_page_before(tmp_path: Path, run_folder: Maker) -> None:
    run, page = run_folder(tmp_path / "run", NAMES), tmp_path / "report.html"
    before = write_report([run], page).read_bytes()
    (run / "artifacts.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FileFormatError):
        write_report([run], page)
    assert page.read_bytes() == before
    with pytest.raises(ConfigError, match="sources"):
        write_report([], page)
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError):
        write_report([run_folder(tmp_path / "other", NAMES)], tmp_path / "folder")


def test_the_same_files_give_the_same_page(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", NAMES)
    first = write_report([run], tmp_path / "a.html").read_bytes()
    assert write_report([run], tmp_path / "b.html").read_bytes() == first


def test_percentages_never_round_to_certainty() -> None:
    assert percent(0.99999).replace("\xa0", " ") == "99.999 %"
    assert percent(0.0001).replace("\xa0", " ") == "0.01 %"
    assert percent(1.0).replace("\xa0", " ") == "100.0 %"
    assert percent(None) == "-"


def test_a_page_does_not_tell_where_its_maker_keeps_things(tmp_path: Path, run_folder: Maker) -> None:
    private = {"data": "/somewhere/private/my pictures", "out": "/somewhere/private/run", "root": "/somewhere/private"}
    page = write_report([run_folder(tmp_path / "run", NAMES, config=private)], tmp_path / "report.html")
    assert "somewhere" not in page.read_text()
    assert str(tmp_path) not in page.read_text()
    assert "on “my pictures”" in read(page)[1]
    assert [named(name) for name in ("/somewhere/run", "timm/vit", {"name": "pictures"}, None)] == [
        "run",
        "timm/vit",
        "pictures",
        "-",
    ]

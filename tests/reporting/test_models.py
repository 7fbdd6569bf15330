"""The page of a comparison: all parts, names as text, absent parts as dashes, damaged files named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.errors import FileFormatError
from modicum.files import write_json
from modicum.reporting import write_report

from .test_page import read

NASTY = ("<script>alert('x')</script>", "{{ 7 * 7 }} & Ελληνικά")


def interval(value: float, radius: float = 0.05) -> dict[str, Any]:
    return {"value": value, "ci95": radius, "stderr": radius / 2, "over": "draws"}


def record(names: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    model = {
        "kind": "run", "method": "protonet", "head": "protonet", "backbone": "conv4-64", "steps": None, "size": 28,
        "channels": 1, "features": 64, "batch_norm": "running", "transductive": False,
        "separation": {"clustering_pairs": interval(1.29), "clustering_whole": 40.0, "variation": interval(0.487),
                       "variation_squared": interval(0.95)},
        "one_shot": {"ratio": 1.5, "least_ratio": 1.1, "bound": 0.0, "share_bounded": 0.0, "accuracy": interval(0.8)},
    }  # fmt: skip
    row = {
        "ways": 5,
        "shots": 1,
        "ci95": 0.02,
        "stderr": 0.01,
        "tasks": 3,
        "transductive": False,
        "per_task": [0.5, 0.6, 0.7],
    }
    gaps = ((0.0312, 0.01, "later"), (0.0012, 0.01, "undecided"), (-0.02, 0.01, "first"))
    return {
        "kind": "compare", "data": "/somewhere/private/mine", "split": "test", "seed": 0, "queries": 15,
        "interval_over": "draws of 3 tasks", "figure_pictures": 100, "figure_pairs": 2000, "classes": ["a", "b", "c"],
        "models": [{**model, "name": name} for name in names],
        "rows": [{**row, "model": name, "accuracy": 0.6} for name in names],
        "differences": [
            {"ways": 5, "shots": 1, "first": names[0], "later": name, "difference": gap, "ci95": radius, "verdict": verdict}
            for name, (gap, radius, verdict) in zip(names[1:], gaps, strict=False)
        ],
        "cka": {name: np.eye(len(names)).tolist() for name in ("linear", "debiased")},
        **changes,
    }  # fmt: skip


def folder(path: Path, names: tuple[str, ...] = ("one", "two"), maps: bool = True, **changes: Any) -> Path:
    path.mkdir()
    write_json(path / "compare.json", record(names, **changes))
    if maps:
        points = {f"lda_points_{i}": np.random.default_rng(i).normal(size=(30, 2)) for i in range(len(names))}
        np.savez(path / "artifacts.npz", lda_labels=np.arange(30) % 3, lda_classes=np.array(["a", "b", "<c>"]), **points)
    return path


def test_all_parts_are_there_and_the_page_loads_nothing(tmp_path: Path) -> None:
    found = folder(tmp_path / "cmp", ("one", "two", "three", "four"))
    reader, text = read(write_report([found], tmp_path / "page.html"))
    assert reader.tags.count("svg") == 3  # differences, accuracy, maps
    assert reader.mute == []
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    for words in ("+3.12", "95 % interval: +2.12 to +4.12", "B better", "undecided", "A better", "1.29", "0.95", "0.487",
                  "promises nothing", "at least three seeds"):  # fmt: skip
        assert words in text, words
    assert "somewhere" not in (tmp_path / "page.html").read_text()


def test_names_are_text(tmp_path: Path) -> None:
    reader, text = read(write_report([folder(tmp_path / "cmp", NASTY)], tmp_path / "page.html"))
    assert "script" not in reader.tags
    assert all(name in text for name in (*NASTY, "<c>"))


def test_without_maps_there_is_a_dash(tmp_path: Path) -> None:
    reader, text = read(write_report([folder(tmp_path / "cmp", maps=False)], tmp_path / "page.html"))
    assert reader.tags.count("svg") == 2
    assert "Map of three classes -" in text


@pytest.mark.parametrize("lost", ["models", "rows", "differences", "cka", "figure_pictures", "classes", "separation"])
def test_an_incomplete_result_is_named(tmp_path: Path, lost: str) -> None:
    found = folder(tmp_path / "cmp")
    whole = record(("one", "two"))
    for part in (whole, *whole["models"]):
        part.pop(lost, None)
    write_json(found / "compare.json", whole)
    with pytest.raises(FileFormatError, match=r"compare\.json: incomplete"):
        write_report([found], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()

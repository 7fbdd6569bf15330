"""Result files -> sources: what is absent stays absent, what is damaged is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modicum.errors import FileFormatError
from modicum.files import write_json
from modicum.reporting.sources import read_source

Maker = Callable[..., Path]

NAMES = ("zero", "one", "two", "three", "four")


def test_a_run_is_read_whole(tmp_path: Path, run_folder: Maker) -> None:
    source = read_source(run_folder(tmp_path / "run", NAMES))
    one, five = source.accuracies
    assert (one.setting, one.ways, one.shots, one.chance) == ("omniglot test: 5-way 1-shot", 5, 1, 0.2)
    assert five.over == "draws of 400 tasks from the 5 classes of omniglot (test)"
    assert one.low is not None
    assert one.value - one.low == pytest.approx(1.96 * (one.stderr or 0))
    assert source.confusion is not None
    assert source.confusion.sum(1).tolist() == [150] * 5
    assert len([entry for entry in source.log if entry["kind"] == "validation"]) == 16  # the cut-off last line is left out
    assert source.files == ("config.json", "results/omniglot-test-5way.json", "artifacts.npz", "log.jsonl")


def test_a_classifier_is_read_whole(tmp_path: Path, classifier_folder: Maker) -> None:
    source = read_source(classifier_folder(tmp_path / "clf", NAMES, single=["rare"]))
    (row,) = source.accuracies
    assert row.low == pytest.approx(row.value - 0.04)  # an interval given by its ends is not taken for a radius
    assert row.high == pytest.approx(row.value + 0.03)
    assert row.chance == pytest.approx(1 / 6)  # the class that cannot be measured can still be guessed
    assert source.not_measurable == ("rare",)
    assert source.wrong is not None
    assert (source.wrong.labels[0], source.wrong.predictions[0]) == ("zero", "one")  # indices became names


def test_absent_files_leave_absent_fields(tmp_path: Path, run_folder: Maker) -> None:
    source = read_source(run_folder(tmp_path / "run", NAMES, log=False, results=False, artifacts=False))
    assert (source.accuracies, source.log, source.confusion, source.task, source.features) == ((), (), None, None, None)
    assert source.files == ("config.json",)


@pytest.mark.parametrize("name", ["artifacts.npz", "results/omniglot-test-5way.json", "config.json"])
def test_a_truncated_file_is_named(tmp_path: Path, run_folder: Maker, name: str) -> None:
    run = run_folder(tmp_path / "run", NAMES)
    data = (run / name).read_bytes()
    (run / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(FileFormatError, match=Path(name).name):
        read_source(run)


def test_arrays_that_would_have_to_be_unpickled_are_refused(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", NAMES, artifacts=False)
    np.savez(run / "artifacts.npz", classes=np.array(["a", None], dtype=object))
    with pytest.raises(FileFormatError, match="artifacts"):
        read_source(run)


def test_another_schema_and_another_folder_are_refused(tmp_path: Path, run_folder: Maker) -> None:
    with pytest.raises(FileFormatError, match="modicum train"):
        read_source(tmp_path)
    with pytest.raises(FileFormatError, match="no such folder"):
        read_source(tmp_path / "nowhere")
    run = run_folder(tmp_path / "run", NAMES)
    write_json(run / "config.json", {"schema": 9})
    with pytest.raises(FileFormatError, match="schema 9"):
        read_source(run)


def test_rows_without_numbers_are_left_out_and_not_made_up(tmp_path: Path, run_folder: Maker) -> None:
    run = run_folder(tmp_path / "run", NAMES, results=False)
    rows = [{"ways": 5, "shots": 1, "accuracy": None}, {"ways": 5, "shots": 5, "accuracy": 0.5}]
    write_json(run / "results" / "x.json", {"rows": rows})
    (row,) = read_source(run).accuracies
    assert (row.value, row.low, row.stderr, row.tasks_key, row.over) == (0.5, None, None, None, "")

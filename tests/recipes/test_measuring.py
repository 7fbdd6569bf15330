"""Numbers that are no accuracy: class separation, CKA and seconds, on a small run made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.data.pictures import open_pictures
from modicum.errors import DataError
from modicum.evaluation.class_separation import class_separation
from modicum.recipes.digits_protonet import SMOKE
from modicum.recipes.measuring import Site, measure, training_seconds
from modicum.recipes.recipe import Row
from modicum.training.runs import load_learner
from modicum.training.scoring import picture_features
from modicum.training.trainer import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("one", 0), ("two", 1)):
        train(replace(SMOKE, out=str(folder / name), seed=seed, tensorboard=False))
    return folder / "one", folder / "two"


def site(runs: tuple[Path, Path], other: Path | None = None) -> Site:
    return Site(runs[0], other, None, seed=3, tasks=20)


def test_class_separation_is_that_of_the_test_classes_under_the_run(runs: tuple[Path, Path]) -> None:
    learner, _, record = load_learner(runs[0])
    pictures = open_pictures("digits", seed=0)
    part = replace(pictures, splits={"test": tuple(record["data"]["splits"]["test"])}).split("test")
    features = picture_features(learner.eval(), part.pixels, np.arange(len(part)), torch.device("cpu"))
    expected = class_separation(features, part.labels, seed=3)
    found = measure(Row("x", "m", kind="r_fc"), site(runs))
    assert found["value"] == pytest.approx(expected.clustering.mean)
    assert found["ci95"] == pytest.approx(expected.clustering.ci95)
    assert found["clustering_whole"] == pytest.approx(expected.clustering_whole)
    assert "random class pairs" in found["interval_over"]
    assert measure(Row("x", "m", kind="r_hv"), site(runs))["value"] == pytest.approx(expected.variation_squared.mean)


def test_cka_is_1_with_itself_and_less_with_another_network(runs: tuple[Path, Path]) -> None:
    row = Row("x", "m", kind="cka", other="n")
    same, different = measure(row, site(runs, runs[0])), measure(row, site(runs, runs[1]))
    assert same["value"] == pytest.approx(1)
    assert 0 < different["value"] < 0.999
    assert (different["ci95"], different["debiased"] < different["value"]) == (None, True)


def test_seconds_are_added_up_over_resumptions_and_scaled_to_an_epoch(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Fabricated log: 4 s, then a new clock with 3 s: 7 s for 100 steps. An epoch of 8,000 tasks, one a step: 560 s."""
    lines = [
        {"kind": "train", "step": 50, "seconds": 4.0},
        {"kind": "validation", "step": 50, "accuracy": 0.5},
        {"kind": "train", "step": 75, "seconds": 1.0},
        {"kind": "train", "step": 100, "seconds": 3.0},
    ]
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text((runs[0] / "config.json").read_text())
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert training_seconds(run) == (7.0, 100)
    where = Site(run, None, None, 0, 20)
    assert measure(Row("x", "m", kind="train_seconds"), where)["value"] == 7.0
    found = measure(Row("x", "m", kind="epoch_seconds"), where)
    assert (found["value"], found["steps_per_epoch"]) == (pytest.approx(560), 8_000)
    (run / "log.jsonl").write_text("")
    with pytest.raises(DataError, match="no training times"):
        training_seconds(run)

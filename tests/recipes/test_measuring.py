"""Numbers that are no accuracy: class separation, CKA and seconds, on a small run made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modicum.data.pictures import open_pictures
from modicum.errors import DataError
from modicum.evaluation.class_separation import class_separation
from modicum.recipes.digits_protonet import SMOKE
from modicum.recipes.measuring import Site, measure, set_to_test, training_seconds
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


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one set, "stripes": six classes of 18 grey pictures, told apart by where a bright stripe lies."""
    root, rng = tmp_path_factory.mktemp("root"), np.random.default_rng(0)
    for label in range(6):
        folder = root / "stripes" / f"class{label}"
        folder.mkdir(parents=True)
        for i in range(18):
            pixels = rng.integers(0, 60, (28, 28), dtype=np.uint8)
            pixels[4 * label : 4 * label + 4] += 180
            Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def test_a_row_can_be_set_to_test_another_set_than_its_model_learned_on(runs: tuple[Path, Path], stripes: Path) -> None:
    where = replace(site(runs), root=str(stripes))
    found = measure(Row("x", "m", 5, 1, split="all", data="stripes"), where)
    assert found["interval_over"] == "draws of 20 tasks from the 6 classes of stripes (all)"
    assert found["classes"] == [f"class{label}" for label in range(6)]
    assert found["value"] > 0.9  # stripes are easier than digits
    assert found["evaluate"]["data"] == "stripes"  # the record names the set, not the folder it lies in
    assert str(stripes) not in json.dumps(found)
    assert measure(Row("x", "m", 5, 1), site(runs))["evaluate"]["data"] is None


def test_a_set_that_is_not_under_the_root_is_named(stripes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODICUM_DATA", raising=False)
    assert set_to_test(None, str(stripes)) is None
    assert set_to_test("omniglot", None) == "omniglot"  # a known name: `evaluate` looks for it
    with pytest.raises(DataError, match="clothing was not found: no root was given"):
        set_to_test("clothing", None)
    with pytest.raises(DataError, match=r"clothing was not found: there is no .*clothing; give the folder above it"):
        set_to_test("clothing", str(stripes))


def test_a_row_of_an_ensemble_says_which_checkpoints_it_took(tmp_path: Path) -> None:
    train(replace(SMOKE, out=str(tmp_path / "run"), keep_every=1, steps=2, tensorboard=False))
    where = Site(tmp_path / "run", None, None, 0, 20, ensemble="periodic")
    assert measure(Row("x", "m"), where)["ensemble"] == {"rule": "periodic", "steps": [1, 2]}
    assert measure(Row("x", "m"), replace(where, ensemble="none"))["ensemble"] is None


def test_what_a_row_is_tested_on_is_part_of_its_measurement() -> None:
    """Rows that agree are measured once, so rows of another set, batch-norm mode or ensemble must not agree."""
    plain = Row("a", "m")
    assert plain.measurement("cpu") == Row("b", "m", paper=0.5).measurement("cpu")
    ensemble = Row("a", "m", ensemble={"full": "best"})
    others = [Row("a", "m", data="omniglot"), Row("a", "m", batch_norm="support")]
    assert len({row.measurement("full") for row in (plain, ensemble, *others)}) == 4
    assert ensemble.measurement("cpu") == plain.measurement("cpu")


def test_a_run_of_gradient_steps_is_measured_with_the_statistics_of_the_batch_and_of_the_support_set(tmp_path: Path) -> None:
    """The same run and tasks, and two results; class separation is that of its encoder (table 5.5)."""
    small = replace(SMOKE, method="maml", backbone="conv4-32", shots=5, batch_norm="batch", steps=2, validate_every=2)
    train(replace(small, out=str(tmp_path / "run"), inner_rate=0.1, tensorboard=False))
    where = Site(tmp_path / "run", None, None, 0, 10)
    batch = measure(Row("x", "m", 5, 5, batch_norm="batch"), where)
    support = measure(Row("x", "m", 5, 5, batch_norm="support"), where)
    assert (batch["batch_norm"], batch["transductive"]) == ("batch", True)
    assert (support["batch_norm"], support["transductive"]) == ("support", False)
    assert batch["tasks_digest"] == support["tasks_digest"]
    assert batch["per_task"] != support["per_task"]
    assert 0 < measure(Row("x", "m", kind="r_fc"), where)["value"] < 6

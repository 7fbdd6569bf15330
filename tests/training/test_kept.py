"""Checkpoints kept for ensembles, both rules; training with the validation classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modicum.configs import Evaluate, Train
from modicum.data.pictures import open_pictures
from modicum.episodes.cutting import cut
from modicum.episodes.sampler import EpisodeSampler
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.training.evaluate import evaluate
from modicum.training.kept import kept_file, kept_files, step_of
from modicum.training.logs import read_log
from modicum.training.runs import load_learner, load_members
from modicum.training.trainer import train


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve classes of noise around a shade each, split 8/2/2 by the seeded rule."""
    for label in range(12):
        folder = tmp_path / "pictures" / f"c{label:02}"
        folder.mkdir(parents=True)
        for i in range(6):
            rng = np.random.default_rng(10 * label + i)
            Image.fromarray(rng.integers(0, 100 + 10 * label, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def config(data: Path, out: Path, **changes: object) -> Train:
    options = {
        "data": str(data), "out": str(out), "backbone": "conv4-32", "ways": 3, "shots": 1, "queries": 2, "batch": 1,
        "steps": 8, "validate_every": 1, "validation_tasks": 7, "image_size": 16, "tensorboard": False, **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


def test_the_best_are_kept_also_over_a_resumption(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(pictures, run, keep_best=3, steps=4))
    train(config(pictures, run, keep_best=3, steps=8, resume=True))
    scores = {line["step"]: line["accuracy"] for line in read_log(run / "log.jsonl") if line["kind"] == "validation"}
    assert len(scores) == 8
    expected = sorted(sorted(scores, key=lambda step: (-scores[step], step))[:3])
    assert [step_of(file) for file in kept_files(run, "best")] == expected


def test_a_checkpoint_that_a_kill_left_behind_is_not_among_the_best(pictures: Path, tmp_path: Path) -> None:
    """As after a kill between the file and the record of the last checkpoint, or before the one fallen out is deleted."""
    run = tmp_path / "run"
    train(config(pictures, run, keep_best=2, steps=4))
    files = kept_files(run, "best")
    (run / kept_file("best", 9)).write_bytes(files[0].read_bytes())
    assert kept_files(run, "best") == files
    assert len(load_members(run, ensemble="best")[0]) == 2


def test_periodic_checkpoints_and_an_ensembles_mean_output(pictures: Path, tmp_path: Path) -> None:
    """Reference: logits of each kept learner task by task, averaged, then the largest."""
    run = tmp_path / "run"
    train(config(pictures, run, keep_every=3, learning_rate=0.03))
    assert [step_of(file) for file in kept_files(run, "periodic")] == [3, 6]
    ask = Evaluate(run=str(run), ways=2, shots=[1], queries=3, tasks=15, ensemble="periodic")
    result = evaluate(ask)
    assert result["ensemble"] == {"rule": "periodic", "steps": [3, 6]}
    members, _, _ = load_members(run, ensemble="periodic")
    assert len(members) == 2
    test = open_pictures(str(pictures), size=16).split("test")
    sampler = EpisodeSampler(test.labels, 2, 1, 3, seed=0, stream="test")
    right, alone = [], []
    for t in range(15):
        episode = cut(test.pixels, sampler.tasks([t]))
        with torch.no_grad():
            each = [member.adapt(episode.support, 2)(episode.query.x) for member in members]
        right.append(float(((each[0] + each[1]) / 2).argmax(-1).eq(episode.query.y).float().mean()))
        alone.append(float(each[0].argmax(-1).eq(episode.query.y).float().mean()))
    assert result["rows"][0]["per_task"] == pytest.approx(right, abs=1e-5)
    assert right != alone
    files = sorted(path.name for path in (run / "results").iterdir())
    evaluate(replace(ask, ensemble="none"))
    assert len(list((run / "results").iterdir())) == len(files) + 1


def test_what_was_not_kept_is_named(pictures: Path, tmp_path: Path) -> None:
    train(config(pictures, tmp_path / "run", steps=1))
    with pytest.raises(FileFormatError, match="train it with --keep_best 5"):
        load_members(tmp_path / "run", ensemble="best")
    with pytest.raises(ConfigError, match="keep_best: nothing is validated"):
        train(config(pictures, tmp_path / "other", keep_best=2, with_val=True))


def test_classes_trained_on_are_not_tested_after_a_class_is_gone(pictures: Path, tmp_path: Path) -> None:
    """Without all of the run's classes the seeded rule would deal the rest out anew."""
    run = tmp_path / "run"
    train(config(pictures, run, steps=1))
    splits = json.loads((run / "config.json").read_text())["data"]["splits"]
    lost = splits["val"][0]
    shutil.rmtree(pictures / lost)
    own = tmp_path / "splits.json"
    own.write_text(json.dumps({"train": splits["train"][2:], "test": [*splits["test"], *splits["train"][:2]]}))
    ask = Evaluate(run=str(run), ways=2, shots=[1], queries=3, tasks=5, splits=str(own))
    with pytest.raises(ConfigError, match=r"were trained on.*no longer all classes"):
        evaluate(ask)
    own.write_text(json.dumps({"train": splits["train"], "test": splits["test"]}))
    assert evaluate(ask)["classes"] == splits["test"]


def test_training_with_the_validation_classes(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = train(config(pictures, run, with_val=True, steps=2, ways=10))  # 10 ways: only both splits together have them
    assert result.validation is None
    assert "training and validation classes" in json.loads((run / "config.json").read_text())["note"]
    with pytest.raises(ConfigError, match="were trained on"):
        evaluate(Evaluate(run=str(run), split="val", ways=2, shots=[1], queries=3, tasks=5))
    assert evaluate(Evaluate(run=str(run), ways=2, shots=[1], queries=3, tasks=5))["rows"]
    learner, _, _ = load_learner(run)
    assert learner.encoder.spec.size == 16
    with pytest.raises(DataError, match="has no validation classes"):
        train(replace(config(pictures, tmp_path / "b", with_val=True), data="digits"))

"""Evaluation of runs of gradient methods: modes side by side, numbers of steps, ensembles, other data, refusals."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.commands.evaluate import show
from modicum.configs import Compare, Evaluate, Train
from modicum.data.pictures import open_pictures
from modicum.episodes.cutting import cut
from modicum.episodes.sampler import EpisodeSampler
from modicum.errors import ConfigError
from modicum.evaluation.intervals import paired_interval
from modicum.training.comparison import compare
from modicum.training.evaluate import evaluate
from modicum.training.kept import kept_files
from modicum.training.regression_results import evaluate_regression
from modicum.training.runs import load_gradient_learner
from modicum.training.trainer import train

FEW = {
    "data": "digits", "backbone": "conv4-32", "ways": 3, "shots": 2, "queries": 3, "batch": 1, "steps": 8, "image_size": 16,
    "validate_every": 8, "validation_tasks": 2, "validation_ways": 2, "tensorboard": False, "learning_rate": 3e-3,
    "inner_steps": 2, "inner_rate": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of eight steps on digits: maml (two checkpoints kept), proto-maml, anil that sees other queries, protonet."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODICUM_CACHE", str(folder / "cache"))
        train(Train(out=str(folder / "maml"), method="maml", keep_every=4, **FEW))  # type: ignore[arg-type]
        train(Train(out=str(folder / "proto"), method="fo-proto-maml", **FEW))  # type: ignore[arg-type]
        train(Train(out=str(folder / "batch"), method="anil", batch_norm="batch", **FEW))  # type: ignore[arg-type]
        train(Train(out=str(folder / "protonet"), method="protonet", **FEW))  # type: ignore[arg-type]
        yield folder


def ask(run: Path, **changes: object) -> Evaluate:
    return Evaluate(**{"run": str(run), "ways": 3, "shots": [2], "queries": 4, "tasks": 8, **changes})  # type: ignore[arg-type]


def test_both_modes_stand_side_by_side_with_their_paired_difference(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows equal those of each mode alone; the difference is batch minus support, task by task."""
    found = evaluate(ask(runs / "maml", shots=[1, 2], batch_norm="both"))
    assert [(row["shots"], row["batch_norm"], row["transductive"]) for row in found["rows"]] == [
        (1, "support", False), (1, "batch", True), (2, "support", False), (2, "batch", True),
    ]  # fmt: skip
    for mode, rows in (("support", found["rows"][::2]), ("batch", found["rows"][1::2])):
        assert evaluate(ask(runs / "maml", shots=[1, 2], batch_norm=mode))["rows"] == rows
    for gap, first, later in zip(found["differences"], found["rows"][::2], found["rows"][1::2], strict=True):
        expected = paired_interval(np.array(later["per_task"]), np.array(first["per_task"]), "")
        assert (gap["first"], gap["later"], gap["shots"]) == ("support", "batch", first["shots"])
        assert (gap["difference"], gap["ci95"]) == pytest.approx((expected.mean, expected.ci95))
    assert (runs / "maml" / "results" / "digits-test-3way-1-2shot-maml-both.json").is_file()
    with np.load(runs / "maml" / "results" / "digits-test-3way-1-2shot-maml-both.npz") as beside:
        assert {"inner_losses", "distance_1shot", "distance_2shot"} <= set(beside.files)
    show(found)
    shown = capsys.readouterr().out
    assert "batch (transductive)" in shown
    assert f"batch minus support, 1 shots, on the same tasks: {100 * found['differences'][0]['difference']:+.2f} %" in shown


def test_the_run_s_own_mode_counts_where_none_is_asked_for(runs: Path) -> None:
    rows = [evaluate(ask(runs / name))["rows"][0] for name in ("maml", "batch")]
    assert [(row["batch_norm"], row["transductive"]) for row in rows] == [("support", False), ("batch", True)]


@pytest.mark.parametrize("steps", [1, 6])
def test_the_number_of_test_steps_can_be_another(runs: Path, steps: int) -> None:
    """Reference: each task by hand from the learner of the run, its batch norm in the mode running."""
    found = evaluate(ask(runs / "maml", inner_steps=steps, batch_norm="running"))["rows"][0]
    assert found["inner_steps"] == steps
    learner, _, record = load_gradient_learner(runs / "maml", "running")
    learner.test_steps = steps
    pictures = replace(open_pictures("digits", size=16), splits=record["data"]["splits"]).split("test")
    sampler = EpisodeSampler(pictures.labels, 3, 2, 4, seed=0, stream="test", names=pictures.classes)
    for t in range(8):
        episode = cut(pictures.pixels, sampler.tasks([t]))
        guess = learner.adapt(episode.support, 3)(episode.query.x).argmax(-1)
        assert found["per_task"][t] == pytest.approx(float((guess == episode.query.y).float().mean()), abs=1e-5)
    with np.load(runs / "maml" / "artifacts.npz") as arrays:
        assert arrays["inner_losses"].shape == (8, steps)
        assert arrays["inner_distance"].shape == (8,)


def test_the_number_of_steps_counts_for_regression_too(tmp_path: Path) -> None:
    """The errors after the first steps are those of fewer steps: a longer path begins like a shorter one."""
    train(Train(data="sinusoids", out=str(tmp_path), method="maml", backbone="mlp-20", steps=2, shots=5, tensorboard=False))
    asked = Evaluate(run=str(tmp_path), tasks=4, points=10)
    short, long = (evaluate_regression(replace(asked, inner_steps=steps))["rows"][0] for steps in (2, 4))
    assert (len(short["per_step"]), len(long["per_step"])) == (3, 5)
    assert [step["mse"] for step in short["per_step"]] == pytest.approx([step["mse"] for step in long["per_step"]][:3])
    assert len(list((tmp_path / "results").glob("*-2steps.json"))) == 1


def test_an_ensemble_takes_the_mean_of_its_checkpoints_outputs(runs: Path) -> None:
    found = evaluate(ask(runs / "maml", ensemble="periodic"))
    assert found["ensemble"] == {"rule": "periodic", "steps": [4, 8]}
    members = [load_gradient_learner(runs / "maml", None, file)[0] for file in kept_files(runs / "maml", "periodic")]
    pictures = replace(
        open_pictures("digits", size=16), splits=load_gradient_learner(runs / "maml")[2]["data"]["splits"]
    ).split("test")
    episode = cut(
        pictures.pixels, EpisodeSampler(pictures.labels, 3, 2, 4, seed=0, stream="test", names=pictures.classes).tasks([0])
    )
    mean = torch.stack([member.adapt(episode.support, 3)(episode.query.x) for member in members]).mean(0)
    right = float((mean.argmax(-1) == episode.query.y).float().mean())
    assert found["rows"][0]["per_task"][0] == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("maml", {"ways": 5}, r"ways: 5 asked for, but .* tasks of 3 classes .* --ways 3.* proto-maml.*--head protonet"),
        ("protonet", {"inner_steps": 3}, "inner_steps: protonet takes no inner steps"),
        ("maml", {"head": "ridge", "inner_steps": 3}, "inner_steps: ridge takes no inner steps"),
    ],
)
def test_what_a_run_cannot_do_is_refused_before_any_picture_is_read(
    runs: Path, name: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(replace(ask(runs / name, data="no-such-folder"), **changes))  # type: ignore[arg-type]


def test_prototypes_take_any_ways_and_a_head_serves_the_encoder(runs: Path) -> None:
    assert evaluate(ask(runs / "proto", ways=5))["rows"][0]["accuracy"] > 0.3
    ridge = evaluate(ask(runs / "maml", ways=5, head="ridge"))
    assert (ridge["head"], ridge["rows"][0]["accuracy"] > 0.3) == ("ridge", True)


def test_modes_of_a_head_stand_side_by_side_too_and_fine_tuning_takes_the_encoder(runs: Path) -> None:
    found = evaluate(ask(runs / "protonet", batch_norm="both"))
    assert [row["batch_norm"] for row in found["rows"]] == ["support", "batch"]
    assert found["differences"][0]["difference"] == pytest.approx(
        found["rows"][1]["accuracy"] - found["rows"][0]["accuracy"], abs=1e-6
    )
    assert evaluate(ask(runs / "maml", ways=4, head="fine-tune"))["rows"][0]["accuracy"] > 0.3


def test_gradient_runs_are_compared_by_their_own_learners(runs: Path) -> None:
    """On the tasks of `evaluate`, with its accuracies; features are the encoder's under running statistics."""
    options = {"ways": 3, "shots": [2], "queries": 4, "tasks": 8, "pictures": 60}
    found = compare(Compare([str(runs / name) for name in ("maml", "proto", "protonet")], **options))  # type: ignore[arg-type]
    for row, name in zip(found["rows"], ("maml", "proto", "protonet"), strict=True):
        alone = evaluate(ask(runs / name))["rows"][0]
        assert (row["per_task"], row["tasks_digest"]) == (alone["per_task"], alone["tasks_digest"])
    assert [model["head"] for model in found["models"]] == ["maml", "fo-proto-maml", "protonet"]
    itself = compare(Compare([str(runs / "maml")] * 2, **options))  # type: ignore[arg-type]
    assert np.array(itself["cka"]["linear"]) == pytest.approx(np.ones((2, 2)), abs=1e-6)
    with pytest.raises(ConfigError, match=r"ways: 4 asked for, but .*maml was trained on tasks of 3"):
        compare(Compare([str(runs / "maml"), "characters"], **{**options, "ways": 4}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sees the other queries"):
        compare(Compare([str(runs / "maml"), str(runs / "batch")], **options))  # type: ignore[arg-type]


def _table(path: Path, folder: Path, classes: int, pictures: int) -> Path:
    """A CSV of the first pictures of the first classes of a folder of class folders."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for group in sorted(part for part in folder.iterdir() if part.is_dir())[:classes]:
            writer.writerows([picture, group.name] for picture in sorted(group.iterdir())[:pictures])
    return path


def test_trained_on_cifar_tested_on_characters_and_on_clothing(test_data: Path, tmp_path: Path) -> None:
    """Grey characters are shown as three channels in the size of the run; five classes of clothes have too few pictures."""
    cifar = _table(tmp_path / "cifar.csv", test_data / "cifar100" / "test", 12, 12)
    names = sorted(part.name for part in (test_data / "cifar100" / "test").iterdir())[:12]
    (tmp_path / "splits.json").write_text(json.dumps({"train": names[:8], "test": names[8:]}))
    changes = {"image_size": 32, "steps": 4, "data": str(cifar), "splits": str(tmp_path / "splits.json")}
    run = tmp_path / "run"
    train(Train(out=str(run), method="alfa", **{**FEW, **changes}))  # type: ignore[arg-type]
    characters = test_data / "omniglot" / "images_evaluation" / "Atlantean"
    found = evaluate(ask(run, data=str(characters), split="all", batch_norm="both", tasks=4))
    assert [row["batch_norm"] for row in found["rows"]] == ["support", "batch"]
    assert (found["data"], len(found["classes"])) == ("Atlantean", 26)
    with np.load(run / "artifacts.npz") as arrays:
        assert arrays["query_pixels"].shape[1:] == (32, 32, 3)
        assert (arrays["query_pixels"][..., 0] == arrays["query_pixels"][..., 2]).all()
        assert arrays["inner_alpha"].shape == (4, 2, len(arrays["inner_layers"]))
    clothing = _table(tmp_path / "clothing.csv", test_data / "clothing", 6, 8)
    rare = sorted(part for part in (test_data / "clothing").iterdir() if part.is_dir())[6]
    with open(clothing, "a", newline="") as file:
        csv.writer(file).writerow([sorted(rare.iterdir())[0], rare.name])
    asked = ask(run, data=str(clothing), split="all", tasks=4)
    assert evaluate(replace(asked, drop_small=True))["rows"][0]["tasks"] == 4
    with pytest.raises(Exception, match=rare.name):
        evaluate(asked)

"""Comparing models: the same tasks and pictures for all, exact ties with itself, unfair comparisons refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modicum import cli
from modicum.configs import Compare, Evaluate, Train
from modicum.errors import ConfigError, DataError
from modicum.evaluation.intervals import paired_interval
from modicum.files import read_json
from modicum.reporting.page import write_report
from modicum.training.compared import short_names
from modicum.training.comparison import compare, even_pictures, map_pictures
from modicum.training.evaluate import evaluate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs on digits: protonet at 16 pixels in grey, r2d2 at 20 pixels in colour, a few steps each."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODICUM_CACHE", str(folder / "cache"))
        for name, method, size, channels in (("one", "protonet", 16, 1), ("two", "r2d2", 20, 3)):
            code = cli.main([
                "train", "--data", "digits", "--method", method, "--image_size", str(size), "--channels", str(channels),
                "--backbone", "conv4-32", "--ways", "3", "--shots", "1", "--queries", "3", "--steps", "8", "--batch", "2",
                "--no_tensorboard", "--out", str(folder / name),
            ])  # fmt: skip
            assert code == 0
        yield folder


def config(*models: Path | str, **changes: object) -> Compare:
    options = {"models": [str(m) for m in models], "ways": 3, "shots": [1], "queries": 5, "tasks": 20, "pictures": 100}
    return Compare(**{**options, **changes})  # type: ignore[arg-type]


def test_a_run_against_itself_differs_by_exactly_0_and_is_alike(runs: Path, tmp_path: Path) -> None:
    found = compare(config(runs / "one", runs / "one", out=str(tmp_path / "out")))
    (gap,) = found["differences"]
    assert (gap["difference"], gap["ci95"], gap["verdict"]) == (0, 0, "undecided")
    assert (gap["first"], gap["later"]) == ("one (1)", "one (2)")
    for name in ("linear", "debiased"):
        assert np.array(found["cka"][name]) == pytest.approx(np.ones((2, 2)), abs=1e-9)
    first, second = found["models"]
    assert first["separation"] == second["separation"]
    assert first["one_shot"] == second["one_shot"]
    with np.load(tmp_path / "out" / "artifacts.npz") as arrays:
        assert np.array_equal(arrays["lda_points_0"], arrays["lda_points_1"])
        assert len(arrays["lda_points_0"]) == len(arrays["lda_labels"]) == 300


def test_models_of_other_sizes_meet_the_tasks_that_evaluate_gives_them(runs: Path) -> None:
    found = compare(config(runs / "one", runs / "two", shots=[1, 2]))
    assert [(row["model"], row["shots"]) for row in found["rows"]] == [("one", 1), ("two", 1), ("one", 2), ("two", 2)]
    assert len({row["tasks_digest"] for row in found["rows"] if row["shots"] == 1}) == 1
    values = {}
    for name in ("one", "two"):
        alone = evaluate(Evaluate(run=str(runs / name), ways=3, shots=[1], queries=5, tasks=20))["rows"][0]
        (row,) = (row for row in found["rows"] if row["model"] == name and row["shots"] == 1)
        assert (row["per_task"], row["tasks_digest"]) == (alone["per_task"], alone["tasks_digest"])
        values[name] = alone["per_task"]
    expected = paired_interval(values["two"], values["one"], "")
    gap = found["differences"][0]
    assert (gap["difference"], gap["ci95"]) == pytest.approx((expected.mean, expected.ci95), abs=1e-6)
    ahead = "later" if gap["difference"] > 0 else "first"
    assert gap["verdict"] == ("undecided" if abs(gap["difference"]) <= gap["ci95"] else ahead)
    assert [(m["size"], m["channels"], m["head"]) for m in found["models"]] == [(16, 1, "protonet"), (20, 3, "r2d2")]


def test_an_encoder_is_tested_on_the_run_s_test_classes_with_the_asked_head(runs: Path) -> None:
    found = compare(config(runs / "one", "characters", head="ridge"))
    assert [model["head"] for model in found["models"]] == ["ridge", "ridge"]
    assert found["models"][1]["kind"] == "encoder"
    recorded = read_json(runs / "one" / "config.json")["data"]["splits"]["test"]
    assert found["classes"] == recorded
    assert compare(config(runs / "one", "characters"))["models"][1]["head"] == "protonet"


def test_classes_that_a_run_was_trained_on_are_refused(runs: Path, tmp_path: Path) -> None:
    splits = read_json(runs / "one" / "config.json")["data"]["splits"]
    swapped = tmp_path / "splits.json"
    swapped.write_text(json.dumps({"train": splits["test"], "test": splits["train"]}))
    with pytest.raises(ConfigError, match="were trained on"):
        compare(config("characters", runs / "one", data="digits", splits=str(swapped)))


def test_runs_with_other_splits_and_too_many_ways_are_refused(runs: Path, tmp_path: Path) -> None:
    assert cli.main([
        "train", "--data", "digits", "--image_size", "16", "--backbone", "conv4-32", "--ways", "3", "--shots", "1",
        "--queries", "3", "--steps", "1", "--no_tensorboard", "--out", str(tmp_path / "other"), "--splits", str(
            _splits(tmp_path, {"train": list("02468"), "test": list("13579")})),
    ]) == 0  # fmt: skip
    with pytest.raises(ConfigError, match="different splits; give one file"):
        compare(config(runs / "one", tmp_path / "other"))
    with pytest.raises(ConfigError, match="largest ways that works is 5"):
        compare(config(runs / "one", runs / "two", ways=7))


def _splits(folder: Path, splits: dict[str, list[str]]) -> Path:
    path = folder / "own.json"
    path.write_text(json.dumps(splits))
    return path


def test_other_refusals(runs: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2 to compare"):
        config(runs / "one")
    with pytest.raises(ConfigError, match="none of the models is a run"):
        compare(config("characters", "pictures"))
    with pytest.raises(ConfigError, match="encoder: expected"):
        compare(config(runs / "one", "no-such-model"))
    with pytest.raises(DataError, match="no split 'val'"):
        compare(config(runs / "one", runs / "two", split="val"))
    learner = config(runs / "one", runs / "two", batch_norm="batch")
    assert all(row["transductive"] for row in compare(learner)["rows"])


def test_only_some_transductive_is_refused(runs: Path, tmp_path: Path) -> None:
    record = read_json(runs / "one" / "config.json")
    known = Train(**record["config"])
    assert cli.main([
        "train", "--data", "digits", "--image_size", "16", "--backbone", known.backbone, "--ways", "3", "--shots", "1",
        "--queries", "3", "--steps", "1", "--no_tensorboard", "--batch_norm", "batch", "--out", str(tmp_path / "seeing"),
    ]) == 0  # fmt: skip
    with pytest.raises(ConfigError, match="seeing sees the other queries"):
        compare(config(runs / "one", tmp_path / "seeing"))


def test_pictures_of_the_figures_are_even_over_classes_and_drawn_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2, 3], [2, 40, 40, 1])
    index = even_pictures(labels, 23, seed=0)
    assert np.bincount(labels[index]).tolist() == [2, 10, 10, 1]
    assert (np.diff(index) > 0).all()
    assert np.array_equal(index, even_pictures(labels, 23, seed=0))
    assert not np.array_equal(index, even_pictures(labels, 23, seed=1))
    assert len(even_pictures(np.arange(50) // 2, 10, seed=0)) == 50  # two a class at least, or nothing has a spread
    mapped, classes = map_pictures(np.repeat(np.arange(5), [200, 3, 1, 150, 2]), seed=0)
    assert 2 not in classes.tolist()
    assert len(classes) == 3
    assert len(mapped) <= 300


def test_names_are_told_apart(tmp_path: Path) -> None:
    for name in ("x/run", "y/run", "z"):
        (tmp_path / name).mkdir(parents=True)
    given = [str(tmp_path / "x/run"), str(tmp_path / "y/run"), str(tmp_path / "z"), "timm/vit", "timm/vit"]
    assert short_names(given) == ["x/run", "y/run", "z", "timm/vit (1)", "timm/vit (2)"]
    assert short_names(["timm/vit@/private/w.safetensors"]) == ["timm/vit@w.safetensors"]


def test_command_prints_the_verdict_and_writes_a_page_that_report_makes_again(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = tmp_path / "comparison", tmp_path / "result.json"
    words = [
        "compare",
        str(runs / "one"),
        str(runs / "two"),
        "--ways",
        "3",
        "--shots",
        "1",
        "--tasks",
        "20",
        "--queries",
        "5",
    ]
    assert cli.main([*words, "--pictures", "100", "--out", str(out), "--json", str(result)]) == 0
    shown = capsys.readouterr().out
    assert "on the same tasks" in shown
    assert any(word in shown for word in ("undecided", "one better", "two better"))
    record = read_json(result)
    assert record == read_json(out / "compare.json")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{100 * record['differences'][0]['difference']:+.2f}" in page
    assert cli.main(["report", str(out), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page
    with pytest.raises(ConfigError, match="a page of its own"):
        write_report([out, runs / "one"], tmp_path / "mixed.html")

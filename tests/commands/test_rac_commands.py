"""`modicum train --method rac`, `evaluate` and `predict` as a user meets them, and memories edited after training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modicum.cli import main
from modicum.commands.parsing import parse
from modicum.configs import supervised
from modicum.data.pictures import open_pictures
from modicum.files import sha256


def write_digits(folder: Path, classes: str, each: int, first: int = 0) -> Path:
    """Handwritten digits as files: `each` of every class, from the first-th on."""
    pictures = open_pictures("digits", size=32)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for row in np.flatnonzero(pictures.labels == int(name))[first : first + each]:
            Image.fromarray(pictures.pixels[row][..., 0]).convert("RGB").save(folder / name / f"{row}.png")
    return folder


FEW = (
    "--backbone conv4-32 --encoder pixels --steps 25 --validate_every 25 --batch_pictures 24 --neighbours 5 --no_tensorboard"
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with pictures/ of four digits, and new/ of the same ones, which nothing was trained on."""
    monkeypatch.chdir(tmp_path)
    write_digits(tmp_path / "pictures", "0123", 30)
    write_digits(tmp_path / "new", "0123", 6, first=30)
    return tmp_path


@pytest.fixture
def run(work: Path) -> Path:
    modicum(f"train --method rac --data pictures --out run {FEW}")
    return work / "run"


def modicum(line: str, code: int = 0) -> None:
    assert main(line.split()) == code


def predictions(more: str = "") -> list[dict[str, Any]]:
    """What `predict run new` answers, as its JSON has it."""
    modicum(f"predict run new --neighbours 5 --top 4 --json predictions.json {more}")
    rows: list[dict[str, Any]] = json.loads(Path("predictions.json").read_text())["rows"]
    return rows


def test_a_folder_is_enough(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No other option: defaults of rac, a memory of the training pictures, the shipped encoder. Only steps are cut here."""
    monkeypatch.setattr(supervised, "FEWEST_STEPS", 4)
    monkeypatch.setattr(supervised, "EPOCHS", 2)
    modicum("train --method rac --data pictures/ --out run")
    shown = capsys.readouterr().out
    assert "pictures of 4 classes: 88 train, 8 validation, 24 test" in shown
    assert "memory: 88 items; pre-training of its encoder pictures: CIFAR-100" in shown
    assert shown.splitlines()[-1] == "next: modicum evaluate run"
    trained = json.loads(Path("run/config.json").read_text())["config"]
    assert [trained[name] for name in ("optimizer", "loss", "branches", "steps", "batch_pictures", "neighbours")] == [
        "adamw", "lace", "both", 4, 88, 30,
    ]  # fmt: skip
    modicum("evaluate run")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["base", "retrieval", "both"]
    assert any(line.startswith("pre-training of the memory's encoder: pictures") for line in lines)


def test_editing_the_memory_changes_predictions_and_back_without_touching_weights(run: Path) -> None:
    """Add a source, relabel it, remove it: predictions move and come back to the bit; no file of weights is written."""
    weights = {path: sha256(path) for path in run.rglob("*.safetensors")}
    assert len(weights) == 4  # last, best, the base branch's encoder and the memory's
    before = predictions()
    modicum("memory add run/memory new --source later")
    added = predictions()
    assert added != before
    first = [row["neighbours"][0] for row in added]
    assert {item["source"] for item in first} == {"later"}  # the pictures asked about are there now
    assert all(item["similarity"] == pytest.approx(1) for item in first)
    assert all(Path(row["image"]).parent.name == item["label"] for row, item in zip(added, first, strict=True))
    modicum("memory relabel run/memory --source later --label 3")
    relabelled = predictions()
    assert all(row["neighbours"][0]["label"] == "3" for row in relabelled)
    moved = [(a["score"], a["top"]) != (b["score"], b["top"]) for a, b in zip(added, relabelled, strict=True)]
    assert any(moved)
    modicum("memory remove run/memory --source later")
    assert predictions() == before
    assert {path: sha256(path) for path in run.rglob("*.safetensors")} == weights


def test_evaluation_of_an_edited_memory_comes_back_to_the_bit(run: Path) -> None:
    def rows() -> list[dict[str, Any]]:
        modicum("evaluate run --votes --json result.json")
        found: list[dict[str, Any]] = json.loads(Path("result.json").read_text())["rows"]
        return found

    before = rows()
    modicum("memory add run/memory new --source later")
    modicum("memory relabel run/memory --source later --label 0")
    added = rows()
    assert [row["branch"] for row in added] == [row["branch"] for row in before]
    assert added[0] == before[0]  # the base branch reads no memory
    assert added[1] != before[1] or added[4] != before[4]
    modicum("memory remove run/memory --source later")
    assert rows() == before


def test_a_class_forgotten_from_the_memory_is_retrieved_no_more(run: Path) -> None:
    modicum("memory list run/memory --label 2 --json items.json")
    ids = [str(item["id"]) for item in json.loads(Path("items.json").read_text())["items"]]
    modicum(f"memory remove run/memory {' '.join(ids)}")
    assert all(item["label"] != "2" for row in predictions() for item in row["neighbours"])


def test_a_prediction_depends_on_the_picture_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty-four pictures, and each of some alone: the same to the bit."""
    together = {row["image"]: row for row in predictions()}
    assert len(together) == 24
    right = [row["label"] == Path(image).parent.name for image, row in together.items()]
    assert np.mean(right) > 0.7
    for image in list(together)[5:24:6]:
        modicum(f"predict run {image} --neighbours 5 --top 4 --json alone.json")
        assert json.loads(Path("alone.json").read_text())["rows"] == [together[image]]
    row = together[image]
    assert set(row["branches"]) == {"base", "retrieval", "both"}
    assert row["branches"]["both"] == row["label"] == row["top"][0]["label"]
    assert sum(label["score"] for label in row["top"]) == pytest.approx(1)
    assert [item["similarity"] for item in row["neighbours"]] == sorted(
        (item["similarity"] for item in row["neighbours"]), reverse=True
    )
    shown = capsys.readouterr().out
    assert "retrieved" in shown
    assert "scores only rank: they are not calibrated" in shown


def test_predict_names_broken_pictures_and_refuses_what_a_run_cannot(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    modicum("predict run broken.png new/0 --json found.json", 1)
    found = json.loads(Path("found.json").read_text())
    assert len(found["rows"]) == 6
    assert found["problems"][0]["image"] == "broken.png"
    assert "cannot predict: broken.png" in capsys.readouterr().err
    modicum("predict run new --reject 0.05", 2)
    assert "a run of rac rejects nothing" in capsys.readouterr().err
    modicum("memory create other --encoder pixels")
    modicum("predict run new --memory other", 2)
    assert "other is empty" in capsys.readouterr().err
    modicum("memory add other new")
    modicum("predict run new --memory other --json found.json")
    items = [item for row in json.loads(Path("found.json").read_text())["rows"] for item in row["neighbours"]]
    assert {item["source"] for item in items} == {"new"}


def test_too_small_a_memory_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modicum("memory list run/memory --json items.json")
    ids = [str(item["id"]) for item in json.loads(Path("items.json").read_text())["items"]]
    modicum(f"memory remove run/memory {' '.join(ids[4:])}")
    modicum("predict run new", 2)
    assert "5 asked for, but the memory has 4 items" in capsys.readouterr().err
    modicum(f"memory remove run/memory {' '.join(ids[:4])}")
    modicum("evaluate run", 2)
    assert "run/memory is empty; add pictures to it first" in capsys.readouterr().err


def test_print_config_leaves_open_what_depends_on_the_method(work: Path) -> None:
    """Fed back, options that nobody gave are those of the method, given ones are as given."""
    text = parse("train", ["--method", "rac", "--learning_rate", "0.5", "--print_config"]).text
    assert "\n# optimizer: " in text
    assert "\nlearning_rate: 0.5 " in text
    Path("rac.yaml").write_text(text)
    config = parse("train", ["--config", "rac.yaml", "--data", "d", "--out", "o"]).config
    assert (config.optimizer, config.learning_rate, config.schedule) == ("adamw", 0.5, "cosine-warm")

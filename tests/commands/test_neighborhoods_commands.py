"""`modicum train --method meta-neighborhoods`, `evaluate`, `predict` and what else reads such a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modicum.cli import main
from modicum.data.pictures import open_pictures

FEW = (
    "--method meta-neighborhoods --backbone conv4-32 --entries 40 --steps 40 --validate_every 40 --batch_pictures 24 "
    "--no_tensorboard"
)


def modicum(line: str, code: int = 0) -> None:
    assert main(line.split()) == code


def write_digits(folder: Path, classes: str, each: int, first: int = 0) -> None:
    """Handwritten digits as files: `each` of every class, from the first-th on."""
    pictures = open_pictures("digits", size=16)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for row in np.flatnonzero(pictures.labels == int(name))[first : first + each]:
            Image.fromarray(pictures.pixels[row][..., 0]).save(folder / name / f"{row}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures/ of four digits, new/ of the same ones, a run on pictures/ and one of its k-NN baseline."""
    folder = tmp_path_factory.mktemp("work")
    write_digits(folder / "pictures", "0123", 30)
    write_digits(folder / "new", "0123", 3, first=30)
    common = f"train --data {folder}/pictures --image_size 16 --channels 1 --threads 1"
    modicum(f"{common} --out {folder}/run {FEW} --inner_steps 2 --inner_rates diagonal")
    modicum(f"{common} --out {folder}/knn {FEW.replace('--entries 40', '--baseline knn --neighbours 3')}")
    return folder


@pytest.fixture(autouse=True)
def inside(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)


def test_train_says_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    modicum(f"train --data pictures --image_size 16 --out again --threads 1 {FEW.replace('40', '2')} --learn_temperature")
    shown = capsys.readouterr().out
    assert "pictures of 4 classes: 88 train, 8 validation, 24 test" in shown
    assert "of the encoder conv4-32" in shown
    assert "dictionary: 2 entries, T 0.2 (learned)" in shown
    assert re.search(r"inner steps: 1, at a rate of 0\.0\d+ \(learned, from 0\.05\)", shown)
    assert "best balanced validation accuracy" in shown
    assert shown.splitlines()[-1] == "next: modicum evaluate again"


def test_what_baselines_and_early_ends_are_called(capsys: pytest.CaptureFixture[str]) -> None:
    common = (
        "train --data pictures --image_size 16 --threads 1 --method meta-neighborhoods --backbone conv4-32 --no_tensorboard"
    )
    modicum(f"{common} --baseline parameters --entries 4 --steps 2 --out wide")
    modicum("evaluate wide")
    assert "vanilla + parameters  " in capsys.readouterr().out
    modicum("predict wide new/0")
    assert re.search(r"other labels\s*\n", capsys.readouterr().out)
    modicum("predict wide nowhere.png", 1)
    shown = capsys.readouterr()
    assert "nowhere.png" in shown.err
    assert "scores" not in shown.out
    modicum(f"{common} --entries 4 --steps 40 --validate_every 1 --patience 2 --learning_rate 1e-9 --out early")
    assert re.search(
        r"run: early \(\d steps of 40; the last 2 validations brought nothing better\)", capsys.readouterr().out
    )
    modicum(f"{common} --entries 3 --entry_values one-hot --steps 1 --out few", 2)
    assert "entries: 3 with --entry_values one-hot leave classes without one; expected at least 4" in capsys.readouterr().err


def test_evaluate_shows_rows_and_their_difference(capsys: pytest.CaptureFixture[str]) -> None:
    modicum("evaluate run --json result.json")
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[2:6]] == ["before", "step-1", "step-2", "adapted"]
    assert "adapted minus before" in shown
    assert "inner steps: 2 on 40 entries, T 0.2" in shown
    assert "(learned, diagonal)" in shown
    rows = json.loads(Path("result.json").read_text())["rows"]
    assert rows[-1]["accuracy"] > 0.5
    modicum("evaluate knn")
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[2:4]] == ["vanilla", "knn"]
    assert "knn: votes of 3 training pictures, by cosines of features" in shown
    modicum("evaluate run --ways 3", 2)
    assert "ways: about few-shot tasks" in capsys.readouterr().err


def test_predict_tells_labels_and_what_was_attended_to(capsys: pytest.CaptureFixture[str]) -> None:
    """One picture alone gets what it gets among others, to the bit; broken files are named and the rest is predicted."""
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    modicum("predict run broken.png new --neighbours 4 --top 4 --json found.json", 1)
    assert "cannot predict: broken.png" in capsys.readouterr().err
    found = json.loads(Path("found.json").read_text())
    assert len(found["rows"]) == 12
    assert np.mean([Path(row["image"]).parent.name == row["label"] for row in found["rows"]]) > 0.5
    row = found["rows"][7]
    assert sum(label["score"] for label in row["top"]) == pytest.approx(1)
    assert row["before"] in "0123"
    weights = [entry["weight"] for entry in row["entries"]]
    assert len(weights) == 4
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 1 / 40
    modicum(f"predict run {row['image']} --neighbours 4 --top 4 --json alone.json")
    assert json.loads(Path("alone.json").read_text())["rows"] == [row]
    assert "scores only rank" in capsys.readouterr().out
    modicum("predict knn new --json voted.json")
    voted = json.loads(Path("voted.json").read_text())["rows"]
    assert {round(3 * row["score"]) for row in voted} <= {1, 2, 3}
    for row in voted:
        assert [near["label"] for near in row["neighbours"]].count(row["label"]) == round(3 * row["score"])
    modicum("predict run new --reject 0.05", 2)
    assert "reject: not for a run of meta-neighborhoods" in capsys.readouterr().err


def test_the_encoder_of_a_run_serves_fit_adapt_and_compare() -> None:
    modicum("fit new --encoder run --head protonet --out fitted --json fitted.json")
    modicum("adapt run --support new --head protonet --out adapted --json adapted.json")
    for name in ("fitted", "adapted"):
        assert json.loads(Path(f"{name}.json").read_text())["rows"][0]["balanced_accuracy"] > 0.5
    modicum("compare run knn --data pictures --split all --ways 2 --shots 1 --queries 3 --tasks 5 --json compared.json")
    assert len(json.loads(Path("compared.json").read_text())["models"]) == 2

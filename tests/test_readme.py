"""The README's commands on real data, copied from it; only the numbers of steps and tasks are smaller here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_diabetes

from modicum.cli import main

README = Path(__file__).parents[1] / "README.md"
SMALLER = {
    "demo": ["--steps", "3"],
    "train": ["--steps", "3", "--validate_every", "3", "--validation_tasks", "3", "--no_tensorboard"],
    "evaluate": ["--tasks", "20"],
    "fit": ["--folds", "2"],
}


def block_below(heading: str) -> list[str]:
    section = README.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(r"^```sh\n(.*?)^```", section, re.M | re.S)
    assert found, heading
    return found[1].splitlines()


@pytest.mark.slow
def test_meta_training_on_omniglot_cifar_fs_and_clothing(test_data, tmp_path, monkeypatch, capsys):
    """Every command ends with code 0 and leaves what it says; `evaluate` gives a row per number of shots."""
    monkeypatch.chdir(tmp_path)
    places = {
        "DATA": str(test_data),
        "clothing.csv": str(test_data / "clothing" / "clothing.csv"),
        "pictures": str(test_data / "omniglot" / "images_evaluation" / "Atlantean"),
    }
    done = []
    for line in block_below("Meta-training"):
        words = [places.get(word, word) for word in shlex.split(line)][1:]
        assert main([*words, *SMALLER.get(words[0], [])]) == 0, (line, capsys.readouterr().err)
        done.append(words[0])
    assert set(done) >= {"demo", "train", "evaluate", "fit", "adapt", "report", "reproduce"}
    rows = json.loads((tmp_path / "cifar.json").read_text())["rows"]
    assert [(row["ways"], row["shots"], row["tasks"]) for row in rows] == [(5, 1, 20), (5, 5, 20)]
    assert rows[1]["accuracy"] > 0.25  # three steps: better than chance, no more is claimed
    assert (tmp_path / "comparison.html").stat().st_size > 10_000
    results = json.loads((tmp_path / "clothing-classifier" / "results.json").read_text())
    assert results["rows"][0]["balanced_accuracy"] > 0.2  # some twenty classes, chance 0.05


def some_clothes(test_data: Path, folder: Path) -> None:
    """`pictures` of three unequal classes and `new/one.png`, as the README calls them, in a folder."""
    for name, count in (("Shoes", 40), ("Hat", 12), ("Skirt", 6)):
        (folder / "pictures" / name).mkdir(parents=True)
        for path in sorted((test_data / "clothing" / name).iterdir())[:count]:
            shutil.copy(path, folder / "pictures" / name / path.name)
    (folder / "new").mkdir()
    Image.open(next((folder / "pictures" / "Hat").iterdir())).convert("RGB").save(folder / "new" / "one.png")


@pytest.mark.slow
def test_a_memory_and_long_tails_on_clothing(test_data, tmp_path, monkeypatch, capsys):
    """Every command ends with code 0; what is searched for is found, and a prediction names what it retrieved."""
    monkeypatch.chdir(tmp_path)
    some_clothes(test_data, tmp_path)
    printed = {}
    for line in block_below("A memory, and long tails"):
        words = shlex.split(line)[1:]
        smaller = ["--steps", "5", "--backbone", "conv4-32"] if words[0] == "train" else []
        assert main([*words, *smaller]) == 0, (line, capsys.readouterr().err)
        printed[" ".join(words[:2])] = capsys.readouterr().out
    assert "Hat" in printed["memory search"]
    assert "retrieved" in printed["predict rac-run"]
    assert (tmp_path / "rac.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_dictionary_that_adapts_on_clothing_and_a_table(test_data, tmp_path, monkeypatch, capsys):
    """Every command ends with code 0; adaptation has a row of its own, a table is predicted better than by its mean."""
    monkeypatch.chdir(tmp_path)
    some_clothes(test_data, tmp_path)
    x, y = load_diabetes(return_X_y=True)
    header = ",".join([*(f"x{i}" for i in range(x.shape[1])), "progression"])
    np.savetxt(tmp_path / "wine.csv", np.column_stack([x, y]), delimiter=",", header=header, comments="")
    printed = {}
    for line in block_below("A dictionary that adapts"):
        words = shlex.split(line)[1:]
        pictures = words[0] == "train" and "pictures" in words
        assert main([*words, *(["--steps", "5"] if pictures else [])]) == 0, (line, capsys.readouterr().err)
        printed[" ".join(words[:2])] = capsys.readouterr().out
    assert "adapted" in printed["evaluate mn-run"]
    assert (tmp_path / "neighborhoods.html").stat().st_size > 10_000
    (result,) = (tmp_path / "wine-run" / "results").glob("*.json")
    adapted = next(row for row in json.loads(result.read_text())["rows"] if row["branch"] == "adapted")
    assert adapted["rmse"] < y.std()


@pytest.mark.slow
def test_a_network_of_few_bits_on_clothing(test_data, tmp_path, monkeypatch, capsys):
    """Every command ends with code 0; the file is smaller than the weights, and predicts."""
    monkeypatch.chdir(tmp_path)
    some_clothes(test_data, tmp_path)
    fewer = {
        "train": ["--steps", "5", "--backbone", "conv4-32"],
        "quantize": ["--pretrain_steps", "2", "--warmup_steps", "2", "--steps", "2", "--calibration", "40"],
    }
    printed = {}
    for line in block_below("A network of few bits"):
        words = shlex.split(line)[1:]
        assert main([*words, *fewer.get(words[0], [])]) == 0, (line, capsys.readouterr().err)
        printed[" ".join(words[:2])] = capsys.readouterr().out
    assert "overflow" in printed["quantize float-run"]
    assert "one.png" in printed["predict small-classifier"]
    assert (tmp_path / "small.html").stat().st_size > 10_000
    network = (tmp_path / "small.network").stat().st_size
    assert network < (tmp_path / "float-run" / "encoder" / "model.safetensors").stat().st_size / 6

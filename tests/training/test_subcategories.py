"""Sub-category discovery: nearest pictures against slow loops, matching of finer labels, votes against scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from modicum.configs import Evaluate, Train
from modicum.data.picture_set import PictureSet
from modicum.errors import ConfigError, DataError
from modicum.training.evaluate import evaluate
from modicum.training.neighborhoods import subcategories
from modicum.training.neighborhoods.runs import load_neighborhoods
from modicum.training.neighborhoods.scoring import score_pictures
from modicum.training.neighborhoods.subcategories import finer_labels, measure, nearest, vectors_of
from modicum.training.supervised_tests import parts_of
from modicum.training.supervised_tests import tested_pictures as opened
from modicum.training.trainer import train

CPU = torch.device("cpu")


def pictures(ids: str, digests: str, labels: list[int], classes: str = "ab") -> PictureSet:
    """One picture for each letter of ids, with the letters of digests as contents."""
    pixels = np.zeros((len(ids), 2, 2, 1), np.uint8)
    return PictureSet(pixels, np.array(labels), tuple(classes), tuple(ids), tuple(digests), name="pets")


def test_finer_labels_by_name_else_by_content() -> None:
    """p is there by name; q has another content under its name, and its own content under another name; r is renamed."""
    coarse = pictures("pqr", "123", [0, 0, 1])
    fine = pictures("pqxy", "1923", [0, 1, 2, 3], "abcd")
    assert finer_labels(coarse, np.array([0, 1, 2]), fine).tolist() == [0, 2, 3]
    assert finer_labels(coarse, np.array([2, 0]), fine).tolist() == [3, 0]
    same = replace(coarse, digests=())
    assert finer_labels(same, np.array([1]), fine).tolist() == [1]  # nothing is known of contents


def test_pictures_without_finer_labels_are_an_error() -> None:
    coarse = pictures("pq", "12", [0, 1])
    with pytest.raises(DataError, match="fine: 1 of 2 pictures of pets are not in pets, neither by name nor"):
        finer_labels(coarse, np.array([0, 1]), pictures("p", "1", [0]))
    with pytest.raises(DataError, match="q has the content of pictures of several classes: a, b"):
        finer_labels(coarse, np.array([0, 1]), pictures("pxy", "122", [0, 0, 1]))


def test_nearest_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 3 and 4 against one matrix; similarities fall; no more pictures than there are."""
    rng = np.random.default_rng(0)
    asked, given = torch.from_numpy(rng.normal(size=(7, 5))), torch.from_numpy(rng.normal(size=(11, 5)))

    def unit(z: torch.Tensor) -> torch.Tensor:
        """z over its length."""
        return z / z.norm(dim=-1, keepdim=True)

    cosines = (unit(asked) @ unit(given).mT).numpy()
    monkeypatch.setattr(subcategories, "ASKED", 3)
    monkeypatch.setattr(subcategories, "GIVEN", 4)
    near, similarity = nearest(asked, given, unit, 6, CPU)
    assert near.tolist() == np.argsort(-cosines, axis=1)[:, :6].tolist()
    assert similarity == pytest.approx(-np.sort(-cosines, axis=1)[:, :6])
    assert nearest(asked, given[:2], unit, 6, CPU)[0].shape == (7, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(Train(
        data="digits", out=str(folder), method="meta-neighborhoods", backbone="conv4-32", image_size=16, batch_pictures=16,
        steps=8, validate_every=8, entries=40, tensorboard=False, threads=1,
    ))  # fmt: skip
    return folder


def test_votes_are_those_of_scikit_learn(run: Path) -> None:
    """Finer labels: each digit in two, by whether a picture's number is even; 1-NN on every vector by brute force."""
    loaded = load_neighborhoods(run)
    tested = opened(loaded, "test", None, None, None, None)
    whole = tested.pictures
    halves = tuple(f"{name}{half}" for name in whole.classes for half in "ab")
    fine = replace(whole, labels=whole.labels * 2 + np.arange(len(whole)) % 2, classes=halves, name="halves")
    found = measure(Evaluate(run=str(run), device="cpu"), loaded, tested, fine)
    train_rows = parts_of(loaded, whole).train
    z = [score_pictures(loaded.network, whole.pixels, rows, CPU).features for rows in (train_rows, tested.rows)]
    w = [loaded.network.attention(part).detach().double().numpy() for part in z]
    vectors = {"features": [part.numpy() for part in z], "attention": w, "attention-root": [np.sqrt(part) for part in w]}
    right = {}
    for name, (given, asked) in vectors.items():
        nn = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(given, fine.labels[train_rows])
        right[name] = nn.predict(asked) == fine.labels[tested.rows]
        (row,) = [row for row in found["rows"] if row["vector"] == name and row["neighbours"] == 1]
        assert row["fine"]["accuracy"] == pytest.approx(right[name].mean(), abs=1e-9 if name == "features" else 2 / 359)
    assert list(vectors_of(loaded.network)) == list(vectors)
    gaps = [gap for gap in found["differences"] if gap["later"] == "attention" and gap["neighbours"] == 1]
    (gap,) = [gap for gap in gaps if gap["labels"] == "fine"]
    rows = {(row["vector"], row["neighbours"]): row["fine"]["accuracy"] for row in found["rows"]}
    assert gap["difference"] == pytest.approx(rows["attention", 1] - rows["features", 1])
    assert (found["classes"], found["fine_classes"], found["usual"]) == (10, 20, 30)
    assert (found["pictures"], found["voters"]) == (359, len(train_rows))


def test_evaluate_takes_finer_labels(run: Path) -> None:
    """Digits as its own finer labels: both columns are equal; the file holds what is returned."""
    found = evaluate(Evaluate(run=str(run), fine="digits", neighbours=7))
    assert [(row["vector"], row["neighbours"]) for row in found["rows"]] == [
        ("features", 7), ("attention", 7), ("attention-root", 7)
    ]  # fmt: skip
    assert all(row["fine"] == row["coarse"] for row in found["rows"])
    assert found["usual"] == 7
    written = json.loads((run / "results" / "digits-test-fine-digits-7neighbours.json").read_text())
    assert written == {**found, "schema": written["schema"]}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data": "digits"}, "data: has no meaning beside --fine"),
        ({"split": "train"}, "split: training pictures vote"),
        ({"neighbours": 5_000}, "neighbours: 5000 asked for, but 1295 training pictures vote"),
        ({"tasks": 5}, "tasks: about few-shot tasks"),
    ],
)
def test_options_that_do_not_fit_are_named(run: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        evaluate(Evaluate(run=str(run), fine="digits", **changes))  # type: ignore[arg-type]

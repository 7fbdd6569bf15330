"""`modicum fit` on photographs, grouped by who sent them, with the encoder that ships."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from modicum.classifiers.results import result_row
from modicum.classifiers.seen import units_of
from modicum.classifiers.storage import load_classifier, load_encoder_of
from modicum.cli import main

CLASSES = ("Dress", "Hat", "Pants", "Shoes")


@pytest.fixture(scope="module")
def clothing(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier of 60 pictures of each of four classes, fitted by the command, with its JSON beside it."""
    top = tmp_path_factory.mktemp("clothing")
    taken: Counter[str] = Counter()
    with open(test_data / "clothing" / "clothing.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] in CLASSES]
    with open(top / "some.csv", "w", newline="") as out:
        writer = csv.DictWriter(out, ["path", "class", "sender"])
        writer.writeheader()
        for row in rows:
            taken[row["class"]] += 1
            if taken[row["class"]] <= 60:
                writer.writerow({**row, "path": str(test_data / "clothing" / row["path"])})
    words = ["fit", str(top / "some.csv"), "--out", str(top / "classifier"), "--group", "sender", "--head", "ridge"]
    assert main([*words, "--json", str(top / "fit.json"), "--folds", "3"]) == 0
    return top


def test_shipped_encoder_tells_clothes_apart(clothing: Path) -> None:
    row = json.loads((clothing / "fit.json").read_text())["rows"][0]
    assert row["encoder"] == "pictures"  # the automatic choice
    lower, upper = row["interval"]
    assert 0.25 < lower < row["balanced_accuracy"] < upper
    assert row["interval_over"].startswith("new groups of pictures of these 4 classes")
    assert row["calibrated"]
    assert row["ece"] < 0.15
    assert row == result_row(load_classifier(clothing / "classifier"))


def test_no_sender_stands_on_both_sides(clothing: Path) -> None:
    classifier = load_classifier(clothing / "classifier")
    units = units_of(classifier.support)
    senders = np.array([str(group) for group in classifier.support.groups])
    assert len(set(senders)) > 20
    assert all(len(set(units[senders == sender])) == 1 for sender in set(senders))


def test_a_file_is_predicted_as_its_stored_embedding(clothing: Path, test_data: Path) -> None:
    """The prediction of a file is that of the stored embedding of the same file, to the bit."""
    from modicum.classifiers.predicting import predict_files

    classifier = load_classifier(clothing / "classifier")
    encoder = load_encoder_of(clothing / "classifier", classifier)
    path = classifier.support.ids[7]
    file = path if Path(path).is_absolute() else str(test_data / "clothing" / path)
    ((_, answer),) = predict_files(classifier, encoder, [file]).rows
    assert answer == classifier.predict(classifier.support.features[7:8])[0]

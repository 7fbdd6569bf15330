"""adapt, predict, extend, forget and fit with runs of gradient methods, on real handwriting."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from modicum.classifiers.storage import load_classifier, load_encoder_of
from modicum.cli import main
from modicum.data.pictures import open_pictures
from modicum.episodes.cutting import gather
from modicum.episodes.types import LabelledSet
from modicum.models import embed, fingerprint, load_encoder
from modicum.training.runs import load_gradient_learner

TRAIN = (
    "train --data digits --ways 3 --shots 2 --queries 3 --batch 1 --backbone conv4-32 --steps 5 --validate_every 5 "
    "--validation_tasks 2 --validation_ways 2 --no_tensorboard --threads 1 --image_size 16 --inner_rate 0.1 --inner_steps 3"
)


def write_pictures(folder: Path, digits: dict[int, range]) -> None:
    bunch = load_digits()
    for digit, numbers in digits.items():
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            pixels = (bunch.images[bunch.target == digit][number] * 15.9).astype(np.uint8)
            Image.fromarray(pixels).resize((16, 16), Image.Resampling.NEAREST).save(folder / str(digit) / f"{number}.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of maml, of fo-proto-maml, and of maml in the mode batch; pictures of three digits, of others, and new ones."""
    folder = tmp_path_factory.mktemp("adapt")
    write_pictures(folder / "pictures", {0: range(8), 1: range(8), 2: range(8)})
    write_pictures(folder / "more", {3: range(6), 0: range(8, 12)})
    write_pictures(folder / "new", {0: range(14, 18), 1: range(14, 18)})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MODICUM_CACHE", str(folder / "cache"))
        for name, more in (("maml", ""), ("fo-proto-maml", ""), ("maml", " --batch_norm batch")):
            out = "run-batch" if more else f"run-{name}"
            assert main(f"{TRAIN} --method {name} --out {out}{more}".split()) == 0
        assert main(["adapt", "run-maml", "--support", "pictures", "--out", "adapted", "--json", "adapted.json"]) == 0
        yield folder


def row(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())["rows"][0]
    return found


def test_adapt_makes_a_classifier_that_predicts_without_the_run(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run is out of reach; logits of the folder's files are those of the run's network adapted to the pictures."""
    pictures = open_pictures("pictures", size=16, channels=1)
    learner = load_gradient_learner("run-maml")[0]
    support = LabelledSet(gather(pictures.pixels, np.arange(24)), torch.from_numpy(pictures.labels))
    network, new = learner.adapt(support, 3), open_pictures("new", size=16, channels=1)
    expected = network(gather(new.pixels, np.arange(len(new)))).numpy()
    (work / "run-maml").rename(work / "away")
    try:
        classifier = load_classifier("adapted")
        logits = classifier.rule.logits(embed(load_encoder_of("adapted", classifier), new.pixels))
        assert main(["predict", "adapted", "new", "--json", "new.json"]) == 0
        assert main(["report", "adapted", "--out", "page.html"]) == 0
    finally:
        (work / "away").rename(work / "run-maml")
    assert logits == pytest.approx(expected, abs=1e-4)
    found = json.loads((work / "new.json").read_text())["rows"]
    assert [line["label"] for line in found] == [str(label) for label in expected.argmax(1)]
    told = row(work / "adapted.json")
    assert (told["head"], told["encoder_saw"], told["folds"]) == ("maml", 24, 5)
    assert told["measured"] == "adapted anew for each fold, without the pictures held out"
    assert 0.5 < float(told["balanced_accuracy"]) <= 1  # type: ignore[arg-type]
    page = (work / "page.html").read_text()
    assert "took gradient steps on 24 of your pictures" in page
    assert "stays as it is" not in page


def test_extend_says_what_it_measured_on_and_forget_is_refused_with_nothing_lost(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extend", "adapted", "more", "--out", "wider", "--json", "wider.json"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "on the 10 pictures that the encoder was not adapted to; it has seen the other 24" in shown
    assert "or none that the encoder has not seen" in shown
    told = row(work / "wider.json")
    assert (told["classes"], told["not_measurable"], told["calibrated"]) == (4, ["1", "2"], False)
    before, wider = load_classifier("adapted"), load_classifier("wider")
    assert wider.encoder == before.encoder
    assert fingerprint(load_encoder_of("wider", wider)) == before.encoder.fingerprint
    files = {path: path.read_bytes() for path in Path("wider").rglob("*") if path.is_file()}
    assert main(["forget", "wider", "--class", "0"]) == 2
    assert re.search(r"adapted to 8 of these pictures .*nothing was forgotten.* Adapt anew", capsys.readouterr().err)
    assert files == {path: path.read_bytes() for path in Path("wider").rglob("*") if path.is_file()}
    assert main(["forget", "wider", "--class", "3", "--out", "narrower"]) == 0
    assert load_classifier("narrower").classes == ("0", "1", "2")


def test_another_number_of_classes(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before anything is written, with both numbers; prototypes take any."""
    assert main(["adapt", "run-maml", "--support", "more", "--out", "two"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "has 2 classes, but run-maml was trained on tasks of 3" in error
    assert "--method proto-maml" in error
    assert not Path("two").exists()
    assert main(["adapt", "run-fo-proto-maml", "--support", "more", "--out", "two"]) == 0
    assert load_classifier("two").classes == ("0", "3")


def test_a_run_that_saw_other_queries_adapts_by_its_support_set(work: Path) -> None:
    """One picture alone gets what it gets among others."""
    assert main(["adapt", "run-batch", "--support", "pictures", "--out", "inductive"]) == 0
    for images, name in (("new/0/14.png", "one"), ("new/0/14.png new/1/14.png new/1/15.png", "three")):
        assert main(f"predict inductive {images} --json {name}.json".split()) == 0
    assert row(work / "one.json") == row(work / "three.json")


def test_the_encoder_of_the_run_serves_fit_and_other_heads(work: Path) -> None:
    """`fit --encoder RUN` and `adapt RUN --head` embed with the meta-learned start under running statistics."""
    assert main(["fit", "pictures", "--encoder", "run-maml", "--head", "ridge", "--out", "fitted"]) == 0
    assert main(["adapt", "run-maml", "--support", "more", "--head", "ridge", "--out", "headed"]) == 0
    learned = load_gradient_learner("run-maml")[0].encoder
    for name in ("fitted", "headed"):
        classifier = load_classifier(name)
        assert (classifier.settings.head, classifier.encoder.seen) == ("ridge", ())
        state, own = load_encoder_of(name, classifier).state_dict(), learned.state_dict()
        assert all(torch.equal(state[key], own[key]) for key in own)
    assert fingerprint(load_encoder("run-maml")) == load_classifier("fitted").encoder.fingerprint
    running = load_encoder("run-maml").state_dict()["backbone.blocks.0.norm.running_var"]
    assert not torch.equal(running, torch.ones_like(running))  # they were moved in training
    assert main(["forget", "fitted", "--class", "2"]) == 0

"""Evaluation of runs of Meta-Neighborhoods and its baselines: rows recomputed, votes against scikit-learn, other data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from modicum.configs import Evaluate, Train
from modicum.errors import ConfigError, DataError
from modicum.evaluation.intervals import paired_interval
from modicum.files import read_tensors, sha256, write_tensors
from modicum.training.checkpoints import BEST, LAST
from modicum.training.evaluate import evaluate
from modicum.training.neighborhoods.runs import NeighborhoodsRun, load_neighborhoods
from modicum.training.neighborhoods.scoring import attended, score_pictures
from modicum.training.neighborhoods.voting import VOTERS, Voters, vote
from modicum.training.supervised_tests import open_run_pictures, parts_of
from modicum.training.trainer import train


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "method": "meta-neighborhoods", "image_size": 8, "batch_pictures": 16,
        "steps": 12, "validate_every": 12, "tensorboard": False, "threads": 1, **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three inner steps at a large rate, so that adaptation changes predictions."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(config(folder, entries=30, inner_steps=3, inner_rate=3.0))
    return folder


def held_out(loaded: NeighborhoodsRun) -> tuple[Tensor, np.ndarray]:
    """Test pictures (n, 1, H, W) of a run and their labels (n,)."""
    pictures = open_run_pictures(loaded)
    rows = parts_of(loaded, pictures).test
    return torch.from_numpy(np.asarray(pictures.pixels)[rows]).permute(0, 3, 1, 2), pictures.labels[rows]


def test_evaluate_has_a_row_before_and_after_each_step(run: Path) -> None:
    """Numbers recomputed from logits of one pass over all pictures; the difference is paired; nothing of the run changes."""
    weights = sha256(run / LAST)
    found = evaluate(Evaluate(run=str(run)))
    assert [row["branch"] for row in found["rows"]] == ["before", "step-1", "step-2", "step-3", "adapted"]
    loaded = load_neighborhoods(run)
    x, y = held_out(loaded)
    with torch.no_grad():
        logits = loaded.network.trajectory(loaded.network.features(x))
    right = (logits.argmax(-1).numpy() == y).astype(float)
    for row, hits in zip(found["rows"], [*right, right[-1]], strict=True):
        assert row["accuracy"] == pytest.approx(hits.mean())
        recalls = [hits[y == c].mean() for c in range(10)]
        assert row["balanced_accuracy"] == pytest.approx(np.mean(recalls))
        assert row["many"] == pytest.approx(np.mean(recalls))
        assert row["per_class"] == pytest.approx(recalls)
    assert (right[0] != right[-1]).any()
    [gap] = found["differences"]
    paired = paired_interval(right[-1], right[0], "pictures")
    assert (gap["first"], gap["later"]) == ("before", "adapted")
    assert (gap["difference"], gap["ci95"]) == (pytest.approx(paired.mean), pytest.approx(paired.ci95))
    assert found["learned"]["rate"] == pytest.approx(float(loaded.network.rate.detach().abs()))
    assert (found["inner_steps"], found["entries"], found["baseline"]) == (3, 30, "none")
    assert sha256(run / LAST) == weights
    arrays = np.load(run / "artifacts.npz")
    assert np.array_equal(arrays["predicted_adapted"], logits[-1].argmax(-1).numpy())
    assert arrays["confusion"].sum() == len(y)
    assert json.loads((run / "results" / "digits-test-branches.json").read_text())["rows"] == found["rows"]


def test_evaluate_takes_another_number_of_steps(run: Path) -> None:
    whole, one = evaluate(Evaluate(run=str(run))), evaluate(Evaluate(run=str(run), inner_steps=1))
    assert [row["branch"] for row in one["rows"]] == ["before", "adapted"]
    assert one["rows"][1]["per_class"] == whole["rows"][1]["per_class"]
    assert one["inner_steps"] == 1
    assert (run / "results" / "digits-test-branches-1steps.json").is_file()


def test_equal_pictures_have_equal_bits_wherever_they_stand(run: Path) -> None:
    loaded = load_neighborhoods(run)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 1), dtype=np.uint8)
    rows = np.arange(70)
    whole = score_pictures(loaded.network, pixels, rows, torch.device("cpu"))
    moved = score_pictures(loaded.network, pixels, rows[[69, 3]], torch.device("cpu"))
    assert torch.equal(whole.logits[:, [69, 3]], moved.logits)
    assert torch.equal(whole.features[[69, 3]], moved.features)


def test_what_pictures_attend_to(run: Path) -> None:
    """Heaviest entries and usage against a softmax of cosines over T in numpy."""
    loaded = load_neighborhoods(run)
    z = np.random.default_rng(1).normal(size=(70, 192))
    found = attended(loaded.network, torch.from_numpy(z).float(), top=3)
    keys = loaded.network.dictionary.keys.detach().double().numpy()
    scores = 5 * (z / np.linalg.norm(z, axis=1, keepdims=True)) @ (keys / np.linalg.norm(keys, axis=1, keepdims=True)).T
    w = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert np.array_equal(found.entry.numpy(), np.argsort(-w, axis=1)[:, :3])
    assert np.allclose(found.weight.numpy(), -np.sort(-w, axis=1)[:, :3], atol=1e-6)
    assert np.allclose(found.usage.numpy(), w.mean(0), atol=1e-6)


@pytest.fixture(scope="module")
def knn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "knn"
    train(config(folder, baseline="knn", neighbours=7))
    return folder


def test_knn_is_scikit_learns(knn: Path) -> None:
    """The same features, cosine distance, seven voters: equal predictions; the vanilla row beside it."""
    found = evaluate(Evaluate(run=str(knn)))
    assert [row["branch"] for row in found["rows"]] == ["vanilla", "knn"]
    loaded = load_neighborhoods(knn)
    pictures = open_run_pictures(loaded)
    parts = parts_of(loaded, pictures)
    z, queries = (
        score_pictures(loaded.network, pictures.pixels, rows, torch.device("cpu")).features.double().numpy()
        for rows in (parts.train, parts.test)
    )
    for k, row in ((7, found["rows"][1]), (1, evaluate(Evaluate(run=str(knn), neighbours=1))["rows"][1])):
        other = KNeighborsClassifier(k, metric="cosine").fit(z, pictures.labels[parts.train]).predict(queries)
        assert row["accuracy"] == pytest.approx((other == pictures.labels[parts.test]).mean())
        assert np.array_equal(np.load(knn / "artifacts.npz")["predicted_knn"], other) or k == 7
    assert found["differences"][0]["later"] == "knn"
    with pytest.raises(ConfigError, match="split: training pictures vote"):
        evaluate(Evaluate(run=str(knn), split="train"))
    assert (found["neighbours"], found["entries"]) == (7, None)


def test_voters_are_those_of_the_checkpoint(knn: Path) -> None:
    """Made once behind the training; read as they are; made anew, to the bit, where they are missing or of another one."""
    before, (tensors, record) = sha256(knn / VOTERS), read_tensors(knn / VOTERS)
    assert record["checkpoint"] == sha256(knn / BEST)
    evaluate(Evaluate(run=str(knn)))
    assert sha256(knn / VOTERS) == before
    for spoil in (
        lambda: (knn / VOTERS).unlink(),
        lambda: write_tensors(knn / VOTERS, {"features": torch.zeros(1, 192)}, {"kind": "voters", "checkpoint": "other"}),
    ):
        spoil()
        evaluate(Evaluate(run=str(knn)))
        again, other = read_tensors(knn / VOTERS)
        assert other == record
        assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_equal_cosines_vote_in_the_order_of_pictures_and_equal_votes_go_to_the_first_class() -> None:
    unit = torch.eye(2)
    voters = Voters(torch.stack([unit[0]] * 4 + [unit[1]]), torch.tensor([2, 1, 0, 0, 1]), list("abcde"))
    found = vote(voters, torch.tensor([[3.0, 0.0], [0.0, 1.0]]), 2, 3)
    assert found.voter.tolist() == [[0, 1], [4, 0]]
    assert found.shares.tolist() == [[0, 0.5, 0.5], [0, 0.5, 0.5]]
    assert found.shares.argmax(1).tolist() == [1, 1]
    with pytest.raises(DataError, match="neighbours: 6 asked for, but 5 training pictures vote"):
        vote(voters, torch.ones(1, 2), 6, 3)


def test_evaluation_on_other_pictures_goes_by_the_names_of_classes(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    loaded = load_neighborhoods(run)
    x, y = held_out(loaded)
    for label in (3, 7):
        (tmp_path / "own" / str(label)).mkdir(parents=True)
        for number, picture in enumerate(x[y == label][:6]):
            Image.fromarray(picture[0].numpy()).save(tmp_path / "own" / str(label) / f"{number}.png")
    row = evaluate(Evaluate(run=str(run), data=str(tmp_path / "own")))["rows"][-1]
    assert row["pictures"] == 12
    assert [index for index, value in enumerate(row["per_class"]) if value is not None] == [3, 7]
    train_rows = evaluate(Evaluate(run=str(run), split="train"))["rows"]
    assert train_rows[0]["pictures"] == 1295


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ways": 3}, "ways: about few-shot tasks, and .* is a run of meta-neighborhoods"),
        ({"votes": True, "tau_norm": 0.5}, "votes, tau_norm: for runs of rac"),
        ({"without_source": "x"}, "without_source: for runs of rac"),
        ({"neighbours": 3}, "neighbours: for runs of --baseline knn"),
        ({"split": "all"}, "split: expected one of train, val, test"),
    ],
)
def test_options_of_other_runs_are_refused(run: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        evaluate(replace(Evaluate(run=str(run)), **changes))


def test_runs_of_other_methods_are_refused(knn: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inner_steps: --baseline knn takes no inner steps"):
        evaluate(Evaluate(run=str(knn), inner_steps=2))
    other = Train(data="digits", out=str(tmp_path / "rac"), method="rac", branches="base", steps=1, image_size=16,
                  batch_pictures=8, tensorboard=False)  # fmt: skip
    train(other)
    with pytest.raises(ConfigError, match=re.escape("was trained by rac, expected a run of meta-neighborhoods on pictures")):
        load_neighborhoods(tmp_path / "rac")

"""What a dictionary learned, for the report: numbers by hand, draws, and arrays recomputed from a network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.configs import Evaluate, Train
from modicum.training.evaluate import evaluate
from modicum.training.neighborhoods import panels
from modicum.training.neighborhoods.panels import (
    asked_places,
    chosen_entries,
    effective_number,
    in_use,
    nearest_pictures,
    usage_record,
    value_record,
)
from modicum.training.neighborhoods.runs import load_neighborhoods
from modicum.training.supervised_tests import open_run_pictures, parts_of
from modicum.training.trainer import train


def test_effective_number_is_the_exponential_of_the_entropy() -> None:
    """1/2, 1/4, 1/4 has 1.5 bits: 2^1.5 = 2.83 entries; 1 / sum of squares would say 2.67."""
    found = effective_number(np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    assert found == pytest.approx([2**1.5, 1.0, 3.0])


def test_entries_in_use_are_the_fewest_that_carry_nine_tenths() -> None:
    assert in_use(np.array([0.05, 0.5, 0.3, 0.15])).tolist() == [False, True, True, True]  # 0.8, then 0.95
    assert in_use(np.array([0.6, 0.1, 0.3])).tolist() == [True, False, True]  # exactly 0.9 is enough
    assert in_use(np.full(10, 0.1)).sum() == 9
    assert in_use(np.array([0.0, 2.0])).tolist() == [False, True]


def test_usage_and_values_by_hand() -> None:
    """Two of three entries in use; agreement 1, 0.5, 0 weighed 0.6, 0.3, 0.1 is 0.75, its mean 0.5, of those in use 0.75."""
    usage = np.array([0.6, 0.3, 0.1])
    found = usage_record(usage)
    assert (found["entries"], found["carrying_90"], found["shares"]) == (3, 2, {"1": 0.6})
    classes, value, agreement = np.array([2, 0, 2]), np.array([1.0, 0.5, 0.75]), np.array([1.0, 0.5, 0.0])
    found = value_record(usage, classes, value, agreement, 4)
    assert (found["of_class"], found["of_class_in_use"]) == ([1, 0, 2, 0], [1, 0, 1, 0])
    assert found["usage_of_class"] == pytest.approx([0.3, 0, 0.7, 0])
    assert found["sharpness"]["mean"] == 0.75
    of = found["agreement"]
    assert (of["all"], of["in_use"], of["by_usage"]) == pytest.approx((0.5, 0.75, 0.75))


def test_nearest_pictures_are_those_of_the_largest_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """(10, 10) has the larger product with (1, 0), (1, 0.1) the larger cosine; and a slow loop, in parts of 3 keys."""
    near, cosine = nearest_pictures(torch.tensor([[1.0, 0.0]]), torch.tensor([[10.0, 10.0], [1.0, 0.1]]), 5)
    assert near.tolist() == [[1, 0]]
    assert cosine[0] == pytest.approx([1 / 1.01**0.5, 0.5**0.5])
    monkeypatch.setattr(panels, "PART", 3)
    rng = np.random.default_rng(0)
    keys, features = rng.normal(size=(8, 4)), rng.normal(size=(9, 4))
    near, _ = nearest_pictures(torch.from_numpy(keys), torch.from_numpy(features), 3)
    for key, row in zip(keys, near, strict=True):
        cosines = [key @ z / np.linalg.norm(key) / np.linalg.norm(z) for z in features]
        assert row.tolist() == sorted(range(9), key=lambda place: -cosines[place])[:3]


def test_chosen_entries_are_in_use_and_of_one_class_in_a_row() -> None:
    """Class 3 has no entry in use, class 1 one; with 3 rows of 2 the classes with enough entries come first."""
    classes = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    used = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1], bool)
    for seed in range(5):
        found = chosen_entries(classes, used, 3, 2, seed)
        assert [set(classes[row].tolist()) for row in found] == [{0}, {2}, {4}]
        assert used[found].all()
        assert (found[:, 0] < found[:, 1]).all()
    draws = {tuple(chosen_entries(classes, used, 3, 2, seed)[0].tolist()) for seed in range(20)}
    assert draws == {(0, 1), (0, 2), (1, 2)}
    found = chosen_entries(classes, used, 9, 2)
    assert found[1].tolist() == [3, -1]
    assert len(found) == 4
    assert chosen_entries(classes, np.zeros(11, bool), 3, 2).shape == (0, 2)


def test_asked_pictures_hold_some_that_changed() -> None:
    """5 corrected, 1 spoiled, 30 others: 3, 1 and 8 are shown, none twice; the names say from where each was drawn."""
    labels = np.zeros(36, np.int64)
    before, after = np.zeros(36, np.int64), np.zeros(36, np.int64)
    before[:5], after[5] = 1, 1
    places, drawn = asked_places(labels, before, after, np.array([36, 0]))
    assert len(set(places.tolist())) == 12
    assert drawn.tolist() == ["corrected"] * 3 + ["spoiled"] + ["all"] * 8
    assert set(places[:3].tolist()) <= set(range(5))
    assert places[3] == 5
    again, _ = asked_places(labels, before, after, np.array([36, 0]), seed=1)
    assert not np.array_equal(places, again)
    assert len(asked_places(labels[:3], before[:3], after[:3], np.array([3, 0]))[0]) == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(Train(
        data="digits", out=str(folder), method="meta-neighborhoods", backbone="conv4-32", image_size=16, batch_pictures=16,
        steps=8, validate_every=8, entries=40, inner_rate=3.0, tensorboard=False, threads=1,
    ))  # fmt: skip
    return folder


def test_an_evaluation_keeps_what_the_network_says(run: Path) -> None:
    """Attention, votes, agreement and distributions from one pass over all test pictures in float64, entry by entry."""
    found = evaluate(Evaluate(run=str(run)))["dictionary"]
    loaded = load_neighborhoods(run)
    pictures = open_run_pictures(loaded)
    rows = parts_of(loaded, pictures).test
    x, y = torch.from_numpy(np.asarray(pictures.pixels)[rows]).permute(0, 3, 1, 2), pictures.labels[rows]
    network = loaded.network.double()
    with torch.no_grad():
        z = loaded.network.float().features(x).double()
        network.double()
        w, values = network.attention(z).numpy(), network.dictionary.values().numpy()
        logits = network.trajectory(z)[[0, -1]].softmax(-1).numpy()
        keys = network.dictionary.keys.numpy()
    arrays = dict(np.load(run / "artifacts.npz"))
    usage = w.mean(0)
    assert arrays["entry_usage"] == pytest.approx(usage, rel=1e-4)
    assert np.array_equal(arrays["entry_class"], values.argmax(1))
    assert found["effective"] == pytest.approx(np.exp(-(usage * np.log(usage)).sum()), rel=1e-4)
    assert found["votes"] == pytest.approx(((w @ values).argmax(1) == y).mean())
    unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
    for entry, key in enumerate(keys):
        near = np.argsort(-(unit @ key), kind="stable")[:5]
        assert arrays["entry_agreement"][entry] == pytest.approx((y[near] == values[entry].argmax()).mean())
    for place, row in enumerate(arrays["asked"].tolist()):
        top = np.argsort(-w[row])[:5]
        assert arrays["asked_entries"][place].tolist() == top.tolist()
        assert arrays["asked_weights"][place] == pytest.approx(w[row][top], rel=1e-4)
        assert arrays["asked_before"][place] == pytest.approx(logits[0, row], abs=1e-5)
        assert arrays["asked_after"][place] == pytest.approx(logits[1, row], abs=1e-5)
        assert arrays["asked_votes"][place] == pytest.approx(w[row] @ values, abs=1e-5)
        for entry, near in zip(top, arrays["asked_near"][place], strict=True):
            order = np.argsort(-(unit @ keys[entry]), kind="stable")
            assert near == (order[0] if order[0] != row else order[1])
    shown = dict(zip(arrays["shown"].tolist(), arrays["shown_pixels"], strict=True))
    assert set(shown) == {*arrays["asked"].tolist(), *arrays["asked_near"].ravel().tolist(),
                          *arrays["group_near"][arrays["group_entries"] >= 0].ravel().tolist()}  # fmt: skip
    for place, pixels in shown.items():
        assert np.array_equal(pixels, pictures.pixels[rows[place]])
    assert json.loads((run / "results" / "digits-test-branches.json").read_text())["dictionary"] == found


def test_without_pictures_no_pixels_are_kept(run: Path) -> None:
    evaluate(Evaluate(run=str(run), pictures=False))
    arrays = np.load(run / "artifacts.npz")
    assert "group_near" in arrays.files
    assert not [name for name in arrays.files if arrays[name].dtype == np.uint8]

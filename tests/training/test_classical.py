"""Classical training: batches, one step against torch's own modules, resumption, what an evaluation of it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modicum.configs import Evaluate, Train
from modicum.data.picture_set import PictureSet
from modicum.data.pictures import open_pictures
from modicum.errors import ConfigError, DataError
from modicum.files import read_tensors
from modicum.losses.class_pairs import two_of_each
from modicum.losses.feature_clustering import feature_clustering
from modicum.losses.hyperplane_variation import hyperplane_variation, hyperplane_variation_squared
from modicum.runtime import Ranks
from modicum.training.checkpoints import BEST, LAST
from modicum.training.classical import REGULARIZERS, ClassicalObjective, epoch_batch, paired_batch
from modicum.training.evaluate import evaluate
from modicum.training.runs import load_learner
from modicum.training.schedules import learning_rate_factor
from modicum.training.trainer import Trainer, train


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "method": "classical", "backbone": "conv4-32", "batch_pictures": 8, "steps": 6,
        "validate_every": 3, "image_size": 16, "tensorboard": False, "optimizer": "sgd", "learning_rate": 0.05,
        "schedule": "constant", **changes,
    }  # fmt: skip
    return Train(**options)  # type: ignore[arg-type]


def test_an_epoch_holds_every_picture_once_and_the_next_is_in_another_order() -> None:
    labels = np.repeat(np.arange(3), 4)
    epochs = [np.concatenate([epoch_batch(labels, 5, 0, 2 * e + s) for s in range(2)]) for e in range(2)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == 10  # 12 // 5 steps; two are left over
    assert epochs[0].tolist() != epochs[1].tolist()
    assert np.array_equal(epoch_batch(labels, 5, 0, 3), epoch_batch(labels, 5, 0, 3))
    assert not np.array_equal(epoch_batch(labels, 5, 0, 3), epoch_batch(labels, 5, 1, 3))


def test_a_paired_batch_holds_two_different_pictures_of_each_class() -> None:
    labels = np.repeat(np.arange(6), 3)
    for step in range(20):
        rows = paired_batch(labels, 8, 0, step).reshape(4, 2)
        assert len(set(labels[rows[:, 0]].tolist())) == 4
        assert (labels[rows[:, 0]] == labels[rows[:, 1]]).all()
        assert (rows[:, 0] != rows[:, 1]).all()
    counts = np.bincount(labels[paired_batch(labels, 18, 0, 0)], minlength=6)
    assert counts.sum() == 18
    assert set(counts.tolist()) == {2, 4}  # nine pairs from six classes: each once before any twice


@pytest.mark.parametrize("regularizer", ["none", "feature-clustering", "hyperplane-variation"])
def test_a_step_equals_torchs_own_modules(tmp_path: Path, regularizer: str) -> None:
    """Plain loop: encoder in train mode, the regulariser by its formula pair by pair, SGD by torch."""
    weight = {} if regularizer == "none" else {"coefficient": 0.3}
    own = config(tmp_path, regularizer=regularizer, weight_decay=1e-4, **weight)
    ours, plain = (Trainer(own, open_pictures("digits", size=16)) for _ in range(2))
    network = plain.module
    rows = plain.objective.batch(0)
    x = torch.from_numpy(np.asarray(plain.subject.parts.inner.pixels)[rows]).permute(0, 3, 1, 2)
    y = torch.from_numpy(plain.subject.parts.inner.labels[rows])
    f = network.encoder.train()(x)
    loss = F.cross_entropy(network.classifier(f), y)
    found = []
    for a in range(0, 8, 2):
        for b in range(a + 2, 8, 2):
            if regularizer == "feature-clustering":
                mu = [f[a : a + 2].mean(0), f[b : b + 2].mean(0)]
                centre = f[[a, a + 1, b, b + 1]].mean(0)
                within = sum((f[i] - mu[i >= b]).square().sum() for i in (a, a + 1, b, b + 1))
                found.append(within / sum((m - centre).square().sum() for m in mu))
            else:
                first, second = f[a] - f[b], f[a + 1] - f[b + 1]
                found.append(4 * ((first - second).norm() / (first.norm() + second.norm())) ** 2)
    if regularizer != "none":
        loss = loss + 0.3 * torch.stack(found).mean()
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    loss.backward()
    optimizer.step()
    value, _ = ours.advance()
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    for (name, a), b in zip(ours.module.named_parameters(), network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), name
    for (name, a), b in zip(ours.objective.encoder.named_buffers(), plain.objective.encoder.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), atol=1e-6), name


def test_every_regulariser_is_its_formula_on_the_batch() -> None:
    """Two classes in one dimension, 0 and 2 | 10 and 10: all four forms give another number, worked by hand."""
    f, y = torch.tensor([[0.0], [2.0], [10.0], [10.0]]), torch.tensor([0, 0, 1, 1])
    # within 1 + 1, means 1 and 10, centre 5.5, between 2 * 4.5^2 = 40.5; lines -10 and -8: |2| / (10 + 8)
    expected = {
        "feature-clustering": 2 / 40.5,
        "feature-clustering-batch": 2 / 40.5,  # C = N = 2: the same
        "hyperplane-variation": 4 * (2 / 18) ** 2,
        "hyperplane-variation-printed": 2 / 18,
    }
    assert {name: pytest.approx(float(rule(f, y)), rel=1e-5) for name, rule in REGULARIZERS.items()} == expected
    three = torch.cat([f, torch.tensor([[20.0], [24.0]])]), torch.tensor([0, 0, 1, 1, 2, 2])
    whole, pairs = (float(REGULARIZERS[name](*three)) for name in ("feature-clustering-batch", "feature-clustering"))
    # pairs: (2 + 0) / 40.5, (0 + 8) / 72, (2 + 8) / 220.5; whole: 3/2 of (2 + 0 + 8) over 3 means around 11
    assert pairs == pytest.approx((2 / 40.5 + 8 / 72 + 10 / 220.5) / 3, rel=1e-5)
    assert whole == pytest.approx(1.5 * 10 / (100 + 1 + 121), rel=1e-5)
    assert whole == pytest.approx(float(feature_clustering(*three)))
    pair = two_of_each(f, y)
    assert float(hyperplane_variation_squared(pair)) == pytest.approx(4 * float(hyperplane_variation(pair)) ** 2)


def test_a_run_goes_on_to_the_bit_and_is_tested_with_the_svm(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole", augment=True, regularizer="hyperplane-variation", coefficient=0.1)
    train(whole)
    cut = replace(whole, out=str(tmp_path / "cut"), steps=3)
    train(cut)
    train(replace(cut, steps=6, resume=True))
    a, b = (read_tensors(tmp_path / name / LAST)[0] for name in ("whole", "cut"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    learner, _, _ = load_learner(tmp_path / "whole")
    stored = read_tensors(tmp_path / "whole" / BEST)[0]
    for name, value in learner.encoder.state_dict().items():
        assert torch.equal(value, stored[f"learner.encoder.{name}"]), name
    ask = Evaluate(run=str(tmp_path / "whole"), ways=3, shots=[1], queries=4, tasks=20)
    svm = evaluate(ask)
    assert svm["head"] == "metaoptnet-svm"
    assert svm["rows"][0]["solver_residual"] < 1e-4
    assert evaluate(replace(ask, head="metaoptnet-svm"))["rows"] == svm["rows"]
    assert evaluate(replace(ask, head="cosine"))["rows"][0]["tasks_digest"] == svm["rows"][0]["tasks_digest"]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    """Five classes of digits: 60 steps must leave chance (ln 5 = 1.61) far behind."""
    ours = Trainer(config(tmp_path, steps=60, batch_pictures=32), open_pictures("digits", size=16))
    losses = [ours.advance()[0] for _ in range(60)]
    assert np.mean(losses[:3]) > 1.0
    assert np.mean(losses[-10:]) < 0.5


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"regularizer": "feature-clustering", "batch_pictures": 7}, "batch_pictures: expected an even number"),
        ({"method": "protonet", "regularizer": "feature-clustering"}, "belongs to --method classical"),
        ({"coefficient": -1.0}, "coefficient: expected 0 or more"),
        ({"coefficient": 0.1}, "coefficient: 0.1 weighs a regularizer, but none"),
        ({"method": "fine-tune"}, "steps of the whole network is maml"),
        ({"svm_c": 0.0}, "svm_c: expected more than 0"),
        ({"support_noise": True}, "give --support_pool too"),
        ({"support_pool": 5}, "support_pool: restricts few-shot tasks"),
        ({"task_pool": 5}, "task_pool: restricts few-shot tasks"),
    ):
        with pytest.raises(ConfigError, match=message):
            config(tmp_path, **changes)
    with pytest.raises(ConfigError, match=r"batch_pictures: 5000 asked for, but there are \d+ training pictures"):
        train(config(tmp_path, batch_pictures=5_000))
    pixels = np.zeros((3, 16, 16, 1), np.uint8)
    pictures = PictureSet(pixels, np.array([0, 0, 1]), ("a", "lonely"), ("1", "2", "3"), splits={"train": ("a", "lonely")})
    paired = config(tmp_path, regularizer="feature-clustering", batch_pictures=4)
    with pytest.raises(ConfigError, match="batch_pictures: 4 asked for"):
        ClassicalObjective(paired, pictures, torch.device("cpu"), Ranks())
    pictures = replace(pictures, pixels=np.zeros((4, 16, 16, 1), np.uint8), labels=np.array([0, 0, 0, 1]))
    with pytest.raises(DataError, match="'lonely' has 1"):
        ClassicalObjective(paired, pictures, torch.device("cpu"), Ranks())


def test_the_published_schedule_and_warm_up() -> None:
    found = [learning_rate_factor("classical", e, 300) for e in (0, 99, 100, 149, 150, 199, 200, 249, 250, 299)]
    assert found == [1, 1, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    assert [learning_rate_factor("classical", e, 300, warmup=15) for e in (0, 14, 15)] == [0.1, 0.1, 1]

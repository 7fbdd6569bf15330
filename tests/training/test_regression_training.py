"""Training and evaluation on regression tasks: a step against a plain loop, resumption, tables, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from modicum.configs import Evaluate, Train
from modicum.episodes.regression import AbstractTaskDistribution, Sinusoids
from modicum.episodes.types import Episode, LabelledSet
from modicum.errors import ConfigError, DataError, TrainingError
from modicum.files import read_tensors
from modicum.runtime import Ranks
from modicum.training.evaluate import evaluate
from modicum.training.regression import RegressionTasks, open_tasks
from modicum.training.regression_results import evaluate_regression, load_regressor
from modicum.training.runs import read_run
from modicum.training.trainer import Trainer, train


def config(out: Path, **changes: object) -> Train:
    options: dict[str, object] = {
        "data": "sinusoids", "method": "maml", "backbone": "mlp-8-8", "shots": 4, "queries": 6, "batch": 3, "steps": 6,
        "inner_steps": 2, "inner_rate": 0.05, "validate_every": 3, "validation_tasks": 8, "device": "cpu", "seed": 1,
        **changes,
    }  # fmt: skip
    return Train(out=str(out), **options)  # type: ignore[arg-type]


def doubled(own: Train) -> Trainer:
    """A trainer in float64."""
    tasks = RegressionTasks("sinusoids", Sinusoids(own.seed, "train", torch.float64), None, None)
    trainer = Trainer(own, tasks)
    trainer.module.double()
    return trainer


def plain_error(own: Train, trainer: Trainer, step: int) -> torch.Tensor:
    """Mean over tasks of the query error after the inner steps, one task and one layer at a time."""
    names = [name for name, _ in trainer.module.model.named_parameters()]
    episode = Sinusoids(own.seed, "train", torch.float64).episode(
        range(step * own.batch, (step + 1) * own.batch), own.shots, own.queries
    )

    def outputs(weights: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for layer in range(0, len(weights), 2):
            x = F.linear(x if layer == 0 else x.clamp_min(0), weights[layer], weights[layer + 1])
        return x

    total = torch.zeros((), dtype=torch.float64)
    for e in range(own.batch):
        weights = [trainer.module.model.get_parameter(name) for name in names]
        for _ in range(own.inner_steps):
            loss = (outputs(weights, episode.support.x[e]) - episode.support.y[e]).square().mean()
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            weights = [w - own.inner_rate * g for w, g in zip(weights, gradients, strict=True)]
        total = total + (outputs(weights, episode.query.x[e]) - episode.query.y[e]).square().mean() / own.batch
    return total


@pytest.mark.parametrize("strategy", ["auto", "loop", "vmap"])
def test_meta_gradients_equal_a_plain_loop_over_tasks(tmp_path: Path, strategy: str) -> None:
    """Reference, in float64 to 1e-12: second order, through every layer by hand."""
    own = config(tmp_path, strategy=strategy)
    trainer = doubled(own)
    expected = plain_error(own, trainer, 2)
    gradients = torch.autograd.grad(expected, list(trainer.module.model.parameters()))
    part = trainer.objective.part(2, Ranks())
    assert part.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert part.accuracy.item() == pytest.approx(expected.item(), rel=1e-12)
    for parameter, gradient in zip(trainer.module.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-12, atol=1e-12)


def test_shares_of_two_processes_sum_to_the_whole(tmp_path: Path) -> None:
    """Three tasks on two processes: losses and gradients of the shares add up to those of one process."""
    whole, shared = doubled(config(tmp_path)), doubled(config(tmp_path))
    one = whole.objective.part(1, Ranks())
    parts = [shared.objective.part(1, Ranks(rank, 2)) for rank in range(2)]
    assert [round(part.share, 3) for part in parts] == [0.333, 0.667]
    assert sum(part.loss.item() for part in parts) == pytest.approx(one.loss.item(), rel=1e-12)
    for a, b in zip(whole.module.parameters(), shared.module.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["maml", "alfa"])
def test_resumed_training_is_the_same_to_the_bit(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train(config(tmp_path / "whole", method=method))
    advance = Trainer.advance

    def killed(self: Trainer) -> tuple[float, float]:
        if self.step == 5:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path / "cut", method=method))
    monkeypatch.undo()
    result = train(config(tmp_path / "cut", method=method, resume=True))
    whole, cut = (read_tensors(tmp_path / name / "checkpoints/last.safetensors")[0] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    assert result.validation is not None


def test_the_best_checkpoint_has_the_lowest_validation_error(tmp_path: Path) -> None:
    """A rate of which training gets worse: the best weights are those of an early validation, not the last."""
    result = train(config(tmp_path / "run", steps=12, learning_rate=0.3, schedule="constant", validate_every=2))
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    found = {line["step"]: line["mse"] for line in log if line["kind"] == "validation"}
    assert result.validation == min(found.values())
    record = read_tensors(tmp_path / "run/checkpoints/best.safetensors")[1]
    assert found[record["step"]] == min(found.values()) < max(found.values())


def test_evaluation_measures_every_inner_step(tmp_path: Path) -> None:
    """Reference: the network as it is for step 0, `adapt` for the last step; per_task is the last step's."""
    train(config(tmp_path / "run"))
    row = evaluate(Evaluate(run=str(tmp_path / "run"), tasks=7, shots=[3], points=11, seed=4))["rows"][0]
    learner = load_regressor(tmp_path / "run")[0]
    episode = Sinusoids(4, "test").episode(range(7), 3, 11)
    with torch.no_grad():
        before = (learner.model(episode.query.x) - episode.query.y).square().mean((-2, -1))
        after = (learner.adapt(episode.support, 1)(episode.query.x) - episode.query.y).square().mean((-2, -1))
    assert [step["step"] for step in row["per_step"]] == [0, 1, 2]
    assert row["per_step"][0]["mse"] == pytest.approx(before.mean().item(), rel=1e-5)
    assert row["per_task"] == pytest.approx(after.tolist(), rel=1e-4)
    assert row["mse"] == pytest.approx(after.mean().item(), rel=1e-5)
    assert row["stderr"] == pytest.approx(after.std().item() / 7**0.5, rel=1e-4)
    assert "accuracy" not in row


def test_curves_are_predictions_in_order_of_x(tmp_path: Path) -> None:
    train(config(tmp_path / "run"))
    evaluate(Evaluate(run=str(tmp_path / "run"), tasks=5))
    learner = load_regressor(tmp_path / "run")[0]
    with np.load(tmp_path / "run/artifacts.npz") as arrays:
        x, predictions = torch.from_numpy(arrays["curve_x"]), torch.from_numpy(arrays["curve_predictions"])
        support = LabelledSet(*(torch.from_numpy(arrays[f"curve_support_{k}"]).unsqueeze(-1) for k in "xy"))
    assert predictions.shape == (4, 3, 100)
    assert (x.diff() >= 0).all()
    with torch.no_grad():
        torch.testing.assert_close(predictions[:, 0], learner.model(x.unsqueeze(-1))[..., 0])
        torch.testing.assert_close(predictions[:, 2], learner.adapt(support, 1)(x.unsqueeze(-1))[..., 0])


def table(path: Path, tasks: int = 20, rows: int = 12) -> Path:
    """Task t is y = a_t x1 + x2 with its own slope."""
    rng = np.random.default_rng(0)
    lines = ["task,x1,x2,y"]
    for t, slope in enumerate(rng.uniform(-2, 2, tasks)):
        lines += [f"t{t},{a},{b},{slope * a + b}" for a, b in rng.uniform(-1, 1, (rows, 2))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_of_tasks_is_trained_on_and_evaluated(tmp_path: Path) -> None:
    """Adaptation must help: the error after the steps is below the one before them on tasks never trained on."""
    path = table(tmp_path / "tasks.csv")
    own = config(tmp_path / "run", data=str(path), target="y", steps=150, learning_rate=0.01, schedule="constant", batch=8)
    train(replace(own, inner_rate=0.1, validate_every=150))
    row = evaluate(Evaluate(run=str(tmp_path / "run"), tasks=30))["rows"][0]
    assert row["shots"] == 4
    assert row["queries"] == 8  # a task has 12 rows
    assert row["mse"] < 0.7 * row["per_step"][0]["mse"]
    path.write_text(path.read_text().replace("t0,", "t1,"))
    with pytest.raises(ConfigError, match="tasks has changed since"):
        evaluate(Evaluate(run=str(tmp_path / "run"), tasks=30))


class Lines(AbstractTaskDistribution):
    """y = a x, slopes from the task's number."""

    name, inputs, outputs = "lines", 1, 1

    def episode(self, numbers: Sequence[int] | NDArray[np.int64], shots: int, queries: int) -> Episode:
        x = torch.linspace(-1, 1, shots + queries).repeat(len(numbers), 1).unsqueeze(-1)
        y = torch.sin(torch.tensor([float(t) for t in numbers])).reshape(-1, 1, 1) * x
        parts = (LabelledSet(x[:, i], y[:, i]) for i in (slice(None, shots), slice(shots, None)))
        return Episode(*parts, n_out=1)


def test_tasks_of_ones_own_go_in_by_the_interface(tmp_path: Path) -> None:
    own = RegressionTasks("lines", Lines(), None, Lines(), digest="1")
    result = train(config(tmp_path / "run", data="lines", target="y"), tasks=own)
    assert result.validation is None
    row = evaluate_regression(Evaluate(run=str(tmp_path / "run"), tasks=5, points=9), own)["rows"][0]
    assert (row["queries"], len(row["per_task"])) == (9, 5)
    with pytest.raises(ConfigError, match="expected sinusoids, or a"):
        evaluate_regression(Evaluate(run=str(tmp_path / "run"), tasks=5))


def test_a_rate_that_diverges_stops_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"inner loop diverged.*lower --inner_rate"):
        train(config(tmp_path / "run", inner_rate=1e20))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "protonet"}, "method: protonet does not regress; expected one of maml, fomaml"),
        ({"method": "proto-maml"}, "method: proto-maml does not regress"),
        ({"backbone": "conv4-64"}, "backbone: regression takes mlp-W-W"),
        ({"backbone": "mlp-x"}, "backbone: expected mlp-W-W"),
        ({"data": "digits"}, "backbone: mlp-8-8 reads numbers, not pictures"),
        ({"target": "y"}, "target: sinusoids have one target"),
        ({"data": "pictures.zip", "target": "y"}, "data: expected sinusoids, or a .csv or .npz of tasks"),
        ({"augment": True, "image_size": 28}, "augment, image_size: for pictures only"),
        ({"method": "alfa", "init": "prototypes"}, "init: prototypes are means of classes"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_named(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(tmp_path / "run", **changes))


def test_evaluation_refuses_what_only_pictures_have(tmp_path: Path) -> None:
    train(config(tmp_path / "run"))
    with pytest.raises(ConfigError, match="head, ensemble: for runs on pictures only"):
        evaluate(Evaluate(run=str(tmp_path / "run"), head="r2d2", ensemble="best"))
    with pytest.raises(ConfigError, match="has no encoder of pictures"):
        read_run(tmp_path / "run")


def test_too_few_rows_are_found_before_training(tmp_path: Path) -> None:
    path = table(tmp_path / "tasks.csv", rows=5)
    with pytest.raises(DataError, match=r"4 \+ 6 rows of each task are needed, but task 't\d+' of tasks has 5"):
        open_tasks(config(tmp_path / "run", data=str(path), target="y"))


def test_clamped_gradients_stay_within_the_clamp(tmp_path: Path) -> None:
    """Plain SGD would move a parameter by rate x gradient; clamped to 0.01 none moves by more than rate x 0.01 x 1.9
    (Nesterov momentum 0.9 in its first step), and the largest by exactly that."""
    own = config(tmp_path, optimizer="sgd", learning_rate=0.5, schedule="constant", clip=0.01)
    trainer = doubled(own)
    before = [parameter.detach().clone() for parameter in trainer.module.parameters()]
    trainer.advance()
    moved = max(float((a.detach() - b).abs().max()) for a, b in zip(trainer.module.parameters(), before, strict=True))
    assert moved == pytest.approx(0.5 * 0.01 * 1.9, rel=1e-9)
    with pytest.raises(ConfigError, match="clip: expected more than 0"):
        config(tmp_path, clip=0.0)

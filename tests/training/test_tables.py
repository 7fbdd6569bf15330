"""Meta-Neighborhoods on the rows of a table, and its baselines: a step against a loop, resumption, results, refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.neighbors import KNeighborsRegressor

from modicum.adaptation.neighborhoods import regression
from modicum.cli import main
from modicum.configs import Evaluate, Train
from modicum.configs.tables import with_rows
from modicum.data.regression_tables import read_regression_table
from modicum.errors import ConfigError, DataError
from modicum.files import read_tensors
from modicum.memory.dictionary import drop_entries
from modicum.runtime import Ranks, torch_generator
from modicum.training.evaluate import evaluate
from modicum.training.runs import read_record, read_run
from modicum.training.tables.networks import as_many
from modicum.training.tables.predicting import predict_table
from modicum.training.tables.results import root_mean
from modicum.training.tables.runs import load_table_run
from modicum.training.tables.subject import TableSubject, open_table
from modicum.training.trainer import Trainer, train


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rows of two inputs and two targets, the second a hundred times as large."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = np.stack([np.sin(2 * x[:, 0]) + x[:, 1], 100 * x[:, 0] * x[:, 1]], 1)
    path = tmp_path_factory.mktemp("data") / "waves.csv"
    np.savetxt(path, np.concatenate([x, y], 1), delimiter=",", header="u,v,p,q", comments="", fmt="%.6f")
    return path


def config(data: Path, out: Path, **changes: Any) -> Train:
    options: dict[str, Any] = {
        "target": "p,q", "backbone": "mlp-8-8", "entries": 30, "batch_pictures": 16, "steps": 20, "validate_every": 5,
        "learning_rate": 0.01, "entry_dropout": 0.5, "device": "cpu", "tensorboard": False, **changes,
    }  # fmt: skip
    if (baseline := changes.get("baseline", "none")) != "none":
        del options["entry_dropout"]
    if baseline not in ("none", "parameters"):
        del options["entries"]
    return Train(data=str(data), out=str(out), method="meta-neighborhoods", **options)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "checkpoints/last.safetensors")[0]


@pytest.mark.parametrize("draw", ["query", "shared"])
def test_a_step_is_the_mean_over_rows_of_each_row_alone(table: Path, tmp_path: Path, draw: str) -> None:
    own = config(table, tmp_path / "run", dropout_draw=draw)
    subject = TableSubject(own, open_table(own), torch.device("cpu"), Ranks())
    objective, regressor = subject.objective, subject.objective.network.regressor
    part = objective.part(3, Ranks())
    kept = drop_entries(30, 0.5, draw, 16, torch_generator(0, "entries", 3))
    total = 0.0
    for place, row in enumerate(objective.batch(3).tolist()):
        keep = kept[place : place + 1] if draw == "query" else kept
        total += float((regressor(objective.x[row : row + 1], keep) - objective.y[row]).square().mean().detach()) / 16
    assert part.loss.item() == pytest.approx(total, rel=1e-5)
    halves = [objective.part(3, Ranks(rank, 2)).loss.item() for rank in range(2)]
    assert sum(halves) == pytest.approx(total, rel=1e-5)


def test_rows_of_an_epoch_are_all_different_and_standardised_by_training_rows(table: Path, tmp_path: Path) -> None:
    own = config(table, tmp_path / "run")
    found = open_table(own)
    objective = TableSubject(own, found, torch.device("cpu"), Ranks()).objective
    epoch = np.concatenate([objective.batch(step) for step in range(5)])  # 84 training rows: 5 steps of 16
    assert len(set(epoch.tolist())) == 80
    assert objective.x.mean(0).abs().max() < 1e-6
    assert (objective.y.var(0, unbiased=False) - 1).abs().max() < 1e-5
    held = objective.network.standardised(found.x[found.rows("test")])
    assert held.mean(0).abs().max() > 1e-3


def test_decay_shrinks_the_mlp_alone_and_values_begin_in_the_range_of_targets(table: Path, tmp_path: Path) -> None:
    own = config(table, tmp_path / "run", weight_decay=0.001)
    network = TableSubject(own, open_table(own), torch.device("cpu"), Ranks()).objective
    groups = network.optimizer.param_groups
    regressor = network.network.regressor
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]  # TensorFlow's sense: over the rate
    assert set(map(id, groups[0]["params"])) == set(map(id, regressor.network.parameters()))
    assert len(groups[1]["params"]) == 3
    assert regressor.dictionary is not None
    values = regressor.dictionary.values().detach()
    assert bool((values >= network.y.amin(0)).all())
    assert bool((values <= network.y.amax(0)).all())
    assert float((values.amax(0) - values.amin(0)).min()) > 2.0
    assert 0.07 < float(regressor.dictionary.keys.detach().std()) < 0.13


@pytest.mark.parametrize("changes", [{}, {"inner_steps": 2, "inner_rates": "diagonal"}, {"baseline": "parameters"}])
def test_training_goes_on_to_the_bit(
    table: Path, tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = config(table, tmp_path / "whole", **changes)
    train(whole)
    broken = replace(whole, out=str(tmp_path / "broken"))

    def stop(step: int, _: int) -> None:
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, progress=stop)
    train(replace(broken, resume=True))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert one.keys() == two.keys()
    assert all(bool((one[name] == two[name]).all()) for name in one)


def test_patience_ends_a_training_and_is_resumed(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([5.0, 3.0, 4.0, 4.0, 9.0, 9.0, 9.0])
    true = TableSubject.validate

    def scripted(self: TableSubject, here: Ranks) -> Any:
        return replace(true(self, here), mean=next(errors))

    monkeypatch.setattr(TableSubject, "validate", scripted)
    own = config(table, tmp_path / "run", steps=500, patience=3)

    def stop(step: int, _: int) -> None:
        if step == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(own, progress=stop)
    found = train(replace(own, resume=True))
    assert (found.steps, found.validation) == (25, 3.0)  # validations at 5, 10 (best), 15, 20, 25
    assert train(replace(own, resume=True)).steps == 25
    assert load_table_run(tmp_path / "run").record["step"] == 10


def test_a_trainer_without_patience_ends_at_its_last_step(table: Path, tmp_path: Path) -> None:
    trainer = Trainer(config(table, tmp_path / "run"), open_table(config(table, tmp_path / "run")))
    assert trainer.patience.most == 10
    trainer.patience.most = None
    for _ in range(50):
        trainer.patience.after_validation(False)
    assert not trainer.patience.over


def test_usual_sizes_are_those_of_the_paper(table: Path, tmp_path: Path) -> None:
    own = with_rows(Train(data=str(table), out="run", method="meta-neighborhoods", target="p"), 1_300)
    assert (own.batch_pictures, own.steps, own.validate_every, own.patience, own.entries) == (128, 2_000, 10, 10, 1_000)
    assert (own.temperature, own.learning_rate, own.schedule, own.inner_steps) == (0.1, 1e-3, "constant", 1)
    assert own.entry_dropout == 0.0
    vanilla = with_rows(replace(own, baseline="vanilla", entries=Train.entries), 1_300)
    assert Train(**json.loads(json.dumps(vanilla.__dict__))).baseline == "vanilla"  # as config.json is read back


def test_the_wider_network_has_as_many_more_parameters_as_the_dictionary_has_numbers() -> None:
    def count(widths: tuple[int, ...]) -> int:
        return sum((a + 1) * b for a, b in pairwise(widths))

    hidden = as_many((64, 64), 20, 1, 1_000)
    assert hidden[:2] == (64, 64)
    extra = count((20, *hidden, 1)) - count((20, 64, 64, 1))
    assert abs(extra - 1_000 * 21) <= 33  # half a unit of 64 + 1 + 1


def test_results_hold_both_units_before_and_after(table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(table, run, steps=200, validate_every=50))
    found = evaluate(Evaluate(run=str(run)))
    held = read_regression_table(table, "p,q")
    rows, training = held.rows("test"), held.y[held.rows("train")]
    loaded = load_table_run(run)
    outputs = loaded.model.outputs.undo(loaded.model.outputs_of(held.x[rows]))
    assert [row["branch"] for row in found["rows"]] == ["before", "adapted"]
    for row, predicted in zip(found["rows"], outputs, strict=True):
        errors = predicted - held.y[rows]
        assert row["rmse"] == pytest.approx(math.sqrt((errors**2).mean()))
        assert row["standardised"] == pytest.approx(math.sqrt(((errors / training.std(0)) ** 2).mean()))
        assert row["targets"][1]["name"] == "q"
        assert row["targets"][1]["rmse"] == pytest.approx(math.sqrt((errors[:, 1] ** 2).mean()))
        assert row["lower"] < row["rmse"] < row["upper"]
    mean = held.y[rows] - training.mean(0)
    assert found["mean_of_training"]["rmse"] == pytest.approx(math.sqrt((mean**2).mean()))
    assert found["rows"][1]["standardised"] < min(0.7, found["rows"][0]["standardised"])
    assert read_record(run)[1]["data"]["parts"] == {"train": 84, "val": 12, "test": 24}


def test_a_copy_of_the_runs_table_tests_the_same_rows(table: Path, tmp_path: Path) -> None:
    """By another path its training rows would be tested too; a table that differs in one row is another one, all of it."""
    run, copy = tmp_path / "run", tmp_path / "copy.csv"
    train(config(table, run))
    copy.write_bytes(table.read_bytes())
    own, other = evaluate(Evaluate(run=str(run))), evaluate(Evaluate(run=str(run), data=str(copy)))
    assert [row["rmse"] for row in other["rows"]] == [row["rmse"] for row in own["rows"]]
    assert other["rows"][0]["rows"] == 24
    copy.write_bytes(table.read_bytes() + b"1,2,3,4\n")
    assert evaluate(Evaluate(run=str(run), data=str(copy)))["rows"][0]["rows"] == 121


def test_root_mean_by_hand() -> None:
    """Squares 1, 3: mean 2, deviation sqrt 2, stderr 1, 12.7062 for one degree: 0 to sqrt 14.7062."""
    found = root_mean(np.array([1.0, 3.0]))
    assert found == pytest.approx((math.sqrt(2), 0.0, math.sqrt(14.7062)), rel=1e-5)
    assert found.radius == pytest.approx(math.sqrt(14.7062) - math.sqrt(2), rel=1e-5)


def test_predictions_are_found_by_name_and_say_what_they_rest_on(table: Path, tmp_path: Path) -> None:
    run, new = tmp_path / "run", tmp_path / "new.csv"
    train(config(table, run))
    new.write_text("v,extra,u\n0.5,9,1\n-1,9,0\n")
    answers = predict_table(run, new, 2)
    loaded = load_table_run(run)
    expected = loaded.model.outputs.undo(loaded.model.outputs_of(np.array([[1.0, 0.5], [0.0, -1.0]])))
    assert [row[0] for row in answers.rows] == [pytest.approx(row) for row in expected[-1]]
    assert [row[1] for row in answers.rows] == [pytest.approx(row) for row in expected[0]]
    network: Any = loaded.model
    w = network.regressor.attention(network.standardised(np.array([[1.0, 0.5]])))[0]
    assert [near.number for near in answers.rows[0][2]] == w.topk(2).indices.tolist()
    values = network.outputs.undo(network.regressor.dictionary.values().detach().numpy())
    assert answers.rows[0][2][0].values == pytest.approx(tuple(values[int(w.argmax())]))
    new.write_text("w,extra,u\n0.5,9,1\n-1,9,0\n")
    with pytest.raises(DataError, match=r"new\.csv has no column 'v'"):
        predict_table(run, new)
    new.write_text("1,0.5\n0,-1\n")
    assert predict_table(run, new).rows[0][0] == pytest.approx(tuple(expected[-1][0]))


def test_knn_takes_the_number_that_validates_best(table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = train(config(table, run, baseline="knn", target="p", steps=10_000))
    held = read_regression_table(table, "p")
    rows = {part: held.rows(part) for part in ("train", "val", "test")}
    mean, deviation = held.x[rows["train"]].mean(0), held.x[rows["train"]].std(0)
    x = (held.x - mean) / deviation
    errors = {}
    for k in (1, 2, 3, 5, 7, 10, 15, 20, 30, 50):
        model = KNeighborsRegressor(k).fit(x[rows["train"]], held.y[rows["train"]])
        errors[k] = float(np.square(model.predict(x[rows["val"]]) - held.y[rows["val"]]).mean())
    best = min(errors, key=errors.__getitem__)
    assert read_record(run)[1]["choice"] == {"neighbours": best}
    assert found.validation == pytest.approx(errors[best] / held.y[rows["train"]].var())
    model = KNeighborsRegressor(best).fit(x[rows["train"]], held.y[rows["train"]])
    expected = math.sqrt(float(np.square(model.predict(x[rows["test"]]) - held.y[rows["test"]]).mean()))
    assert evaluate(Evaluate(run=str(run)))["rows"][0]["rmse"] == pytest.approx(expected)
    near = load_table_run(run).model.nearest(held.x[:1], 1)[0][0]
    assert near.weight == pytest.approx(1 / best)
    train(config(table, tmp_path / "four", baseline="knn", neighbours=4))
    assert read_record(tmp_path / "four")[1]["choice"] == {"neighbours": 4}


def test_fitted_baselines_are_made_again_from_the_same_rows_only(table: Path, tmp_path: Path) -> None:
    copy, run = tmp_path / "copy.csv", tmp_path / "run"
    copy.write_bytes(table.read_bytes())
    own = config(copy, run, baseline="trees")
    first = train(own)
    assert train(replace(own, resume=True)).validation == first.validation
    with pytest.raises(ConfigError, match="already holds a run"):
        train(own)
    one, two = (evaluate(Evaluate(run=str(run)))["rows"][0]["rmse"] for _ in range(2))
    assert one == two
    assert max(read_record(run)[1]["choice"]["rounds"]) <= 1_000
    copy.write_bytes(table.read_bytes().replace(b"u,v,p,q\n", b"u,v,p,q\n1,2,3,4\n"))
    with pytest.raises(ConfigError, match="has changed since"):
        evaluate(Evaluate(run=str(run)))


def test_diabetes_is_predicted_better_than_by_the_mean(tmp_path: Path) -> None:
    data = load_diabetes()
    path = tmp_path / "diabetes.csv"
    np.savetxt(
        path, np.c_[data.data, data.target], delimiter=",", header=",".join([*data.feature_names, "progress"]), comments=""
    )
    assert (
        main(
            f"train --data {path} --target progress --method meta-neighborhoods --out {tmp_path / 'run'} --epochs 30".split()
        )
        == 0
    )
    found = evaluate(Evaluate(run=str(tmp_path / "run")))
    adapted, mean = found["rows"][-1], found["mean_of_training"]
    assert adapted["upper"] < mean["lower"]
    assert adapted["rmse"] < 0.8 * mean["rmse"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--entries 0", "entries: expected at least 1"),
        ("--temperature 0", "temperature: expected more than 0, found 0"),
        ("--inner_steps 0", "inner_steps: expected at least 1"),
        ("--image_size 32", "image_size: for pictures only, and this is a table"),
        ("--entry_values one-hot", "entry_values: for pictures only"),
        ("--fold 0", "fold, fold_file: give both"),
        ("--backbone conv4-64", "backbone: a table takes mlp-W-W"),
        ("--baseline knn --entries 9", "entries: --baseline knn has no dictionary"),
        ("--baseline knn --neighbours 900", "neighbours: 900 asked for, but there are 84 training rows"),
        ("--batch_pictures 900", "batch_pictures: 900 rows asked for, but there are 84 training rows"),
        ("--target pp", "target: there is no column 'pp'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    table: Path, tmp_path: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        f"train --data {table} --target p --method meta-neighborhoods --out {tmp_path / 'run'} --steps 2 {options}".split()
    )
    assert main(words) != 0
    assert message in capsys.readouterr().err


def test_more_steps_than_memory_allows_are_refused(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "free_bytes", lambda device: 10_000)
    with pytest.raises(ConfigError, match=r"inner_steps: 3 steps over 30 entries take about .* bytes for ONE item"):
        train(config(table, tmp_path / "run", inner_steps=3))


def test_runs_on_tables_are_no_runs_on_pictures(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train(config(table, run))
    with pytest.raises(ConfigError, match="has no encoder of pictures"):
        read_run(run)
    with pytest.raises(ConfigError, match="shots: not for a run on the rows of a table"):
        evaluate(Evaluate(run=str(run), shots=[3]))
    assert main(f"predict {run} {table} --reject 0.5".split()) != 0
    assert "reject: not for a run on the rows of a table" in capsys.readouterr().err
    assert main(f"predict {run} {table} --json {tmp_path / 'p.json'}".split()) == 0
    record = json.loads((tmp_path / "p.json").read_text())
    assert len(record["rows"]) == 120
    assert set(record["rows"][0]["prediction"]) == {"p", "q"}
    assert len(record["rows"][0]["neighbours"]) == 3

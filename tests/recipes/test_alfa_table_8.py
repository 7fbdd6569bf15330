"""Table 8 of ALFA: what is measured, that both methods have the same settings, and a row from a tiny run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modicum.configs import Reproduce, Train
from modicum.episodes.regression import Sinusoids
from modicum.errors import TrainingError
from modicum.recipes import reproduce
from modicum.recipes.alfa_table_8 import RECIPE, TRIED, model_name
from modicum.recipes.measuring import Site, measure
from modicum.recipes.table import table_row
from modicum.training.trainer import train


def test_both_methods_train_alike_and_meet_the_same_tasks() -> None:
    """Options differ in the method alone; its rates are among those that were tried."""
    for network in ("2x40", "3x80"):
        for shots in (5, 10, 20):
            maml, alfa = (RECIPE.models[model_name(method, network, shots)] for method in ("MAML", "ALFA + MAML"))
            for scale, options in maml.items():
                assert replace(alfa[scale], method="maml") == options
                assert options.shots == shots
    chosen = RECIPE.models[model_name("MAML", "2x40", 10)]["cpu"]
    assert (chosen.inner_rate, chosen.learning_rate) in [row[1:3] for row in TRIED]


def test_every_published_number_has_its_row_and_every_column_its_order() -> None:
    assert len(RECIPE.rows) == 12
    assert {row.kind for row in RECIPE.rows} == {"mse"}
    published = {row.name: (row.paper, row.paper_ci95) for row in RECIPE.rows}
    assert published["MAML, 2x40, k = 5"] == (1.24, 0.21)
    assert published["ALFA + MAML, 3x80, k = 20"] == (0.25, 0.06)
    assert [(order.upper, order.lower) for order in RECIPE.orders] == [
        (f"MAML, {net}, k = {k}", f"ALFA + MAML, {net}, k = {k}") for net in ("2x40", "3x80") for k in (5, 10, 20)
    ]


def test_a_row_is_the_squared_error_of_its_run_on_test_tasks_of_its_seed(tmp_path: Path) -> None:
    row = RECIPE.rows[0]
    options = RECIPE.models[str(row.model)]["smoke"]
    train(replace(options, out=str(tmp_path / "run"), steps=2, validate_every=2, seed=3, device="cpu"))
    record = measure(row, Site(tmp_path / "run", None, None, seed=3, tasks=6))
    assert record["value"] == record["mse"] == pytest.approx(sum(record["per_task"]) / 6, rel=1e-4)
    assert (record["shots"], record["queries"], record["tasks"]) == (5, 100, 6)
    flat = Sinusoids(3, "test").episode(range(6), 5, 100).query.y.square().mean().item()
    assert record["per_step"][0]["mse"] == pytest.approx(flat, rel=0.5)  # an untrained network is nearly 0 everywhere
    shown = table_row("alfa_table_8", row, "smoke", {3: record}).cells()
    assert shown[1] == "1.240 ± 0.210"
    assert shown[2] == f"{record['mse']:.3f} ± {record['ci95']:.3f}"


def test_a_training_that_diverges_is_a_row_that_was_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained once for all rows of its model; the table gives the reason, and other rows are none the worse."""
    asked = []

    def diverges(config: Train, progress: object = None) -> None:
        asked.append(config.out)
        raise TrainingError("the inner loop diverged: lower --inner_rate")

    monkeypatch.setattr("modicum.training.trainer.train", diverges)
    table = reproduce(Reproduce("alfa_table_8", results=str(tmp_path)))
    assert {row.status for row in table.rows} == {"not run"}
    assert {row.reason for row in table.rows} == {"the inner loop diverged: lower --inner_rate"}
    assert len(asked) == len(set(asked)) == 12

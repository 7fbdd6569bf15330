"""Table 2 of Meta-Neighborhoods: folds are seeds, what is not here is said, numbers come from test rows."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modicum.configs import Reproduce
from modicum.configs.tables import WITHOUT_STEPS
from modicum.data.columns import read_columns
from modicum.data.regression_tables import read_regression_table
from modicum.errors import DataError
from modicum.files import read_json
from modicum.recipes import runner
from modicum.recipes.mn_table_2 import ABSENT, FOLDED, METHODS, RECIPE, SPLIT, row_name
from modicum.recipes.regression_tables import on_table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A table called wine with 90 rows and three folds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3))
    rows = np.c_[x, x[:, :1] * 5 + 3 * np.abs(x[:, 1:2])]
    (tmp_path / "uci").mkdir()
    masks = np.arange(90)[:, None] % 3 == np.arange(3)
    for name, values in (("data", rows), ("test_mask", masks.astype(int))):
        text = "\n".join(",".join(map(str, row)) for row in values.tolist())
        (tmp_path / "uci" / f"wine.{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_a_seed_is_a_fold_and_files_lie_under_the_root(root: Path) -> None:
    found = on_table(RECIPE.models["table-wine-none"]["cpu"], 2, str(root))
    assert (found.fold, found.data, found.fold_file) == (
        2, str(root / "uci/wine.data.csv.gz"), str(root / "uci/wine.test_mask.csv.gz")
    )  # fmt: skip
    with pytest.raises(DataError, match=r"uci/gas\.data\.csv\.gz was not found"):
        on_table(RECIPE.models["table-gas-none"]["cpu"], 0, str(root))


def test_five_models_on_eighteen_tables_and_two_tables_that_are_not_here() -> None:
    assert len(RECIPE.rows) == len(METHODS) * (len(FOLDED) + len(SPLIT)) + len(ABSENT)
    for row in RECIPE.rows[-2:]:
        assert row.model_at("cpu") is None
        assert "is not here" in row.missing
    assert all(row.paper is None for row in RECIPE.rows)
    steps = {
        name: scales["cpu"].steps for name, scales in RECIPE.models.items() if scales["cpu"].baseline not in WITHOUT_STEPS
    }
    assert max(steps.values()) == 1_500
    assert steps["table-gom_default_68-none"] == 200 * (741 // 128)


def test_rows_are_test_errors_of_folds_and_orders_are_paired(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(row for row in RECIPE.rows if row.name.startswith("wine, ") and "vanilla +" not in row.name)
    orders = tuple(
        order for order in RECIPE.orders if order.upper in (row_name("wine", "vanilla"), row_name("wine", "k-NN"))
    )
    small = replace(RECIPE, rows=rows, orders=orders)
    monkeypatch.setattr(runner, "recipe_named", lambda name: (name, small))
    config = Reproduce("mn_table_2", "smoke", str(root), str(root / "results"), [0, 1, 2])
    table = runner.reproduce(config)
    assert [row.status for row in table.rows] == ["reduced scale"] * 4
    found = {seed: runner.finished("mn_table_2", rows[2], config)[seed] for seed in range(3)}
    held = read_regression_table(root / "uci/wine.data.csv.gz", "last")
    for seed, record in found.items():
        assert record["parts"]["test"] == 30
        assert record["repeated"] == "folds"
        y, test = held.y[:, 0], np.arange(90) % 3 == seed
        mean = record["mean_of_training"]["rmse"]
        assert abs(mean - np.sqrt(np.square(y[test] - y[~test].mean()).mean())) < 0.1  # but for the validation rows
        assert record["value"] == record["root_mean_squares"][-1]["rmse"] < mean
    assert table.rows[2].ours == pytest.approx(np.mean([record["value"] for record in found.values()]))
    assert table.rows[2].interval_over == "3 training runs, each on one of 3 folds"
    assert len(table.orders) == 2
    assert all(order.seeds == (0, 1, 2) for order in table.orders)
    assert table.rows[3].setting == "trees, uci/wine.data.csv.gz"
    record = read_json(runner.result_file(root / "results" / "mn_table_2", rows[0], "smoke", 1))
    assert [each["branch"] for each in record["root_mean_squares"]] == ["before", "adapted"]
    assert str(root) not in str(record)


TABLES = Path(os.environ.get("MODICUM_TEST_DATA", "")) / "uci"  # beside what unpack.py makes, which has pictures only


@pytest.mark.skipif(not TABLES.is_dir(), reason="MODICUM_TEST_DATA has no folder uci: no tables to read")
@pytest.mark.parametrize("name", ["wine", "gom_default_68"])
def test_real_tables_have_the_rows_that_are_told(name: str) -> None:
    if name == "wine":
        found = read_columns(TABLES / "wine.data.csv.gz")
        assert found.values.shape == (FOLDED["wine"], 12)
    else:
        whole = SPLIT["gom"]
        found = read_columns(TABLES / f"{whole.file}.csv.gz")
        assert found.values.shape == (whole.rows, 70)
        latitude = found.values[:, found.names.index(whole.target.split(",")[0])]
        assert -90 <= latitude.min() < latitude.max() <= 90

"""What a line of a table claims, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.configs import Scale
from modicum.evaluation.intervals import MeanInterval
from modicum.recipes.recipe import Row
from modicum.recipes.table import as_text, combine, status_of, table_row

OURS = MeanInterval(mean=0.660, ci95=0.005, stderr=0.0025, count=1000, over="draws of tasks")


@pytest.mark.parametrize(
    ("scale", "paper", "radius", "status"),
    [
        ("full", 0.670, 0.006, "reproduced"),  # 1.0 point apart, 0.5 + 0.6 allowed
        ("full", 0.672, 0.006, "undecided"),  # 1.2 apart
        ("full", 0.648, 0.006, "undecided"),  # better than published is not the published number either
        ("full", 0.664, None, "reproduced"),  # no published interval: ours alone
        ("full", 0.670, None, "undecided"),
        ("full", None, None, "undecided"),
        ("cpu", 0.660, 0.006, "reduced scale"),  # equal, but not the published training
        ("smoke", 0.660, 0.006, "reduced scale"),
    ],
)
def test_status(scale: Scale, paper: float | None, radius: float | None, status: str) -> None:
    assert status_of(scale, paper, radius, OURS)[0] == status


def record(accuracy: float, spread: float = 0.1) -> dict[str, object]:
    tasks = accuracy + spread * np.tile([-1.0, 1.0], 50)
    return {"accuracy": accuracy, "interval_over": "draws of 100 tasks", "per_task": tasks.tolist()}


def test_one_seed_has_the_interval_over_tasks() -> None:
    found = combine([record(0.5)])
    assert found.mean == pytest.approx(0.5)
    assert found.ci95 == pytest.approx(1.984 * 0.1 * np.sqrt(100 / 99) / 10, rel=1e-3)
    assert found.over == "draws of 100 tasks"


def test_three_seeds_have_students_interval_over_seeds_not_over_tasks() -> None:
    found = combine([record(0.50), record(0.53), record(0.56)])
    assert found.mean == pytest.approx(0.53)
    assert found.ci95 == pytest.approx(4.303 * 0.03 / np.sqrt(3), rel=1e-3)
    assert "3 training runs" in found.over


def test_a_row_that_was_not_run_shows_dashes_and_the_reason() -> None:
    line = table_row("recipe", Row("5way-1shot", "m", 5, 1, paper=0.988), "cpu", {}, "data: omniglot was not found")
    assert line.cells() == ("5way-1shot", "98.80 %", "-", "-", "cpu", "not run")
    assert "omniglot was not found" in as_text([line])


def test_the_table_says_what_the_interval_is_over() -> None:
    line = table_row("recipe", Row("5way-1shot", "m", 5, 1, paper=0.5, paper_ci95=0.01), "full", {7: record(0.5)})
    assert line.cells() == ("5way-1shot", "50.00 % ± 1.00", "50.00 % ± 1.99", "7", "full", "reproduced")
    text = as_text([line])
    assert "interval over: draws of 100 tasks" in text
    assert text.splitlines()[0].split("  ")[0] == "row"

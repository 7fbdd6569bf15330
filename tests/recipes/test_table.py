"""What a line of a table claims, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.configs import Scale
from modicum.recipes.recipe import Row
from modicum.recipes.table import Ours, Table, as_text, combine, shown, status_of, table_row

OURS = Ours(mean=0.660, ci95=0.005, over="draws of tasks")


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
    assert line.cells() == ("5way-1shot", "98.80 %", "-", "-", "-", "cpu", "not run")
    assert "omniglot was not found" in as_text(Table((line,)))


def test_the_table_says_what_the_interval_is_over() -> None:
    line = table_row(
        "recipe", Row("5way-1shot", "m", 5, 1, paper=0.5, paper_ci95=0.01), "full", {7: record(0.5)}, setting="conv4-64, x"
    )
    assert line.cells() == ("5way-1shot", "50.00 % ± 1.00", "50.00 % ± 1.99", "conv4-64, x", "7", "full", "reproduced")
    text = as_text(Table((line,)))
    assert "interval over: draws of 100 tasks" in text
    assert text.splitlines()[0].split("  ")[0] == "row"


def test_numbers_that_are_no_accuracy_are_shown_in_their_own_unit() -> None:
    assert shown("r_fc", 2.9166, 0.05) == "2.917 ± 0.050"
    assert shown("cka", 0.71, None) == "0.710"
    assert [shown("train_seconds", seconds, None) for seconds in (44.0, 960.0, 60_480.0)] == ["44.0 s", "16.0 min", "16.8 h"]


def test_numbers_without_draws_have_an_interval_from_three_seeds_only() -> None:
    one = {"value": 0.7, "ci95": None, "interval_over": "one pair of networks"}
    assert combine([one]) == (0.7, None, "one pair of networks")
    assert combine([one, {**one, "value": 0.8}])[:2] == (pytest.approx(0.75), None)
    assert combine([one, {**one, "value": 0.8}, {**one, "value": 0.9}]).ci95 == pytest.approx(
        4.303 * 0.1 / np.sqrt(3), rel=1e-3
    )


def test_two_seeds_of_a_mean_over_pairs_pool_their_intervals() -> None:
    """Radii 0.3 and 0.4 of two means: the mean of both has sqrt(0.09 + 0.16) / 2 = 0.25."""
    one, two = ({"value": value, "ci95": radius, "interval_over": "pairs"} for value, radius in ((1.0, 0.3), (2.0, 0.4)))
    assert combine([one, two]).ci95 == pytest.approx(0.25)


def test_a_time_of_another_machine_is_never_called_reproduced() -> None:
    assert status_of("full", 60.0, None, Ours(60.0, None, ""), "train_seconds")[0] == "undecided"
    assert status_of("full", 1.29, None, Ours(1.30, 0.02, ""), "r_fc") == (
        "reproduced",
        "full scale, and the two intervals meet",
    )
    assert status_of("full", 1.29, None, Ours(1.40, 0.02, ""), "r_fc")[1].endswith(
        "+0.110 from the published number, 0.020 allowed"
    )

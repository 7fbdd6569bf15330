"""Orders of methods: paired over at least three seeds, or undecided. All records here are fabricated."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.configs import Reproduce
from modicum.files import write_json
from modicum.recipes.chapter_5 import CLAIM
from modicum.recipes.orders import find_claim, find_order
from modicum.recipes.recipe import CHANCE, Claim, Order
from modicum.recipes.runner import collect, recipe_named, result_file
from modicum.recipes.table import as_text

ORDER = Order("a", "b", "a is better")


def records(*values: float, first: int = 0) -> dict[int, dict[str, float]]:
    return {seed: {"value": value} for seed, value in enumerate(values, first)}


def test_paired_differences_over_three_seeds() -> None:
    """Differences 0.02, 0.03, 0.04: mean 0.03, Student's radius 4.303 * 0.01 / sqrt 3 = 0.0248. Unpaired, the spread
    of the seeds (0.1 apart) would hide it.
    """
    found = find_order("t", ORDER, records(0.52, 0.63, 0.74), records(0.50, 0.60, 0.70))
    assert found.difference == pytest.approx(0.03)
    assert found.ci95 == pytest.approx(0.02484, rel=1e-3)
    assert (found.shown, found.outcome) == ("a above b", "confirmed")
    assert "difference +0.0300 ± 0.0248 (95 %) over seeds 0, 1, 2: a above b" in found.as_text()


def test_the_other_order_refutes() -> None:
    found = find_order("t", ORDER, records(0.50, 0.60, 0.70), records(0.52, 0.63, 0.74))
    assert (found.shown, found.outcome) == ("b above a", "refuted")


def test_an_interval_that_holds_zero_decides_nothing() -> None:
    found = find_order("t", ORDER, records(0.52, 0.63, 0.70), records(0.50, 0.60, 0.71))
    assert (found.shown, found.outcome) == ("undecided", "undecided")
    assert found.difference == pytest.approx(0.04 / 3)


def test_fewer_than_three_common_seeds_show_no_order_however_clear() -> None:
    """Three seeds each, of which two are common: a difference of 0.9 without any spread stays undecided."""
    found = find_order("t", ORDER, records(0.95, 0.95, 0.95), records(0.05, 0.05, 0.05, first=1))
    assert (found.seeds, found.difference, found.outcome) == ((1, 2), None, "undecided")
    assert "2 common seed(s), an order needs 3" in found.as_text()


@pytest.mark.parametrize(
    ("outcomes", "together"),
    [
        (("a", "a"), "confirmed"),
        (("a", "?"), "undecided"),
        (("a", "b"), "refuted"),
        (("?", "b"), "refuted"),
    ],
)
def test_a_claim_needs_all_its_orders(outcomes: tuple[str, ...], together: str) -> None:
    upper = {"a": (0.9, 0.91, 0.92), "?": (0.4, 0.5, 0.6), "b": (0.1, 0.11, 0.12)}
    parts = [find_order("t", ORDER, records(*upper[outcome]), records(0.5, 0.5, 0.5)) for outcome in outcomes]
    assert find_claim(Claim("all hold", tuple(("t", ORDER) for _ in outcomes)), parts).outcome == together


def fabricate(results: Path, values: dict[tuple[str, str], tuple[float, float, float]]) -> None:
    for (name, row_name), numbers in values.items():
        row = next(row for row in recipe_named(name)[1].rows if row.name == row_name)
        for seed, value in enumerate(numbers):
            record = {"value": value, "ci95": 0.01, "interval_over": "fabricated"}
            write_json(result_file(results / name, row, "cpu", seed), record)


CHAPTER_5 = {
    ("table_5_2", "R2-D2-M, CIFAR-FS, R_FC"): (1.3, 1.2, 1.4),
    ("table_5_2", "R2-D2-C, CIFAR-FS, R_FC"): (2.9, 2.8, 3.0),
    ("table_5_2", "R2-D2-C w/ R_FC, CIFAR-FS, R_FC"): (1.9, 1.7, 2.1),
    ("table_5_2", "R2-D2-M, CIFAR-FS, R_HV"): (0.9, 0.9, 1.0),
    ("table_5_2", "R2-D2-C, CIFAR-FS, R_HV"): (1.7, 1.7, 1.7),
    ("table_5_3", "R2-D2-C, CIFAR-FS, 1-shot"): (0.62, 0.63, 0.64),
    ("table_5_3", "R2-D2-C w/ R_FC, CIFAR-FS, 1-shot"): (0.65, 0.66, 0.67),
}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "confirmed"),
        ({("table_5_3", "R2-D2-C w/ R_FC, CIFAR-FS, 1-shot"): (0.60, 0.61, 0.62)}, "refuted"),
        ({("table_5_2", "R2-D2-C, CIFAR-FS, R_HV"): (1.7, 0.2, 1.7)}, "undecided"),
    ],
)
def test_the_claim_of_chapter_5_is_a_function_of_the_results(
    tmp_path: Path, change: dict[tuple[str, str], tuple[float, float, float]], outcome: str
) -> None:
    """Fabricated numbers of tables 5.2 and 5.3; printed below either table, with the figures."""
    fabricate(tmp_path, CHAPTER_5 | change)
    for name in ("table_5_2", "table_5_3"):
        config = Reproduce(name, "cpu", results=str(tmp_path), seeds=[0, 1, 2])
        table = collect(name, recipe_named(name)[1], config, {})
        assert [claim.outcome for claim in table.claims] == [outcome]
        text = as_text(table)
        assert f"{outcome}: chapter 5: meta-learned features are more clustered" in text
        assert "table_5_2: confirmed: meta-learned features have less R_FC" in text
        assert "difference +1.6000 ± 0.0000" in text
    two = Reproduce("table_5_2", "cpu", results=str(tmp_path), seeds=[0, 1])
    assert collect("table_5_2", recipe_named("table_5_2")[1], two, {}).claims[0].outcome == "undecided"


def test_the_claim_of_chapter_5_has_all_its_parts() -> None:
    assert len(CLAIM.parts) == 4
    assert {(of, name) for of, order in CLAIM.parts for name in (order.upper, order.lower)} == set(CHAPTER_5)


@pytest.mark.parametrize(
    ("margin", "outcome", "shown"),
    [
        (-0.02, "confirmed", "a above b - 0.02"),  # the interval, -0.0188 to 0.0088, lies above -0.02
        (-0.015, "undecided", "undecided"),
        (0.005, "undecided", "undecided"),
        (0.01, "refuted", "not a above b + 0.01"),
    ],
)
def test_a_margin_stands_for_zero(margin: float, outcome: str, shown: str) -> None:
    """Differences -0.010, -0.006, 0.001: mean -0.005, Student's radius 4.303 * 0.005568 / sqrt 3 = 0.01383."""
    order = Order("a", "b", "a loses little", margin)
    found = find_order("t", order, records(0.490, 0.594, 0.701), records(0.500, 0.600, 0.700))
    assert found.difference == pytest.approx(-0.005)
    assert found.ci95 == pytest.approx(0.01383, rel=1e-3)
    assert (found.outcome, found.shown) == (outcome, shown)


def test_chance_is_a_tenth_on_every_seed(tmp_path: Path) -> None:
    """An order with `chance` needs records of the other row only; 8-bit sums at 10 to 12 % are below 15 %."""
    config = Reproduce("table_2_1", results=str(tmp_path), seeds=[0, 1, 2])
    name, recipe = recipe_named("table_2_1")
    row = next(row for row in recipe.rows if row.name == "3/1, 8-bit sums")
    for seed, value in enumerate((0.10, 0.12, 0.11)):
        write_json(result_file(tmp_path / name, row, "smoke", seed), {"value": value, "ci95": None, "interval_over": "x"})
    order = next(order for order in collect(name, recipe, config, {}).orders if order.upper == CHANCE)
    assert order.difference == pytest.approx(-0.01)
    assert order.outcome == "confirmed"

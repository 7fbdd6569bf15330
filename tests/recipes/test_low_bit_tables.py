"""The numbers of WrapNet's tables against the chapter as printed; settings; margins of orders; every recipe on digits."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest

from modicum.configs import Quantize, Reproduce, Train
from modicum.data import characters, pictures
from modicum.recipes.low_bit_models import BEFORE, FORMS, LAST, MODELS, STAGE, WARM
from modicum.recipes.low_bit_tables import low_bit_setting
from modicum.recipes.recipe import CHANCE, LOW_BIT, Recipe
from modicum.recipes.runner import RECIPES, recipe_named, reproduce

TRAINED = [f"table_2_{n}" for n in (1, 2, 3, 4, 5, 6, 9, 10, 14)]
HARDWARE = ["table_2_11", "table_2_12", "table_2_13"]
TIMED = ["table_2_7", "table_2_8"]
# Table 2.6 as the chapter prints it.
PRINTED = """
FP 32 32 32 92.45% 91.78% 60.61% 69.59% 76.15%
BWN 32 1 32 91.55% 90.03% 56.56% 63.55% 72.88%
BWN-QA ~3 1 32 91.30% 89.86% 46.30% 57.54% 66.85%
WrapNet ~3 1 8 90.81% 89.78% 44.88% 55.60% 64.30%
WrapNet ~7 1 12 91.59% 90.17% 56.62% 63.11% 72.37%
TWN 32 2 32 91.56% 90.36% 57.57% 65.70% 73.31%
TWN-QA ~4 2 32 91.49% 90.12% 55.84% 63.67% 72.50%
WrapNet ~4 2 8 91.14% 89.56% 52.24% 62.13% 71.62%
WrapNet ~7 2 12 91.53% 90.88% 57.60% 63.84% 73.93%
"""
NETWORKS = ("VGG-7", "ResNet-20", "AlexNet", "ResNet-18", "ResNet-50")
PAPER: dict[str, dict[str, float]] = {
    "table_2_1": {
        "full precision": 92.45, "3/1, overflow": 10.84, "3/1, exact sums": 91.08, "3/1, 8-bit sums": 10.06,
        "2/1, overflow": 1.72, "2/1, exact sums": 88.46, "2/1, 8-bit sums": 44.04,
    },
    "table_2_2": {"k = 1": 90.24, "k = 2": 90.52, "k = 4": 90.25, "k = 10": 89.16},
    "table_2_3": {
        **{f"p = {p}": x for p, x in ((0, 90.07), (2, 90.51), (5, 90.52), (10, 89.92), (20, 88.25))},
        "p = 30": 85.30, "p = 40": 36.11,
        **{f"p = {p}, bits": x for p, x in ((0, 1), (2, 3), (5, 3), (10, 4), (20, 4), (30, 5), (40, 5), (50, 5))},
    },
    "table_2_4": {
        "penalty 0, p = 20": 88.25, "penalty 0, p = 5": 90.52, "penalty 0.01, p = 20": 90.05, "penalty 0.01, p = 5": 90.81,
    },
    "table_2_5": {
        "baseline (v)": 90.81, "baseline (c)": 10.03, "baseline, carries": 254.91, "baseline, deviation": 159.55,
        "buffer bit (c)": 88.22, "R_c (c)": 87.86, "R_c, carries": 384.42, "R_c, deviation": 17.91,
        "hybrid (c)": 89.43, "hybrid, carries": 482.4, "hybrid, deviation": 16.18,
    },
    "table_2_9": {
        "smooth, k = 2": 90.52, "smooth, k = 2, no ReLU": 89.28,
        "ReLU-like, k = 1": 90.25, "ReLU-like, k = 2": 90.31, "ReLU-like, k = 3": 90.15,
        "ReLU-like, k = 1, no ReLU": 88.62, "ReLU-like, k = 2, no ReLU": 89.01, "ReLU-like, k = 3, no ReLU": 88.53,
        "absolute value": 90.17, "absolute value, no ReLU": 89.19,
    },
    "table_2_10": {
        "cyclic, 0": 90.52, "cyclic, 0.001": 90.33, "cyclic, 0.01": 90.81, "cyclic, 0.1": 89.52,
        "no cyclic, 0.01": 64.69, "no cyclic, 0.1": 88.94, "no cyclic, 1": 90.26, "no cyclic, 2": 90.20,
        "cyclic, 0, overflow": 6.29, "cyclic, 0.001, overflow": 1.88, "cyclic, 0.01, overflow": 1.24,
        "cyclic, 0.1, overflow": 1.04, "no cyclic, 0.01, overflow": 5.91, "no cyclic, 0.1, overflow": 0.35,
        "no cyclic, 1, overflow": 0.06, "no cyclic, 2, overflow": 0.03,
    },
    "table_2_14": {
        "1 bit": 90.81, "2 bits": 91.14, "3 bits": 91.55, "4 bits": 91.73, "5 bits": 91.20,
        "1 bit, overflow": 1.24, "2 bits, overflow": 0.12, "3 bits, overflow": 0.02, "4 bits, overflow": 0.04,
        "5 bits, overflow": 0.4,
    },
}  # fmt: skip


def table_2_6() -> dict[str, float]:
    found = {}
    for line in PRINTED.strip().splitlines():
        method, _, weights, bits, *cells = line.split()
        method = f"{method} {weights}/{bits}" if method == "WrapNet" else method
        found |= {f"{network}, {method}": float(cell[:-1]) for network, cell in zip(NETWORKS, cells, strict=True)}
    return found


def paper(name: str) -> dict[str, float]:
    return table_2_6() if name == "table_2_6" else PAPER[name]


def held(recipe: Recipe) -> dict[str, float]:
    per_cent = ("low_bit", "overflow")
    rows = [row for row in recipe.rows if row.paper is not None]
    return {row.name: round((100 if row.kind in per_cent else 1) * (row.paper or 0.0), 4) for row in rows}


def docstring(name: str) -> str:
    return inspect.getdoc(importlib.import_module(f"modicum.recipes.{name}")) or ""


def printed(name: str) -> list[float]:
    """Numbers in the cells of the docstring's table, but for those of the first column and, in 2.6, the three of bits."""
    skipped = 4 if name == "table_2_6" else 2 if name == "table_2_4" else 1
    rows = [line.strip("|").split("|")[skipped:] for line in docstring(name).splitlines() if line.startswith("| ")]
    return [float(cell) for row in rows for cell in row if re.fullmatch(r"\s*\d+(\.\d+)?\s*", cell)]


@pytest.mark.parametrize("name", TRAINED)
def test_rows_hold_the_numbers_of_the_chapter(name: str) -> None:
    assert held(recipe_named(name)[1]) == paper(name)


@pytest.mark.parametrize("name", TRAINED)
def test_docstrings_print_the_numbers_of_the_chapter(name: str) -> None:
    assert sorted(printed(name)) == sorted(paper(name).values())


@pytest.mark.parametrize("name", [*HARDWARE, *TIMED])
def test_docstrings_print_what_rows_hold(name: str) -> None:
    zeros = 6 if name in ("table_2_12", "table_2_13") else 0  # "-" of the units without a cyclic function
    assert sorted([*printed(name), *[0.0] * (zeros // 3)]) == pytest.approx(sorted(held(recipe_named(name)[1]).values()))


@pytest.mark.parametrize("name", TRAINED)
def test_published_orders_follow_the_published_numbers(name: str) -> None:
    """Margins are in fractions; chance is 10 %. 2.5 counts carries, which an order takes as they are."""
    numbers = {**paper(name), CHANCE: 10.0}
    for order in recipe_named(name)[1].orders:
        if order.upper in numbers and order.lower in numbers:
            assert numbers[order.upper] > numbers[order.lower] + 100 * order.margin, order


def test_full_scale_is_as_published() -> None:
    first, start, last = (MODELS[f"low-bit-vgg7{end}"]["full"] for end in ("", "-binary", "-binary-8"))
    assert isinstance(first, Train)
    assert isinstance(start, Quantize)
    assert isinstance(last, Quantize)
    assert (first.data, first.backbone, first.batch_pictures, first.steps) == ("cifar10", "vgg7", 128, 78_000)
    assert 78_000 == 200 * (50_000 // 128)  # 200 epochs
    assert (start.accumulator, start.activations, start.steps) == ("none", "float", 78_000)
    assert (last.weights, last.accumulator, last.cyclic, last.slope) == ("binary", "8", "smooth", 2.0)
    assert (last.overflow, last.penalty, last.warmup_steps, last.steps) == (5.0, 0.01, 78_000, 78_000)
    assert (last.optimizer, last.learning_rate, last.schedule, last.calibration) == ("adam", 1e-3, "wrapnet", 1_000)
    ablated = MODELS["low-bit-vgg7-binary-8-k2"]["full"]
    assert isinstance(ablated, Quantize)
    assert ablated.penalty == 0
    assert MODELS["low-bit-resnet20-ternary-12"]["full"].accumulator == "12"  # type: ignore[union-attr]


def test_all_models_of_a_table_take_as_many_steps_at_reduced_scale() -> None:
    """So a method with more stages has no more training. Models begin from another one, that from another, .. ."""

    def steps(name: str) -> int:
        options = MODELS[name]["cpu"]
        if isinstance(options, Train):
            return int(options.steps)
        assert isinstance(options, Quantize)
        own = (options.pretrain_steps or 0) + (options.warmup_steps or 0) + (options.steps or 0)
        return own + steps(options.run.removeprefix("run:"))

    ends = {"float", *(f"{weights}-{end}" for weights in ("binary", "ternary") for end in ("float", *FORMS))}
    assert {steps(f"low-bit-vgg7-{end}") for end in ends} == {BEFORE + STAGE + LAST}
    assert 0 < WARM < LAST


def test_a_form_differs_from_the_default_in_what_its_name_says_only() -> None:
    whole = vars(MODELS["low-bit-vgg7-binary-8-k2"]["cpu"])

    def differs(end: str) -> set[str]:
        return {name for name, value in vars(MODELS[f"low-bit-vgg7-binary-{end}"]["cpu"]).items() if whole[name] != value}

    assert differs("8") == {"penalty"}
    assert differs("8-k4") == {"slope"}
    assert differs("8-modulo") == {"cyclic"}
    assert differs("8-p40") == {"overflow"}
    assert differs("8-k2-bare") == {"relu", "run"}  # its weights were trained without ReLU too
    assert differs("8-none-penalty-0.1") == {"cyclic", "penalty"}
    assert differs("8-hybrid") == {"carries", "penalty", "carry_penalty"}
    assert differs("qa") == {"accumulator", "warmup_steps", "steps"}


def test_settings_name_backbone_data_and_form() -> None:
    def shown(end: str) -> str:
        options = MODELS[f"low-bit-vgg7{end}"]["cpu"]
        assert isinstance(options, Quantize)
        return low_bit_setting(options, MODELS, "cpu")

    assert shown("-ternary-12") == "vgg7-16, cifar10 at 16 px; ternary weights; 12-bit sums"
    assert shown("-binary-qa") == "vgg7-16, cifar10 at 16 px; binary weights; exact sums"
    assert shown("-float") == "vgg7-16, cifar10 at 16 px; float weights"


def test_figures_of_one_look_are_one_measurement_and_other_sums_are_another() -> None:
    rows = {row.name: row.measurement("cpu") for row in recipe_named("table_2_1")[1].rows}
    assert rows["3/1, overflow"] == rows["3/1, exact sums"] != rows["3/1, 8-bit sums"]
    rows = {row.name: row.measurement("cpu") for row in recipe_named("table_2_5")[1].rows}
    assert rows["baseline, carries"] == rows["baseline (c)"] != rows["baseline (v)"]


def test_rows_of_imagenet_are_there_and_say_why_they_were_not_run() -> None:
    absent = [row for row in recipe_named("table_2_6")[1].rows if row.model_at("cpu") is None]
    assert len(absent) == 27
    assert all("ImageNet" in row.missing and row.paper is not None for row in absent)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def digits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits are made once for all trainings of the module, and no data is there."""
    monkeypatch.delenv("MODICUM_DATA", raising=False)
    monkeypatch.setattr(pictures, "digits", _DIGITS)


_DIGITS = functools.cache(characters.digits)


@pytest.mark.parametrize("name", [n if n == "table_2_1" else pytest.param(n, marks=pytest.mark.slow) for n in TRAINED])
def test_every_recipe_runs_on_digits(name: str, results: Path, digits_once: None) -> None:
    """Rows with a model have a number, rows of a kind its unit; records name no folder."""
    table = reproduce(Reproduce(name, results=str(results)))
    rows = {row.name: row for row in recipe_named(name)[1].rows}
    for found in table.rows:
        there = rows[found.row].model_at("smoke") is not None
        assert (found.ours is not None) == there, found
        assert (found.status == "reduced scale") == there, found
        if there and found.kind in ("low_bit", "overflow"):
            assert 0 <= (found.ours or 0.0) <= 1, found
        if there and found.kind == "bits":
            assert 1 <= (found.ours or 0.0) <= 8, found
    for file in (results / name).rglob("*.json"):
        assert str(results) not in file.read_text(), file
    assert {row.kind for row in rows.values()} <= set(LOW_BIT)


@pytest.mark.parametrize("name", HARDWARE)
def test_the_cost_model_holds_the_published_units(name: str, tmp_path: Path) -> None:
    for row in reproduce(Reproduce(name, results=str(tmp_path))).rows:
        assert row.ours is not None
        assert row.paper is None or row.ours == pytest.approx(row.paper), row


def test_nothing_is_timed_at_smoke_scale(tmp_path: Path) -> None:
    rows = reproduce(Reproduce("table_2_7", results=str(tmp_path))).rows
    assert {(row.status, row.reason) for row in rows} == {("not run", "at smoke scale nothing is timed")}


def test_all_tables_of_the_chapter_are_there() -> None:
    assert {f"table_2_{n}" for n in range(1, 15)} <= set(RECIPES)

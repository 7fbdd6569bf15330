"""The numbers of Meta-Neighborhoods' tables, against the appendix as printed; settings; figures; every recipe on digits."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from pathlib import Path

import pytest

from modicum.configs import Reproduce, Train
from modicum.configs.neighborhoods import NEIGHBORHOODS, torch_weight_decay
from modicum.data import characters, pictures
from modicum.errors import DataError
from modicum.recipes.mn_measuring import figures_of, votes_of
from modicum.recipes.mn_models import METHODS, STEPS, alphabet, small
from modicum.recipes.recipe import Recipe
from modicum.recipes.resolving import described, resolved
from modicum.recipes.runner import RECIPES, recipe_named, reproduce
from modicum.recipes.table import shown

ON_PICTURES = [name for name in RECIPES if name.startswith("mn_") and name != "mn_table_2"]
# Table 3 as the appendix prints it: backbone, then data and nine columns.
COLUMNS = ("vanilla dot-sgd", "vanilla dot-adamw", "vanilla cos-sgd", "vanilla cos-adamw", "MAXL", "MN ft:1+S", "MN ft:1+D",
           "MN ft:3+S", "MN ft:3+D")  # fmt: skip
PRINTED = """
Backbone: ConvNet
MNIST 99.39% 99.47% 99.42% 99.44% 99.60% 99.62% 99.45% 99.50% 99.55%
SVHN 93.01% 93.12% 92.93% 93.02% 94.06% 94.46% 93.95% 94.05% 94.05%
Backbone: DenseNet40-BC
CIFAR-10 94.56% 94.46% 94.52% 94.53% 94.83% 95.04% 94.79% 95.08% 95.12%
CIFAR-100 73.85% 73.68% 74.08% 73.92% 75.64% 76.32% 77.20% 76.04% 76.42%
CINIC-10 85.13% 85.02% 85.10% 84.92% 85.42% 85.73% 85.76% 85.51% 85.21%
Tiny-ImageNet 49.32% 49.21% 49.40% 49.28% 50.94% 53.27% 53.16% 52.88% 52.61%
Backbone: ResNet-29
CIFAR-10 94.91% 94.96% 95.02% 95.06% 95.31% 95.56% 95.28% 95.36% 95.26%
CIFAR-100 76.65% 76.72% 76.70% 76.51% 77.94% 78.84% 78.20% 78.04% 78.40%
CINIC-10 85.86% 85.91% 85.96% 86.03% 86.34% 86.86% 86.41% 86.38% 86.51%
Tiny-ImageNet 54.79% 54.67% 54.97% 54.82% 56.29% 57.36% 56.93% 57.64% 57.27%
Backbone: ResNet-56
CIFAR-10 95.64% 95.83% 95.71% 95.73% 96.06% 96.36% 96.32% 96.28% 96.04%
CIFAR-100 79.54% 79.68% 79.78% 79.64% 80.36% 80.58% 80.66% 80.20% 80.14%
CINIC-10 88.03% 88.15% 87.90% 88.21% 88.30% 88.61% 88.47% 88.42% 88.38%
Tiny-ImageNet 57.79% 57.95% 57.89% 57.92% 58.94% 60.05% 59.20% 59.85% 59.88%
"""


def table_3() -> dict[str, float]:
    found, backbone = {}, ""
    for line in PRINTED.strip().splitlines():
        if line.startswith("Backbone: "):
            backbone = line.removeprefix("Backbone: ")
        else:
            data, *cells = line.split()
            found |= {f"{data}, {backbone}, {column}": float(cell[:-1]) for column, cell in zip(COLUMNS, cells, strict=True)}
    return found


def paper(name: str) -> dict[str, float]:
    """Row -> printed number, by recipe."""
    if name == "mn_table_3":
        return table_3()
    if name == "mn_table_1":
        same = {"vanilla cos-adamw": "vanilla", "MN ft:1+S": "MN"}
        found = {
            f"{row.rpartition(', ')[0]}, {same[row.rpartition(', ')[2]]}": number
            for row, number in table_3().items()
            if row.rpartition(", ")[2] in same
        }
        return {**found, "CIFAR-100, ResNet-56, MN + iFiLM": 80.96}
    return {
        "mn_ablations": {
            "CIFAR-10, DenseNet40-BC, before": 90.0, "CIFAR-10, DenseNet40-BC, adapted": 95.0,
            "CIFAR-100, DenseNet40-BC, before": 69.0, "CIFAR-100, DenseNet40-BC, adapted": 76.0,
        },
        "mn_subcategories": {
            "CIFAR-100, DenseNet40-BC, MN, attention, fine": 63.3,
            "CIFAR-100, DenseNet40-BC, vanilla, features, fine": 59.28,
            "CIFAR-100, DenseNet40-BC, MN, attention, coarse": 80.18,
            "CIFAR-100, DenseNet40-BC, vanilla, features, coarse": 80.30,
        },
    }.get(name, {})  # fmt: skip


def held(recipe: Recipe) -> dict[str, float]:
    return {row.name: round(100 * row.paper, 4) for row in recipe.rows if row.paper is not None}


@pytest.mark.parametrize("name", ON_PICTURES)
def test_rows_hold_the_numbers_of_the_paper(name: str) -> None:
    assert held(recipe_named(name)[1]) == paper(name)


@pytest.mark.parametrize("name", ["mn_table_1", "mn_table_3", "mn_ablations", "mn_subcategories"])
def test_docstrings_print_the_numbers_of_the_paper(name: str) -> None:
    text = inspect.getdoc(importlib.import_module(f"modicum.recipes.{name}")) or ""
    cells = [cell.strip() for line in text.splitlines() if line.startswith("| ") for cell in line.strip("|").split("|")]
    printed = sorted(float(cell) for cell in cells if re.fullmatch(r"\d+(\.\d+)?", cell))
    assert printed == sorted(paper(name).values())


def test_published_orders_of_table_3_follow_its_numbers() -> None:
    """All that say MN is above vanilla, on every data set and backbone; those of steps and rates where we ask."""
    numbers = table_3()
    for row, number in numbers.items():
        where, _, column = row.rpartition(", ")
        if column.startswith("vanilla"):
            assert numbers[f"{where}, MN ft:1+S"] > number, row
    for order in recipe_named("mn_table_3")[1].orders:
        assert numbers[order.upper] > numbers[order.lower], order


def test_full_scale_is_as_published() -> None:
    models = recipe_named("mn_table_3")[1].models
    mn = models["cifar100-resnet29-mn"]["full"]
    assert (mn.method, mn.backbone, mn.epochs, mn.batch_pictures, mn.entries) == (
        NEIGHBORHOODS,
        "resnet29",
        400,
        128,
        10_000,
    )
    assert (mn.optimizer, mn.learning_rate, mn.schedule) == ("adamw", 1e-3, "three-quarters")
    assert torch_weight_decay(mn) == pytest.approx(0.075)
    assert (mn.temperature, mn.inner_steps, mn.inner_rates, mn.entry_dropout) == (0.2, 1, "scalar", 0.5)
    assert models["cifar10-densenet40-bc-mn"]["full"].entries == 5_000
    assert recipe_named("mn_subcategories")[1].models["cifar100-coarse-densenet40-bc-mn"]["full"].entries == 5_000
    three = models["cifar10-resnet56-mn-3-diagonal"]["full"]
    assert (three.inner_steps, three.inner_rates, three.output_layer) == (3, "diagonal", "cosine")
    sgd = models["cifar10-resnet56-vanilla-dot-sgd"]["full"]
    assert (sgd.optimizer, sgd.output_layer, sgd.baseline, sgd.learning_rate) == ("sgd", "dot", "vanilla", 0.1)
    curves = recipe_named("mn_figure_8")[1].models
    assert {curves[f"cifar100-resnet29-mn-s{n}"]["full"].entries for n in (100, 500, 1_000, 5_000)} == {
        100,
        500,
        1_000,
        5_000,
    }
    assert curves["cifar100-conv4-192-mn-s500"]["cpu"].entries == 50
    assert curves["cifar100-resnet29-mn-20t"]["full"].temperature == pytest.approx(0.05)


def test_reduced_models_differ_in_what_their_name_says_only() -> None:
    """As many steps of the same batches for every model of CIFAR-10 and CIFAR-100; S, T and method by the name."""
    own = {name for options in METHODS.values() for name in options} | {"data", "entries", "temperature"}
    own |= {"learning_rate", "weight_decay"}  # of SGD
    found: dict[str, Train] = {}
    for name in ON_PICTURES:
        models = recipe_named(name)[1].models
        for model, scales in models.items():
            if "-conv4-192-" in model and not model.startswith("small-"):
                assert found.setdefault(model, scales["cpu"]) == scales["cpu"], model
    mn = vars(found["cifar100-conv4-192-mn"])
    for model, options in found.items():
        assert {name for name in mn if vars(options)[name] != mn[name]} <= own, model
        assert options.steps == STEPS
    vanilla, widened = vars(found["cifar100-conv4-192-vanilla"]), vars(found["cifar100-conv4-192-parameters"])
    assert {name for name in mn if widened[name] != mn[name]} == {"baseline"}
    assert {name for name in mn if vanilla[name] != mn[name]} == {"baseline", "entries"}


def test_rows_of_one_model_are_one_evaluation() -> None:
    rows = [row for row in recipe_named("mn_small")[1].rows if row.model_at("cpu")]
    assert (len(rows), len({row.measurement("cpu") for row in rows})) == (18, 12)  # vanilla and k-NN are one run
    rows = list(recipe_named("mn_figure_9")[1].rows)
    assert len({row.measurement("cpu") for row in rows}) == 1
    rows = [row for row in recipe_named("mn_table_1")[1].rows if row.model_at("cpu")]
    assert len({row.measurement("cpu") for row in rows}) == len(rows) == 6


def test_figures_of_an_evaluation() -> None:
    rows = [
        {"branch": "before", "accuracy": 0.5, "ci95": 0.01, "interval_over": "new pictures", "balanced_accuracy": 0.4},
        {"branch": "adapted", "accuracy": 0.6, "ci95": 0.02, "interval_over": "new pictures", "balanced_accuracy": 0.4},
    ]
    dictionary = {"agreement": {"near": 5, "all": 0.2, "in_use": 0.3, "by_usage": 0.4}}
    figures = figures_of({"rows": rows, "dictionary": dictionary})
    assert figures["branch adapted"] == {"value": 0.6, "ci95": 0.02, "stderr": None, "interval_over": "new pictures"}
    assert {name: figure["value"] for name, figure in figures.items()} == {
        "branch before": 0.5, "branch adapted": 0.6,
        "agreement all": 0.2, "agreement in_use": 0.3, "agreement by_usage": 0.4,
    }  # fmt: skip
    assert set(figures_of({"rows": rows[:1], "dictionary": None})) == {"branch before"}
    votes = [
        {"vector": "features", "neighbours": k, "interval_over": "new pictures",
         "fine": {"accuracy": k / 100, "ci95": 0.1}, "coarse": {"accuracy": 0.9, "ci95": 0.2}}
        for k in (1, 30)
    ]  # fmt: skip
    found = votes_of({"rows": votes, "usual": 30})
    assert {name: (figure["value"], figure["ci95"]) for name, figure in found.items()} == {
        "votes features fine": (0.3, 0.1), "votes features coarse": (0.9, 0.2),
    }  # fmt: skip
    assert shown("branch", 0.7884, 0.01) == "78.84 % ± 1.00"
    assert shown("agreement", 0.1, None) == "10.00 %"


def test_an_alphabet_is_a_folder_under_the_root(tmp_path: Path) -> None:
    options = small(alphabet("Korean"), METHODS["mn"])["cpu"]
    assert described(options, {}, "cpu") == "conv4-192, Korean; S = 500"
    assert described(small("digits", METHODS["knn"])["cpu"], {}, "cpu") == "conv4-192, digits"

    def run(model: str, seed: int) -> Path:
        raise AssertionError(f"{model} is not asked for")

    with pytest.raises(DataError, match="Korean was not found"):
        resolved(options, 0, str(tmp_path), tmp_path, "cpu", run)
    folder = tmp_path / "omniglot" / "images_background" / "Korean"
    folder.mkdir(parents=True)
    assert resolved(options, 0, str(tmp_path), tmp_path, "cpu", run).data == str(folder)
    digits = small("digits", METHODS["mn"])["cpu"]
    assert resolved(digits, 0, str(tmp_path), tmp_path, "cpu", run) == digits


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def digits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits are made once for all trainings of the module, and no data is there."""
    monkeypatch.delenv("MODICUM_DATA", raising=False)
    monkeypatch.setattr(pictures, "digits", _DIGITS)


_DIGITS = functools.cache(characters.digits)
EVERY_TIME = ("mn_small", "mn_figure_10", "mn_subcategories")
"""Others are slow: together they train forty models."""


@pytest.mark.parametrize(
    "name", [name if name in EVERY_TIME else pytest.param(name, marks=pytest.mark.slow) for name in ON_PICTURES]
)
def test_every_recipe_runs_on_digits(name: str, results: Path, digits_once: None) -> None:
    """Rows with a model at smoke scale have a number; those of data that is not here say so. Records name no folder."""
    table = reproduce(Reproduce(name, results=str(results)))
    rows = {row.name: row for row in recipe_named(name)[1].rows}
    for found in table.rows:
        there = rows[found.row].model_at("smoke") is not None and not found.row.startswith(("Korean", "Tifinagh"))
        assert (found.ours is not None) == there, found.row
        assert (found.status == "reduced scale") == there, found.row
        assert there or found.reason, found.row
    for file in (results / name).rglob("*.json"):
        assert str(results) not in file.read_text(), file
    ours = {found.row: found.ours for found in table.rows}
    if name == "mn_subcategories":  # fine labels of digits are the coarse ones
        assert (
            ours["CIFAR-100, DenseNet40-BC, MN, attention, fine"] == ours["CIFAR-100, DenseNet40-BC, MN, attention, coarse"]
        )
        assert (ours["CIFAR-100, DenseNet40-BC, vanilla, features, fine"] or 0) > 0.5

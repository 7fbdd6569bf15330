"""The numbers of RAC's tables, against a transcription made apart from the recipes; what E knows; and the rows of digits."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modicum.configs import Reproduce, Scale, Train
from modicum.configs.long_tail import RAC
from modicum.data.holdout import Holdout, holdout
from modicum.data.pictures import PictureSet, open_pictures
from modicum.errors import DataError
from modicum.recipes.edits import ADDED, left_out
from modicum.recipes.long_tail_measuring import figure_of, figures_of
from modicum.recipes.long_tail_models import BASES, E_MODEL, LT, encoder_models
from modicum.recipes.lookups import look_up
from modicum.recipes.rac_tables import BEATS, LISTED, TABLE_3
from modicum.recipes.recipe import Recipe, Row
from modicum.recipes.resolving import described, drawn, referred, resolved
from modicum.recipes.runner import RECIPES, recipe_named, reproduce
from modicum.recipes.table import shown

TABLES = [name for name in RECIPES if name.startswith("rac_table_")]
FOUR = ("many", "medium", "few", "all")
CONSTRUCTED = (*FOUR, "construction")
SIX = (*FOUR, "top-5", "train")

# As the paper prints them, line by line: what, then its columns ("-": none).
PRINTED = {
    "rac_table_1": (FOUR, "", """
        OLTR: 59 64.1 64.9 63.9; Decouple-LWS: - - - 65.9; LADE: - - - 69.3; Grafit: - - - 69.9; ALA: 71.3 70.8 70.4 70.7
        RIDE (2 experts): 70.2 71.3 71.7 71.4; LACE: - - - 71.9; RIDE (4 experts): 70.9 72.4 73.1 72.6
        TADE: 74.4 72.5 73.1 72.9; DisAlign: - - - 74.1; PaCo: 75.0 75.5 74.7 75.2
        iNaturalist 2018, RAC: 75.92 80.47 81.07 80.24; Grafit, 384: - - - 81.2; RAC, 384: 82.91 85.71 86.06 85.56"""),
    "rac_table_2": (FOUR, "", """
        Focal loss: 41.1 34.8 22.4 34.6; Range loss: 41.1 35.4 23.2 35.1; OLTR: 44.7 37 25.3 35.9
        Decouple-LWS: 40.6 39.1 28.6 37.6; LADE: 42.8 39 31.2 38.8; DisAlign: 40.4 42.4 30.1 39.3
        ALA: 43.9 40.1 32.9 40.1; TADE: 43.1 42.4 33.2 40.9; PaCo: 36.1 47.9 35.3 41.2
        Places365-LT, RAC: 48.69 48.31 41.76 47.17"""),
    "rac_table_3": (FOUR, "", """
        Places365-LT, CE, B RN50: - - - 32.14; Places365-LT, BalCE, B RN50: - - - 38.31
        Places365-LT, CE: 50.81 33.83 19.51 37.16; Places365-LT, BalCE: 49.03 45.72 29.05 43.67
        Places365-LT, Retrieval: 43.50 41.99 26.83 39.58; Places365-LT, Base: 44.57 45.06 40.77 44.05
        Places365-LT, RAC: 48.69 48.31 41.76 47.17
        iNaturalist 2018, CE, B RN50: - - - 61.7; iNaturalist 2018, BalCE, B RN50: - - - 69.8
        iNaturalist 2018, CE: 81.53 76.62 69.82 74.44; iNaturalist 2018, BalCE: 72.39 76.06 73.05 74.49
        iNaturalist 2018, Retrieval: 50.10 52.77 52.45 52.37; iNaturalist 2018, Base: 74.41 78.95 78.55 78.32
        iNaturalist 2018, RAC: 75.92 80.48 81.07 80.24"""),
    "rac_table_4": (CONSTRUCTED, "", """
        Places365-LT, RN50: 31.73 16.28 8.65 20.34 0:46; Places365-LT, RN152d: 33.52 17.71 10.03 21.89 2:07
        Places365-LT, ViT-B-32: 38.34 24.82 15.83 27.92 0:20; Places365-LT, ViT-B-32, 384: 39.95 26.12 16.87 29.28 0:49
        Places365-LT, ViT-B-16: 39.97 26.74 18.65 29.91 0:53; Places365-LT, ViT-B-16, 384: 40.79 27.23 19.25 30.55 3:15
        iNaturalist 2018, RN50: 26.8 20.8 21.15 21.56 5:14; iNaturalist 2018, RN152d: 38.95 29.56 28.45 30.09 17:50
        iNaturalist 2018, ViT-B-32: 48.14 43.69 44.1 44.31 2:35; iNaturalist 2018, ViT-B-16: 59.38 53.92 52.42 53.89 4:19
        iNaturalist 2018, ViT-B-16, 384: 66.15 61.54 60.92 61.77 22:14"""),
    "rac_table_5": (("",), "Places365-LT, ", """
        no memory: 23.6; 184K items, random words: 28.3; 184K items, CLIP: 44.3; 11.2M items, CLIP: 47.0"""),
    "rac_table_s1": (FOUR, "", """
        Places365-LT, none: 49.72 49.34 40.46 47.75; Places365-LT, inverse square root: 47.12 49.58 47.65 48.32
        Places365-LT, inverse logarithm: 44.88 51.35 47.54 48.29
        iNaturalist 2018, none: 75.92 80.48 81.07 80.24; iNaturalist 2018, inverse square root: 71.13 80.02 81.19 79.56
        iNaturalist 2018, inverse logarithm: 67.17 80.04 81.67 79.35"""),
    "rac_table_s2": (SIX, "Places365-LT, ", """
        exact, l2: 39.97 26.74 18.65 29.91 53.81 99.97; exact, cosine: 39.84 26.51 18.03 29.64 53.31 99.96
        HNSW, l2: 39.89 26.51 18.03 29.66 53.32 99.79; HNSW, cosine: 39.57 26.26 17.68 29.37 52.83 99.79"""),
}  # fmt: skip


def numbers(cell: str) -> float:
    """A printed number; minutes:seconds as seconds."""
    minutes, _, seconds = cell.rpartition(":")
    return float(cell) if not minutes else 60 * float(minutes) + float(seconds)


def paper(name: str) -> dict[str, float]:
    """Row -> printed number."""
    columns, prefix, text = PRINTED[name]
    found = {}
    for entry in re.split(r";|\n", text.strip()):
        what, _, cells = entry.strip().partition(": ")
        for column, cell in zip(columns, cells.split(), strict=True):
            if cell != "-":
                found[prefix + what + (f", {column}" if column else "")] = numbers(cell)
    return found


def held(recipe: Recipe) -> dict[str, float]:
    """Published numbers of a recipe: per cent, or seconds."""
    timed = ("epoch_seconds", "construction_seconds")
    return {
        row.name: row.paper if row.kind in timed else round(100 * row.paper, 4)
        for row in recipe.rows
        if row.paper is not None
    }


@pytest.mark.parametrize("name", TABLES)
def test_rows_hold_the_numbers_of_the_paper(name: str) -> None:
    assert held(recipe_named(name)[1]) == paper(name)


@pytest.mark.parametrize("name", TABLES)
def test_docstrings_print_the_numbers_of_the_paper(name: str) -> None:
    text = inspect.getdoc(importlib.import_module(f"modicum.recipes.{name}")) or ""
    cells = [cell.strip() for line in text.splitlines() if line.startswith("| ") for cell in line.strip("|").split("|")]
    printed = sorted(numbers(cell) for cell in cells if re.fullmatch(r"\d+([.:]\d+)?", cell))
    assert printed == sorted(paper(name).values())


def test_published_orders_follow_the_published_numbers() -> None:
    for lines in TABLE_3.values():
        for better, worse, bucket, _ in BEATS:
            at = FOUR.index(bucket)
            assert (lines[better][at] or 0) > (lines[worse][at] or 0), (better, worse, bucket)
    for name in ("rac_table_s1", "rac_table_s2"):
        found = paper(name)
        for order in recipe_named(name)[1].orders:
            upper, lower = (row.replace("CIFAR-100-LT", "Places365-LT") for row in (order.upper, order.lower))
            assert found[upper] > found[lower], order


def rac_models() -> Iterator[tuple[str, str, Scale, Train, Recipe]]:
    for name in RECIPES:
        recipe = recipe_named(name)[1]
        for model, scales in recipe.models.items():
            for scale, options in scales.items():
                if isinstance(options, Train) and options.method == RAC:
                    yield name, model, scale, options, recipe


def known_to(options: Train, scale: Scale, recipe: Recipe) -> set[str]:
    """What the encoders that a model begins from were trained on, and what these began from, and so on."""
    named = [options.pretrained] if options.branches == "base" else [options.pretrained, options.encoder or "pictures"]
    found = {name for name in named if name and not name.startswith("run:")}
    for other in referred(options):
        before = recipe.models[other][scale]
        found |= known_to(before, scale, recipe)
        if options.decouple == "none":  # the first stage of the same model on its own training pictures
            found.add(before.data)
    return found


def test_no_encoder_of_cifar_100_lt_has_seen_pictures_that_are_tested() -> None:
    """The shipped encoder `pictures` learned from CIFAR-100's training and test pictures. Smoke is no result: see there."""
    seen = {}
    for name, model, scale, options, recipe in rac_models():
        if options.data == "cifar100":
            seen[name, model, scale] = known_to(options, scale, recipe)
    assert {scale for _, _, scale in seen} == {"cpu", "full"}
    told = {scale: set().union(*(found for (_, _, at), found in seen.items() if at == scale)) for scale in ("cpu", "full")}
    assert told["cpu"] == {"cifar10", "pixels"}
    assert told["full"] == {"timm/vit_base_patch16_224.augreg_in21k", "pixels"}


def test_every_row_says_what_both_encoders_were_trained_on_before() -> None:
    for name, model, scale, options, recipe in rac_models():
        told = described(options, recipe.models, scale)
        assert ("; B: " in told) == (options.branches != "retrieval"), (name, model)
        assert ("; E: " in told) == (options.branches != "base"), (name, model)
    models = {**encoder_models(), "m": BASES[LT]}
    expected = "cifar100 with factor 100; B: conv4-32, from random weights; E: conv4-64, cifar10"
    assert described(BASES[LT]["cpu"], models, "cpu") == expected


def test_methods_of_table_3_differ_in_what_their_name_says_only() -> None:
    models = recipe_named("rac_table_3")[1].models
    own = {"branches", "loss", "encoder", "cache_neighbours", "pretrained", "backbone", "decouple", "decouple_steps",
           "sampler", "steps"}  # fmt: skip
    rac = vars(BASES[LT]["cpu"])
    for method, (key, _, _) in LISTED.items():
        options = vars(models[f"{LT}-{key}"]["cpu"])
        assert {name for name in rac if options[name] != rac[name]} <= own, method
    steps = {models[f"{LT}-{key}"]["cpu"].steps for key, _, _ in LISTED.values() if key not in ("crt", "lws")}
    assert steps == {1_000}


def row_of(branch: str, values: dict[str, float | None]) -> dict[str, object]:
    return {
        "branch": branch, "balanced_accuracy": values["all"], "balanced_ci95": 0.01, "interval_over": "new pictures",
        **{name: values[name] for name in FOUR[:3]}, **{f"{name}_ci95": 0.02 for name in FOUR[:3]},
    }  # fmt: skip


def test_figures_of_an_evaluation_and_the_gap_between_branches() -> None:
    base = row_of("base", {"all": 0.5, "many": 0.7, "medium": 0.4, "few": None})
    retrieval = row_of("retrieval", {"all": 0.4, "many": 0.3, "medium": 0.5, "few": None})
    figures = figures_of([base, retrieval])
    assert figures["long_tail base all"]["value"] == 0.5
    assert figures["long_tail retrieval many"] == {
        "value": 0.3, "ci95": 0.02, "stderr": None, "interval_over": "new pictures (many)",
    }  # fmt: skip
    assert figures["gap many"]["value"] == pytest.approx(-0.4)
    assert figures["gap medium"]["value"] == pytest.approx(0.1)
    assert not any(name.endswith("few") for name in figures)
    assert figure_of(Row("x", "m", kind="gap", bucket="all"), figures)["value"] == pytest.approx(-0.1)
    with pytest.raises(DataError, match="x: no long_tail base few here"):
        figure_of(Row("x", "m", kind="long_tail", branch="base", bucket="few"), figures)
    assert "gap few" not in figures_of([base])
    assert not any(name.startswith("gap") for name in figures_of([base]))


def test_rows_of_one_model_are_one_evaluation() -> None:
    """Table 3 at cpu scale: 64 rows of CIFAR-100-LT; those of RAC and of k-NN, and each other method's, measured once."""
    rows = [row for row in recipe_named("rac_table_3")[1].rows if row.model_at("cpu")]
    assert len(rows) == 64
    assert len({row.measurement("cpu") for row in rows}) == 14  # 13 models, and CE a second time, tau-normalised
    settings = {row.measurement("cpu") for row in recipe_named("rac_table_s2")[1].rows if row.model_at("cpu")}
    assert len(settings) == 4
    assert len({row.measurement("cpu") for row in recipe_named("rac_edit")[1].rows}) == 1


def test_how_the_kinds_are_shown() -> None:
    assert shown("long_tail", 0.4717, 0.01) == "47.17 % ± 1.00"
    assert shown("gap", 0.0312, None) == "+3.12 %"
    assert shown("gap", -0.0312, None) == "-3.12 %"
    assert shown("changed", 0.0, None) == "0"
    assert shown("query_ms", 1.23456, None) == "1.235 ms"
    assert shown("construction_seconds", 194.0, None) == "3.2 min"


def test_references_are_resolved_and_made_first(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def run(model: str, seed: int) -> Path:
        asked.append((model, seed))
        return tmp_path / f"{model}-seed{seed}"

    smoke = BASES[LT]["smoke"]
    found = resolved(smoke, 7, None, tmp_path, "smoke", run)
    assert found.encoder == str((tmp_path / f"{E_MODEL}-seed0").resolve())
    assert asked == [(E_MODEL, 0)]  # one E for all seeds
    first = replace(smoke, branches="base", encoder=None, cache_neighbours=False, pretrained="run:a", decouple="crt")
    assert str(resolved(first, 7, None, tmp_path, "smoke", run).pretrained).endswith("a-seed7")
    with pytest.raises(DataError, match="places365-lt was not found"):
        resolved(BASES["places365-lt"]["full"], 0, str(tmp_path), tmp_path, "full", run)
    with pytest.raises(DataError, match="clothing was not found"):
        resolved(replace(smoke, data="clothing"), 0, str(tmp_path), tmp_path, "cpu", run)
    assert asked[1:] == [("a", 7)]  # nothing is trained where data is missing


def test_a_smaller_memory_is_part_of_a_larger_one() -> None:
    pictures = open_pictures("digits")
    rows = holdout(pictures, validation=0.0).train
    few, more, fewer_classes = (drawn(pictures, rows, *content) for content in ((10, 5), (10, 20), (3, 20)))
    assert np.bincount(pictures.labels[few]).tolist() == [5] * 10
    assert sorted(np.bincount(pictures.labels[fewer_classes], minlength=10).tolist()) == [0] * 7 + [20] * 3
    assert set(few) < set(more)
    assert set(fewer_classes) < set(more)
    assert set(more) <= set(rows)


def test_added_pictures_are_few_shot_and_in_no_part_of_the_data() -> None:
    """Made up: class 0 is frequent; of class 1 rows 30..89 are free, but 30 is a copy of a test picture."""
    digests = [f"d{i}" for i in range(90)]
    digests[30] = digests[2]
    pictures = PictureSet(
        np.zeros((90, 1, 1, 1), np.uint8), np.repeat([0, 1], [20, 70]).astype(np.int64), ("a", "b"),
        tuple(map(str, range(90))), tuple(digests),
    )  # fmt: skip
    parts = Holdout(np.arange(20, 25), np.zeros(0, np.int64), np.array([2, *range(25, 30)]), "")
    rows = left_out(pictures, parts, np.array([200, 5]), seed=0)
    assert len(rows) == ADDED
    assert rows.min() > 30
    assert set(left_out(pictures, parts, np.array([200, 5]), seed=1)) != set(rows)
    with pytest.raises(DataError, match="nothing to add"):
        left_out(pictures, parts, np.array([200, 200]), seed=0)


def test_a_look_up_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    """Standardised digits, nearest by squared distance: accuracy, top 5 and the training set, against numpy."""
    from modicum.models import embed, load_encoder
    from modicum.training.memories import as_seen

    options = replace(BASES[LT]["smoke"], branches="retrieval", encoder="pixels")
    figures = look_up(Row("x", "m", kind="lookup", bucket="all", metric="l2"), options)["figures"]
    encoder, pictures = load_encoder("pixels"), open_pictures("digits")
    parts = holdout(pictures, validation=0.0, imbalance=options.imbalance)
    seen = embed(encoder, as_seen(options, encoder, pictures).pixels).astype(np.float64)
    keys, queries = seen[parts.train], seen[parts.test]
    true, labels = pictures.labels[parts.test], pictures.labels[parts.train]
    near = labels[np.argsort(((queries[:, None] - keys) ** 2).sum(-1), axis=1, kind="stable")[:, :5]]
    right = np.array([(near[true == label, 0] == label).mean() for label in range(10)])
    among = np.array([(near[true == label] == label).any(1).mean() for label in range(10)])
    counts = np.bincount(labels)
    assert figures["lookup all"]["value"] == pytest.approx(right.mean())
    assert figures["lookup few"]["value"] == pytest.approx(right[counts < 20].mean())
    assert figures["lookup top-5"]["value"] == pytest.approx(among.mean())
    assert figures["lookup train"]["value"] == 1  # digits hold no picture twice under two labels
    distances = ((keys[:, None] - keys) ** 2).sum(-1) + np.diag(np.full(len(keys), np.inf))
    assert figures["lookup train, others"]["value"] == pytest.approx((labels[distances.argmin(1)] == labels).mean())
    assert figures["query_ms"]["value"] > 0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def test_editing_the_memory_of_digits_end_to_end(results: Path) -> None:
    """Real training of E and of RAC, five steps each, then the whole experiment: back to the bit, no weight moved."""
    table = reproduce(Reproduce("rac_edit", results=str(results)))
    ours = {row.row.removeprefix("CIFAR-100-LT, "): row.ours for row in table.rows}
    assert None not in ours.values()
    assert (ours["removed, logits changed"], ours["tensors of the network changed"]) == (0, 0)
    assert (ours["added, logits changed"] or 0) > 0
    assert (ours["relabelled, logits changed"] or 0) > 0
    assert all(ours[f"removed, {bucket}"] == ours[f"before, {bucket}"] for bucket in FOUR)
    assert {row.setting for row in table.rows} == {
        "digits with factor 20; B: conv4-32, from random weights; E: conv4-32, digits (the same data)"
    }


def test_a_memory_of_other_data_is_made_and_trained_with(results: Path) -> None:
    """Figure 5 at smoke scale: rows of the retrieval branch by what the memory holds; records name no folder."""
    table = reproduce(Reproduce("rac_figure_5", results=str(results)))
    rows = {row.row: row for row in table.rows}
    assert {row.status for row in rows.values()} == {"reduced scale"}
    assert rows["CIFAR-100-LT, 2 classes of 1000, all"].setting.endswith("; memory: digits/2/1000")
    assert len(list((results / "memories").iterdir())) == 7
    for file in (results / "rac_figure_5").rglob("*.json"):
        assert str(results) not in file.read_text(), file


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("rac_") and name != "rac_clothing"])
@pytest.mark.slow
def test_every_recipe_runs_on_digits(name: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with a model at smoke scale have a number; those of clothing, whose folder is not there, say so."""
    monkeypatch.delenv("MODICUM_DATA", raising=False)
    table = reproduce(Reproduce(name, results=str(results)))
    for row in table.rows:
        there = row.row.startswith("CIFAR-100-LT") and "CLIP" not in row.row and "GloVe" not in row.row
        assert (row.ours is not None) == there, row.row
        assert there or row.status == "not run", row.row

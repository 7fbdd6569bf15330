"""Rows and seeds are run once; what was stopped goes on; what cannot be run says why."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modicum.configs import Evaluate, Reproduce, Scale, Train
from modicum.errors import ConfigError, DataError
from modicum.files import read_json, write_json
from modicum.recipes import RECIPES, as_text, listing, reproduce
from modicum.recipes.measuring import Site
from modicum.recipes.recipe import CHANCE, Row
from modicum.recipes.resolving import referred
from modicum.recipes.runner import recipe_named, result_file

PUBLISHED = {
    "omniglot_maml": {"MAML, 1-shot": 0.987, "MAML, 5-shot": 0.999},
    "omniglot_protonet": {"5way-1shot": 0.988, "5way-5shot": 0.997, "20way-1shot": 0.960, "20way-5shot": 0.989},
    "cifar_fs_protonet": {"5way-1shot": 0.6091, "5way-5shot": 0.7973},
    "cifar_fs_r2d2": {"5way-1shot": 0.6756, "5way-5shot": 0.8239},
}
SCALES: tuple[Scale, ...] = ("smoke", "cpu", "full")


class Bench:
    """Stands in for training and evaluation and keeps a list of what was asked for."""

    def __init__(self) -> None:
        self.trained: list[tuple[int, int]] = []
        self.tested: list[tuple[int, int, int]] = []
        self.fail_at: tuple[int, int] | None = None
        self.missing = False

    def train(self, config: Train, progress: object = None) -> None:
        if self.missing:
            raise DataError("data: omniglot was not found")
        self.trained.append((config.steps, config.seed))
        assert config.resume
        write_json(Path(config.out) / "config.json", {"kind": "run", "environment": {"device": "cpu"}})

    def evaluate(self, config: Evaluate, progress: object = None) -> dict[str, Any]:
        (shots,) = config.shots
        if self.fail_at == (config.ways, shots):
            raise KeyboardInterrupt
        self.tested.append((config.ways, shots, config.seed))
        np.savez(Path(config.run) / "artifacts.npz", shots=np.array(shots))
        tasks = np.tile([0.5, 0.7], config.tasks // 2)
        row = {"ways": config.ways, "shots": shots, "accuracy": 0.6, "ci95": 0.1, "per_task": tasks.tolist()}
        return {"rows": [row], "interval_over": "draws of tasks", "classes": ["a", "b"]}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench()
    monkeypatch.setattr("modicum.training.trainer.train", found.train)
    monkeypatch.setattr("modicum.training.evaluate.evaluate", found.evaluate)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Reproduce]:
    def made(scale: Scale = "smoke", seeds: list[int] | None = None, name: str = "omniglot_protonet") -> Reproduce:
        return Reproduce(name, scale, root="/data/of/a/user", results=str(tmp_path / "results"), seeds=seeds or [0])

    return made


def test_finished_rows_are_not_run_again_and_new_seeds_are_added(bench: Bench, config: Callable[..., Reproduce]) -> None:
    rows = reproduce(config()).rows
    assert bench.tested == [(5, 1, 0), (5, 5, 0), (20, 1, 0), (20, 5, 0)]
    assert [row.status for row in rows] == ["reduced scale"] * 4
    assert reproduce(config()).rows == rows
    assert len(bench.trained) == 1
    assert [row.seeds for row in reproduce(config(seeds=[0, 3])).rows] == [(0, 3)] * 4
    assert [seed for _, seed in bench.trained] == [0, 3]
    assert len(bench.tested) == 8


def test_an_interrupted_table_goes_on_at_the_next_row(bench: Bench, config: Callable[..., Reproduce]) -> None:
    bench.fail_at = (20, 1)
    with pytest.raises(KeyboardInterrupt):
        reproduce(config())
    bench.fail_at = None
    assert all(row.ours == pytest.approx(0.6) for row in reproduce(config()).rows)
    assert bench.tested == [(5, 1, 0), (5, 5, 0), (20, 1, 0), (20, 5, 0)]
    assert len(bench.trained) == 2  # the second call only finds that training is finished


def test_scales_have_files_and_runs_of_their_own(bench: Bench, config: Callable[..., Reproduce]) -> None:
    reproduce(config("full"))
    rows = reproduce(config("smoke")).rows
    assert len(bench.trained) == 2
    assert {row.scale for row in rows} == {"smoke"}
    assert [row.scale for row in reproduce(config("full")).rows] == ["full"] * 4
    assert len(bench.trained) == 2


def test_data_that_is_not_there_gives_not_run_with_the_reason(bench: Bench, config: Callable[..., Reproduce]) -> None:
    bench.missing = True
    table = reproduce(config())
    assert [(row.status, row.ours) for row in table.rows] == [("not run", None)] * 4
    assert "not run: data: omniglot was not found" in as_text(table)


def test_a_record_says_how_it_was_made_and_names_no_folder(
    bench: Bench, config: Callable[..., Reproduce], tmp_path: Path
) -> None:
    reproduce(config(seeds=[2]))
    file = tmp_path / "results" / "omniglot_protonet" / "5way-1shot-smoke" / "2.json"
    record = read_json(file)
    assert (record["seed"], record["train"]["seed"], record["evaluate"]["seed"]) == (2, 2, 2)
    assert record["environment"] == {"device": "cpu"}
    assert {"modicum", "torch", "numpy"} <= set(record["versions"])
    assert record["wall"]["train_seconds"] >= 0
    assert len(record["per_task"]) == 20
    assert "/data/of/a/user" not in file.read_text()
    assert str(tmp_path) not in file.read_text()
    with np.load(file.with_name("2.artifacts.npz")) as arrays:
        assert arrays["shots"] == 1  # the row's own, not those of the last row tested


def test_recipes_share_the_runs_of_their_models(bench: Bench, config: Callable[..., Reproduce], tmp_path: Path) -> None:
    reproduce(config(name="omniglot_protonet"))
    reproduce(config(name="encoder_characters"))
    assert [path.name for path in (tmp_path / "results" / "runs").iterdir()] == ["omniglot-conv4-64-protonet-smoke-seed0"]


def test_rows_that_measure_the_same_are_measured_once(
    bench: Bench, config: Callable[..., Reproduce], tmp_path: Path
) -> None:
    """Table 5.3 at smoke scale: of its 16 rows of CIFAR-FS, one conv4-64 stands for three classical networks twice."""
    rows = [row for row in reproduce(config(name="table_5_3")).rows if row.status != "not run"]
    assert len(rows) == 16
    assert {row.status for row in rows} == {"reduced scale"}
    assert len(bench.tested) == 10
    assert len(bench.trained) == 5
    assert {row.setting for row in rows} == {"conv4-64, cifar-fs"}
    folder = tmp_path / "results" / "table_5_3"
    copy = read_json(folder / "MetaOptNet-C_CIFAR-FS_5-shot-smoke" / "0.json")
    assert (copy["row"], copy["same_as"]) == ("MetaOptNet-C, CIFAR-FS, 5-shot", "R2-D2-C, CIFAR-FS, 5-shot")
    assert copy["paper"] == 0.857
    assert (folder / "MetaOptNet-C_CIFAR-FS_5-shot-smoke" / "0.artifacts.npz").is_file()
    assert "same_as" not in read_json(folder / "R2-D2-C_CIFAR-FS_5-shot-smoke" / "0.json")


def test_both_figures_of_class_separation_come_from_one_look(
    bench: Bench, config: Callable[..., Reproduce], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 5.2 at smoke scale: 16 rows of CIFAR-FS, but five networks to look at, each once."""
    looks = []

    def measure(row: Row, site: Site, progress: object = None) -> dict[str, Any]:
        looks.append((row.name, site.pictures))
        figures = {
            kind: {"value": value, "ci95": 0.1, "interval_over": "pairs"} for kind, value in (("r_fc", 3.0), ("r_hv", 1.5))
        }
        return {**figures[row.kind], "figures": figures}

    monkeypatch.setattr("modicum.recipes.runner.measure", measure)
    rows = {row.row: row.ours for row in reproduce(config(name="table_5_2")).rows if row.status != "not run"}
    assert len(rows) == 16
    assert {name.rsplit(", ", 1)[1] + f" {value}" for name, value in rows.items()} == {"R_FC 3.0", "R_HV 1.5"}
    assert len(looks) == 5
    assert {pictures for _, pictures in looks} == {20}


def test_fine_tuning_a_network_has_fewer_tasks_at_reduced_scale(bench: Bench, config: Callable[..., Reproduce]) -> None:
    heads: dict[str | None, set[int]] = {}
    for row in recipe_named("table_5_1")[1].rows:
        heads.setdefault(row.head, set()).add((row.tasks or recipe_named("table_5_1")[1].tasks)["cpu"])
    assert heads == {"metaoptnet-svm": {1_000}, "r2d2": {1_000}, "protonet": {1_000}, "fine-tune": {100}}


def test_a_row_without_a_model_at_a_scale_is_not_run_and_says_why(bench: Bench, config: Callable[..., Reproduce]) -> None:
    rows = {row.row: row for row in reproduce(config(name="table_6_8")).rows}
    assert rows["R2-D2 CNN-4, all, 1-shot"].status == "reduced scale"
    absent = rows["R2-D2 ResNet-12, all, 1-shot"]
    assert (absent.status, absent.setting, absent.paper) == ("not run", "-", 0.605)
    assert "one backbone" in absent.reason
    assert len(bench.trained) == 10  # five settings of R2-D2 and of ProtoNet


def test_records_of_before_there_were_kinds_of_rows_still_make_the_table(
    bench: Bench, config: Callable[..., Reproduce], tmp_path: Path
) -> None:
    """Fabricated: a record as version 0.1 wrote it, whose run lay in RESULTS/<recipe>/runs and is not needed again."""
    for row in ("5way-1shot", "5way-5shot"):
        old = {"accuracy": 0.5, "interval_over": "draws of tasks", "per_task": [0.4, 0.6]}
        write_json(tmp_path / "results" / "digits_protonet" / f"{row}-smoke" / "0.json", old)
    assert [row.ours for row in reproduce(config(name="digits_protonet")).rows] == [0.5, 0.5]
    assert bench.trained == []


def test_unknown_recipe_and_no_seed(config: Callable[..., Reproduce], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="omniglot_protonet"):
        reproduce(config(name="omniglot_protonets"))
    with pytest.raises(ConfigError, match="seeds"):
        reproduce(Reproduce("digits_protonet", results=str(tmp_path), seeds=[]))
    assert recipe_named("omniglot-protonet")[0] == "omniglot_protonet"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_states_paper_command_cost_and_target(name: str) -> None:
    text = inspect.getdoc(importlib.import_module(f"modicum.recipes.{name}")) or ""
    for word in ("Paper:", f"Command: modicum reproduce {name}", "Cost:", "Target:"):
        assert word in text
    _, recipe = recipe_named(name)
    if "table_" not in name and not name.startswith("mn_"):  # their numbers are checked in tests of their own
        assert {row.name: row.paper for row in recipe.rows if row.paper} == PUBLISHED.get(name, {})


@pytest.mark.parametrize("name", RECIPES)
def test_every_row_has_a_model_at_every_scale_or_says_why_not(name: str) -> None:
    _, recipe = recipe_named(name)
    used = set()
    for row in recipe.rows:
        for scale in SCALES:
            models = row.model_at(scale), row.other_at(scale)
            used |= set(models)
            assert all(scale in recipe.models[model] for model in models if model is not None), (row.name, scale)
            assert models[0] or row.missing, (row.name, scale)
            assert models[0] is None or (models[1] is not None) == (row.kind == "cka")
    used |= {name for scales in recipe.models.values() for options in scales.values() for name in referred(options)}
    assert used - {None} == set(recipe.models)


@pytest.mark.parametrize("name", RECIPES)
def test_rows_have_files_of_their_own_and_orders_name_rows(name: str, tmp_path: Path) -> None:
    _, recipe = recipe_named(name)
    names = [row.name for row in recipe.rows]
    assert len({result_file(tmp_path, row, "cpu", 0).parent for row in recipe.rows}) == len(set(names)) == len(names)
    assert len({(order.upper, order.lower) for order in recipe.orders}) == len(recipe.orders)
    for order in recipe.orders:
        assert {order.upper, order.lower} <= {*names, CHANCE}, order
    for claim in recipe.claims:
        for of, order in claim.parts:
            assert {order.upper, order.lower} <= {CHANCE, *(row.name for row in recipe_named(of)[1].rows)}, order


def test_a_name_of_a_model_means_the_same_training_in_every_recipe() -> None:
    """Runs are shared by name: RESULTS/runs/<model>-<scale>-seed<seed>."""
    known: dict[tuple[str, str], Train] = {}
    for name in RECIPES:
        for model, scales in recipe_named(name)[1].models.items():
            for scale, options in scales.items():
                assert known.setdefault((model, scale), options) == options, (name, model, scale)


def test_published_standard_errors_become_intervals() -> None:
    rows = recipe_named("cifar_fs_r2d2")[1].rows
    assert [row.paper_ci95 for row in rows] == pytest.approx([0.00686, 0.005096])


def test_listing_names_all_and_loads_no_torch() -> None:
    assert [name for name, *_ in listing()] == list(RECIPES)
    code = "import sys; from modicum.recipes import listing; listing(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_digits_end_to_end(tmp_path: Path) -> None:
    """Real training and evaluation at smoke scale; the second call only reads files."""
    config = Reproduce("digits_protonet", results=str(tmp_path))
    rows = reproduce(config).rows
    assert [row.status for row in rows] == ["reduced scale"] * 2
    assert rows[1].ours is not None
    assert rows[1].ours > 0.5  # guessing gives 0.2
    assert rows[1].interval_over == "draws of 20 tasks from the 5 classes of digits (test)"
    run = tmp_path / "runs" / "digits-conv4-r2d2-protonet-smoke-seed0" / "config.json"
    before = run.stat().st_mtime_ns
    assert reproduce(config).rows == rows
    assert run.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["omniglot_protonet", "cifar_fs_protonet", "cifar_fs_r2d2"])
def test_published_recipes_run_on_their_data(name: str, tmp_path: Path, test_data: Path) -> None:
    rows = reproduce(Reproduce(name, root=str(test_data), results=str(tmp_path))).rows
    assert [row.status for row in rows] == ["reduced scale"] * len(PUBLISHED[name])
    best = {row.row: row.ours or 0.0 for row in rows}
    assert best["5way-5shot"] > best["5way-1shot"] > 0.22  # guessing gives 0.2


@pytest.mark.slow
def test_a_table_of_shared_models_runs_on_its_data(tmp_path: Path, test_data: Path) -> None:
    """Table 5.2 at smoke scale: meta-learned, classical and regularised networks, five steps each, on CIFAR-FS."""
    table = reproduce(Reproduce("table_5_2", root=str(test_data), results=str(tmp_path)))
    ours = {row.row: row.ours for row in table.rows if row.ours is not None}
    assert len(ours) == 16
    assert all(1 < value < 5 for value in ours.values())  # pairs: about 4 and 2 for features that know nothing
    assert {order.outcome for order in table.orders} == {"undecided"}  # one seed
    assert len(list((tmp_path / "runs").iterdir())) == 5

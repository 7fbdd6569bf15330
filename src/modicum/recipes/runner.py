"""Runs a recipe row by row and seed by seed, and goes on where it was stopped.

RESULTS/<recipe>/<row>-<scale>/<seed>.json (and <seed>.artifacts.npz) is written when a row is finished and never made
again; RESULTS/runs/<model>-<scale>-seed<seed>/ is the run folder that training resumes in, shared by all recipes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modicum.configs import Quantize, Reproduce, Scale, Train
from modicum.configs.neighborhoods import is_table
from modicum.configs.supervised import SUPERVISED
from modicum.errors import ConfigError, DataError, TrainingError
from modicum.files import read_json, write_bytes, write_json
from modicum.recipes.long_tail_measuring import figure_of
from modicum.recipes.low_bit_tables import low_bit_setting
from modicum.recipes.machine_rows import measure_machine
from modicum.recipes.making import environment_of, length, make, trained_seconds
from modicum.recipes.measuring import Site, measure, portable
from modicum.recipes.names import RECIPES
from modicum.recipes.orders import find_claim, find_order
from modicum.recipes.provenance import commit, versions
from modicum.recipes.recipe import CHANCE, LOOKUPS, MACHINE, OVER_TASKS, Machine, Recipe, Row, Trained
from modicum.recipes.regression_tables import shown_setting
from modicum.recipes.resolving import described, resolved
from modicum.recipes.table import Records, Table, table_row
from modicum.registry import resolve
from modicum.runtime import Progress

PICTURES: Mapping[Scale, int | None] = {"smoke": 20, "cpu": None, "full": None}
"""Pictures of each class for class separation and CKA, None for all."""
Say = Callable[[str], None]


def recipe_named(name: str) -> tuple[str, Recipe]:
    """Name and recipe; hyphens may stand for underscores. `ConfigError` with the nearest name for an unknown one."""
    name = name.replace("-", "_")
    found: Recipe = resolve("recipe", RECIPES, name)
    return name, found


def listing() -> list[tuple[str, str, str, str]]:
    """(name, title, source, cost per scale) of every recipe."""
    found = [recipe_named(name) for name in RECIPES]
    return [
        (name, recipe.title, recipe.source, "; ".join(f"{scale}: {cost}" for scale, cost in recipe.cost.items()))
        for name, recipe in found
    ]


def reproduce(config: Reproduce, progress: Progress | None = None, say: Say | None = None) -> Table:
    """Run what is not yet finished of a recipe and return its table; `say` is told what is being done.

    Rows whose data set is not there, or whose training diverged, come back as `not run` with the reason. Raises
    `ConfigError` for an unknown recipe or a run folder made with other options, `WriteError`.
    """
    name, recipe = recipe_named(config.name)
    if not config.seeds:
        raise ConfigError("seeds: expected at least one seed, found none")
    bench = _Bench(name, recipe, config, progress, say or (lambda text: None))
    for row in recipe.rows:
        for seed in config.seeds:
            if row.model_at(config.scale) is not None and not bench.file(row, seed).is_file():
                try:
                    bench.run(row, seed)
                except (DataError, TrainingError) as error:
                    bench.reasons[row.name] = str(error)
    return collect(name, recipe, config, bench.reasons)


def collect(name: str, recipe: Recipe, config: Reproduce, reasons: dict[str, str]) -> Table:
    """The table from the result files of the asked-for seeds; reasons: row -> why it could not be run.

    Orders of other tables that a claim speaks of are read from their files too; nothing is run.
    """
    rows = []
    for row in recipe.rows:
        model = row.model_at(config.scale)
        setting = "-" if model is None else _setting(recipe, row, model, config.scale)
        why = reasons.get(row.name, row.missing if model is None else "")
        rows.append(table_row(name, row, config.scale, finished(name, row, config), why, setting))
    orders = tuple(find_order(name, order, *_of(name, order.upper, order.lower, config)) for order in recipe.orders)
    claims = tuple(
        find_claim(claim, [find_order(of, order, *_of(of, order.upper, order.lower, config)) for of, order in claim.parts])
        for claim in recipe.claims
    )
    return Table(tuple(rows), orders, claims, recipe.absent)


def _of(name: str, upper: str, lower: str, config: Reproduce) -> tuple[Records, Records]:
    """The finished results of two rows of a recipe."""
    rows = {row.name: row for row in recipe_named(name)[1].rows}
    below = finished(name, rows[lower], config)
    return {seed: {"value": 0.1} for seed in below} if upper == CHANCE else finished(name, rows[upper], config), below


def _setting(recipe: Recipe, row: Row, model: str, scale: Scale) -> str:
    options = recipe.models[model][scale]
    if isinstance(options, Machine):
        return "this machine" if row.kind == "layer_ms" else "-"
    if isinstance(options, Quantize):
        return low_bit_setting(options, recipe.models, scale)
    if options.method in SUPERVISED and options.target is None:
        return described(options, recipe.models, scale)
    if is_table(options):
        return shown_setting(options)
    elsewhere = f", tested on {row.data}" if row.data else ""
    return f"{options.backbone}, {options.data}{elsewhere}"


def finished(name: str, row: Row, config: Reproduce) -> Records:
    """Seed -> record of the asked-for seeds that are finished."""
    files = {seed: result_file(Path(config.results) / name, row, config.scale, seed) for seed in config.seeds}
    return {seed: read_json(file) for seed, file in files.items() if file.is_file()}


def result_file(folder: Path, row: Row, scale: Scale, seed: int) -> Path:
    """Where the record of one row and seed lies. The scale is part of the name, so a smoke run hides no full one."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '_', row.name)}-{scale}" / f"{seed}.json"


@dataclass
class _Bench:
    """What one call of `reproduce` works on: trained models are remembered, and what could not be trained."""

    name: str
    recipe: Recipe
    config: Reproduce
    progress: Progress | None
    say: Say
    reasons: dict[str, str] = field(default_factory=dict)
    trained: dict[Path, float | DataError | TrainingError] = field(default_factory=dict)

    def file(self, row: Row, seed: int) -> Path:
        return result_file(Path(self.config.results) / self.name, row, self.config.scale, seed)

    def run(self, row: Row, seed: int) -> None:
        """Measure one row with one seed, training what is not trained, or copy a row that measured the same."""
        scale = self.config.scale
        twins = [twin for twin in self.recipe.rows if twin.measurement(scale) == row.measurement(scale)]
        for twin in twins:
            if self.file(twin, seed).is_file():
                return self._copy(twin, row, seed)
        model, other = str(row.model_at(scale)), row.other_at(scale)
        if row.kind in MACHINE:
            self.say(f"{self.name}: measuring {row.name}, seed {seed}")
            return self._write(row, seed, None, measure_machine(row, self.recipe.models[model][scale]), None)
        options = self._resolved(model, seed) if row.kind in LOOKUPS else None
        run = self._run(model, seed) if options else self._train(model, seed)
        tasks = (row.tasks or self.recipe.tasks)[scale]
        site = Site(
            run, self._train(other, seed) if other else None, self.config.root, seed, tasks, PICTURES[scale],
            row.ensemble_at(scale), options if isinstance(options, Train) else None,
        )  # fmt: skip
        self.say(f"{self.name}: testing {row.name}, seed {seed}")
        start = time.monotonic()
        measured = measure(row, site, self.progress)
        seconds = self.trained.get(run)
        wall = {"train_seconds": seconds, "evaluate_seconds": round(time.monotonic() - start, 3)}
        artifacts = run / "artifacts.npz" if row.kind in OVER_TASKS else None
        return self._write(row, seed, run, {"wall": wall, **measured}, artifacts)

    def _run(self, model: str, seed: int) -> Path:
        return Path(self.config.results) / "runs" / f"{model}-{self.config.scale}-seed{seed}"

    def _resolved(self, model: str, seed: int) -> Trained:
        """The options of a model with its seed, what they refer to being there."""
        config, options = self.config, replace(self.recipe.models[model][self.config.scale], seed=seed)
        assert not isinstance(options, Machine)
        return resolved(options, seed, config.root, Path(config.results), config.scale, self._train)

    def _train(self, model: str, seed: int) -> Path:
        """The run folder of a model, trained to the end; a `DataError` or `TrainingError` of before is raised again."""
        run = self._run(model, seed)
        if run not in self.trained:
            try:
                options = replace(self._resolved(model, seed), out=str(run), root=self.config.root, resume=True)
                self.say(f"{self.name}: training {model} at scale {self.config.scale}, seed {seed} ({length(options)})")
                start = time.monotonic()
                make(options, self.progress)
                self.trained[run] = trained_seconds(run, time.monotonic() - start)
            except (DataError, TrainingError) as error:
                self.trained[run] = error
        found = self.trained[run]
        if isinstance(found, DataError | TrainingError):
            raise found
        return run

    def _copy(self, twin: Row, row: Row, seed: int) -> None:
        """The record of a row that measured the same thing, under this row's name and published number."""
        source, file = self.file(twin, seed), self.file(row, seed)
        artifacts = source.with_suffix(".artifacts.npz")
        if artifacts.is_file():
            write_bytes(file.with_suffix(".artifacts.npz"), artifacts.read_bytes())
        record = read_json(source)
        figures = record.get("figures", {})
        figure = figure_of(row, figures) if figures else {}
        named = {"row": row.name, "paper": row.paper, "paper_ci95": row.paper_ci95, "measures": row.kind}
        write_json(file, {**record, **figure, **named, "same_as": twin.name})

    def _write(self, row: Row, seed: int, run: Path | None, parts: dict[str, Any], artifacts: Path | None) -> None:
        """The record of one row and seed, artifacts first, so that a record always has its artifacts beside it."""
        file, scale = self.file(row, seed), self.config.scale
        model = str(row.model_at(scale))
        if artifacts is not None and artifacts.is_file():
            write_bytes(file.with_suffix(".artifacts.npz"), artifacts.read_bytes())
        record = {
            "kind": "reproduce",
            "recipe": self.name,
            "row": row.name,
            "measures": row.kind,
            "scale": scale,
            "seed": seed,
            "model": model,
            "other": row.other_at(scale),
            "paper": row.paper,
            "paper_ci95": row.paper_ci95,
            "train": portable(asdict(replace(self.recipe.models[model][scale], seed=seed))),
            "environment": environment_of(run) if row.kind not in LOOKUPS else {},
            "versions": versions(),
            "commit": commit(),
            **parts,
        }
        write_json(file, record)

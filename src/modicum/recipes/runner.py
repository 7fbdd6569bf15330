"""Runs a recipe row by row and seed by seed, and goes on where it was stopped.

RESULTS/<recipe>/<row>-<scale>/<seed>.json (and <seed>.artifacts.npz) is written when a row is finished and never made
again; RESULTS/<recipe>/runs/<model>-<scale>-seed<seed>/ is the run folder that training resumes in.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from modicum import __version__
from modicum.configs import Evaluate, Reproduce, Scale, Train
from modicum.errors import ConfigError, DataError
from modicum.files import read_json, write_bytes, write_json
from modicum.recipes.recipe import Recipe, Row
from modicum.recipes.table import TableRow, table_row
from modicum.registry import resolve
from modicum.runtime import Progress

RECIPES = {
    name: f"modicum.recipes.{name}:RECIPE"
    for name in (
        "digits_protonet",
        "omniglot_protonet",
        "cifar_fs_protonet",
        "cifar_fs_r2d2",
        "encoder_characters",
        "encoder_pictures",
    )
}
VERSIONS = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pillow")
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


def reproduce(config: Reproduce, progress: Progress | None = None, say: Say | None = None) -> list[TableRow]:
    """Run what is not yet finished of a recipe and return its table; `say` is told what is being done.

    Rows whose data set is not there come back as `not run` with the reason. Raises `ConfigError` for an unknown recipe or
    a run folder made with other options, `WriteError`, `TrainingError`.
    """
    name, recipe = recipe_named(config.name)
    if not config.seeds:
        raise ConfigError("seeds: expected at least one seed, found none")
    folder = Path(config.results) / name
    reasons: dict[str, str] = {}
    for model in recipe.models:
        rows = [row for row in recipe.rows if row.model == model]
        for seed in config.seeds:
            todo = [row for row in rows if not result_file(folder, row, config.scale, seed).is_file()]
            try:
                _run_rows(name, recipe, todo, config, folder, seed, progress, say or (lambda text: None))
            except DataError as error:
                reasons[model] = str(error)
    return collect(name, recipe, config, reasons)


def collect(name: str, recipe: Recipe, config: Reproduce, reasons: dict[str, str]) -> list[TableRow]:
    """The table from the result files of the asked-for seeds; reasons: model -> why it could not be run."""
    folder = Path(config.results) / name
    table = []
    for row in recipe.rows:
        files = {seed: result_file(folder, row, config.scale, seed) for seed in config.seeds}
        results = {seed: read_json(file) for seed, file in files.items() if file.is_file()}
        table.append(table_row(name, row, config.scale, results, reasons.get(row.model, "")))
    return table


def result_file(folder: Path, row: Row, scale: Scale, seed: int) -> Path:
    """Where the record of one row and seed lies. The scale is part of the name, so a smoke run hides no full one."""
    return folder / f"{row.name}-{scale}" / f"{seed}.json"


def _run_rows(
    name: str,
    recipe: Recipe,
    rows: Sequence[Row],
    config: Reproduce,
    folder: Path,
    seed: int,
    progress: Progress | None,
    say: Say,
) -> None:
    """Train (or go on training) one model with one seed and measure the rows that are not finished."""
    if not rows:
        return
    from modicum.training.episodic import train
    from modicum.training.evaluate import evaluate

    model, scale = rows[0].model, config.scale
    run = folder / "runs" / f"{model}-{scale}-seed{seed}"
    options = replace(recipe.models[model][scale], out=str(run), root=config.root, seed=seed, resume=True)
    say(f"{name}: training {model} at scale {scale}, seed {seed} ({options.steps} steps)")
    start = time.monotonic()
    train(options, progress)
    training = {"train_seconds": round(time.monotonic() - start, 3)}
    for row in rows:
        say(f"{name}: testing {row.name}, seed {seed}")
        start = time.monotonic()
        test = Evaluate(
            run=str(run), split=row.split, ways=row.ways, shots=[row.shots], queries=row.queries,
            tasks=recipe.tasks[scale], root=config.root, seed=seed,
        )  # fmt: skip
        measured = evaluate(test, progress)
        wall = {**training, "evaluate_seconds": round(time.monotonic() - start, 3)}
        _write(name, row, scale, options, test, measured, wall, result_file(folder, row, scale, seed))


def _write(
    name: str,
    row: Row,
    scale: Scale,
    options: Train,
    test: Evaluate,
    measured: dict[str, Any],
    wall: dict[str, float],
    file: Path,
) -> None:
    """The record of one row and seed, artifacts first, so that a record always has its artifacts beside it."""
    run = read_json(Path(options.out) / "config.json")
    artifacts = Path(options.out) / "artifacts.npz"
    if artifacts.is_file():
        write_bytes(file.with_suffix(".artifacts.npz"), artifacts.read_bytes())
    record = {
        "kind": "reproduce",
        "recipe": name,
        "row": row.name,
        "scale": scale,
        "seed": options.seed,
        "paper": row.paper,
        "paper_ci95": row.paper_ci95,
        "train": _portable(asdict(options)),
        "evaluate": _portable(asdict(test)),
        "environment": run.get("environment", {}),
        "versions": {"modicum": __version__, **{package: _version(package) for package in VERSIONS}},
        "commit": commit(),
        "wall": wall,
        "interval_over": measured["interval_over"],
        "classes": measured["classes"],
        "steps": measured.get("steps"),
        **measured["rows"][0],
    }
    write_json(file, record)


def _portable(options: dict[str, Any]) -> dict[str, Any]:
    """Options without the folders of this machine."""
    return {key: value for key, value in options.items() if key not in ("root", "out", "run", "json", "tasks_file")}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit this package runs from ("-dirty" where files were changed), None where it is installed or git is absent."""
    folder = Path(__file__).parent
    if not (folder.parents[2] / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

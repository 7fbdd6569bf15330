"""One number of a table from finished runs: accuracy over tasks, class separation, CKA, or seconds of training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.configs import KNOWN_SETS, Ensemble, Evaluate, Train
from modicum.configs.long_tail import RAC
from modicum.errors import DataError
from modicum.recipes.models import epoch_steps
from modicum.recipes.recipe import DEPLOYED, EDITS, LONG_TAIL, LOOKUPS, LOW_BIT, NEIGHBORHOODS, SEPARATION, Row
from modicum.recipes.regression_tables import measure_rmse
from modicum.runtime import Progress

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from modicum.evaluation.intervals import MeanInterval

CKA_PICTURES = 100
"""Pictures of each class that both networks embed for a CKA."""


@dataclass(frozen=True)
class Site:
    """Where a row is measured: the runs of its model and of the second one, where data lies, how many tasks.

    pictures: of each class at most so many for class separation and CKA, None for all there are (CKA: `CKA_PICTURES`).
    ensemble: of the checkpoints that the run kept, for accuracies. options: data and encoder of a look-up, which has no run.
    """

    run: Path
    other: Path | None
    root: str | None
    seed: int
    tasks: int
    pictures: int | None = None
    ensemble: Ensemble = "none"
    options: Train | None = None


def measure(row: Row, site: Site, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of a row's record that were measured.

    Always `value`, `ci95` and `stderr` (None for a number without draws), `interval_over`; accuracies as in `evaluate`.
    Raises what `evaluate` raises.
    """
    if row.kind == "accuracy":
        return _accuracy(row, site, progress)
    if row.kind == "mse":
        return _error(row, site)
    if row.kind == "rmse":
        return measure_rmse(row, site.run)
    if row.kind in SEPARATION:
        return _separation(row, site, progress)
    if row.kind == "cka":
        return _cka(row, site, progress)
    if row.kind in (*LONG_TAIL, *EDITS, *LOOKUPS):
        return _of_rac(row, site, progress)
    if row.kind in (*NEIGHBORHOODS, "votes"):
        from modicum.recipes.mn_measuring import measure_neighborhoods, measure_votes

        found = measure_votes if row.kind == "votes" else measure_neighborhoods
        return found(row, site.run, site.root, progress)
    if row.kind in LOW_BIT:
        from modicum.recipes.low_bit_measuring import measure_low_bit

        return measure_low_bit(row, site.run, site.root, progress)
    if row.kind in DEPLOYED:
        from modicum.recipes.deployed import measure_deployed

        return measure_deployed(row, site.run, site.root, progress)
    return _seconds(row, site)


def _accuracy(row: Row, site: Site, progress: Progress | None) -> dict[str, Any]:
    from modicum.training.evaluate import evaluate

    test = Evaluate(
        run=str(site.run), data=set_to_test(row.data, site.root), split=row.split, ways=row.ways, shots=[row.shots],
        queries=row.queries, tasks=site.tasks, head=row.head, batch_norm=row.batch_norm, ensemble=site.ensemble,
        root=site.root, seed=site.seed,
    )  # fmt: skip
    measured = evaluate(test, progress)
    found = measured["rows"][0]
    more = {name: measured.get(name) for name in ("interval_over", "classes", "steps", "head", "ensemble")}
    options = {**portable(asdict(test)), "data": row.data}  # a folder's name, not where it lies
    return {"evaluate": options, **more, **found, "value": found["accuracy"]}


def _error(row: Row, site: Site) -> dict[str, Any]:
    from modicum.training.regression_results import evaluate_regression

    test = Evaluate(
        run=str(site.run), split=row.split, shots=[row.shots], points=row.queries, tasks=site.tasks, seed=site.seed
    )
    measured = evaluate_regression(test)
    found = measured["rows"][0]
    more = {name: measured[name] for name in ("interval_over", "steps")}
    return {"evaluate": portable(asdict(test)), **more, **found, "value": found["mse"]}


def set_to_test(data: str | None, root: str | None) -> str | None:
    """What `evaluate --data` takes for a row's data: a known name as it is, else the folder of that name under the root.

    None stays None. `DataError` where the folder is not there, or no root was given.
    """
    from modicum.data.benchmarks import data_root

    if data is None or data in KNOWN_SETS:
        return data
    top = data_root(root)
    if top is None or not (top / data).is_dir():
        looked = "no root was given" if top is None else f"there is no {top / data}"
        raise DataError(f"data: {data} was not found: {looked}; give the folder above it with --root or MODICUM_DATA")
    return str(top / data)


def _embedded(run: Path, site: Site, split: str, most: int | None, progress: Progress | None) -> tuple[Tensor, np.ndarray]:
    """Features (n, D) and labels (n,) of a split of the run's own data, at most so many pictures of each class."""
    import numpy as np

    from modicum.data.pictures import open_pictures
    from modicum.runtime import device
    from modicum.training.runs import load_learner, own_splits
    from modicum.training.scoring import picture_features

    learner, trained, record = load_learner(run)
    spec, where = learner.encoder.spec, device("auto")
    pictures = open_pictures(
        trained.data, root=site.root or trained.root, size=spec.size, channels=spec.channels, splits=trained.splits,
        seed=trained.seed, progress=progress,
    )  # fmt: skip
    splits = own_splits(record, pictures)
    if splits is None:
        raise DataError(f"data: {trained.data} has other classes now than when {run.name} was trained on it")
    part = replace(pictures, splits=splits).split(split)
    keep = np.concatenate([np.flatnonzero(part.labels == label)[:most] for label in range(len(part.classes))])
    features = picture_features(learner.to(where).eval(), part.pixels, keep, where, progress)
    return features.float().cpu(), part.labels[keep]


def _separation(row: Row, site: Site, progress: Progress | None) -> dict[str, Any]:
    from modicum.evaluation.class_separation import class_separation

    found = class_separation(*_embedded(site.run, site, row.split, site.pictures, progress), seed=site.seed)
    figures = {"r_fc": _of(found.clustering), "r_hv": _of(found.variation_squared)}
    return {**figures[row.kind], "figures": figures, "clustering_whole": found.clustering_whole, "split": row.split}


def _of(interval: MeanInterval) -> dict[str, Any]:
    return {"value": interval.mean, "ci95": interval.ci95, "stderr": interval.stderr, "interval_over": interval.over}


def _cka(row: Row, site: Site, progress: Progress | None) -> dict[str, Any]:
    from modicum.evaluation.cka import debiased_cka, linear_cka

    assert site.other is not None, f"{row.name}: a CKA needs a second model"
    most = min(CKA_PICTURES, site.pictures or CKA_PICTURES)
    (first, _), (second, _) = (_embedded(run, site, row.split, most, progress) for run in (site.run, site.other))
    over = f"one pair of networks on {len(first)} pictures: no interval"
    value = linear_cka(first, second)
    return {**_without_interval(value, over), "debiased": debiased_cka(first, second), "split": row.split}


def _of_rac(row: Row, site: Site, progress: Progress | None) -> dict[str, Any]:
    from modicum.recipes.edits import measure_edits
    from modicum.recipes.long_tail_measuring import measure_branches
    from modicum.recipes.lookups import look_up

    if row.kind in LOOKUPS:
        assert site.options is not None
        return look_up(row, site.options, progress)
    if row.kind in EDITS:
        return measure_edits(row, site.run, site.root, site.seed, progress)
    return measure_branches(row, site.run, site.root, progress)


def _without_interval(value: float, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": None, "stderr": None, "interval_over": over}


def _seconds(row: Row, site: Site) -> dict[str, Any]:
    from modicum.training.runs import read_run

    trained, _, record = read_run(site.run)
    seconds, steps = training_seconds(site.run)
    epoch = sum(record["data"]["counts"]) // trained.batch_pictures if trained.method == RAC else epoch_steps(trained)
    value = seconds if row.kind == "train_seconds" else seconds / steps * epoch
    machine = record.get("environment", {}).get("device", "an unknown machine")
    over = f"one training on {machine}, validations before its last step included: no interval"
    return {**_without_interval(value, over), "steps": steps, "steps_per_epoch": epoch}


def training_seconds(run: Path) -> tuple[float, int]:
    """Seconds a run trained, over all its resumptions, and the steps they took; `DataError` where it logged none.

    Where the clock of a log starts anew at a resumption, the parts are added up.
    """
    from modicum.training.logs import read_log

    lines = [line for line in read_log(run / "log.jsonl") if line.get("kind") == "train" and "seconds" in line]
    if not lines:
        raise DataError(f"{run.name}: its log holds no training times")
    total = before = 0.0
    for line in lines:
        now = float(line["seconds"])
        total += now - before if now >= before else now
        before = now
    return total, int(lines[-1]["step"])


def portable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without the folders of this machine."""
    return {key: value for key, value in options.items() if not re.fullmatch("root|out|run|json|tasks_file", key)}

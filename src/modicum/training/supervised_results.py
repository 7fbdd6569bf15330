"""Evaluation of a run of rac: every branch on held-out pictures, by class and by how many training pictures a class had.

Branches are measured on the same pictures: `base`, `retrieval`, `both`, as far as the run has them. With `votes` also what
the memory alone says by labels: the nearest item, the vote of all neighbours, and its interpolation with the base branch's
softmax. The memory is read as it is now, so a changed one gives other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from modicum.configs import Evaluate, require
from modicum.evaluation.long_tail import LongTailResult
from modicum.retrieval.decoupling import tau_normalised_layer
from modicum.runtime import Progress, device, require_one_process
from modicum.training.memories import MEMORY, ids_in, memory_digest, trained_before
from modicum.training.neighborhoods.runs import is_neighborhoods_run
from modicum.training.regression_results import evaluate_regression, is_regression_run
from modicum.training.retrieval_panels import panel_places, retrieval_panels
from modicum.training.supervised_outputs import (
    OF_TASKS,
    by_class,
    check_pictures_evaluation,
    described,
    given_options,
    prediction_arrays,
    write_result,
)
from modicum.training.supervised_runs import SupervisedRun, is_supervised_run, load_supervised
from modicum.training.supervised_scoring import Scored, score_pictures, voted, with_neighbours
from modicum.training.supervised_tests import Tested, tested_pictures
from modicum.training.tables.runs import is_table_run

Ints = NDArray[np.int64]
BRANCHES = ("base", "retrieval", "both")
OF_RAC = ("memory", "neighbours", "votes", "interpolation", "tau_norm", "group", "without_source")
"""Options of `evaluate` about runs of rac."""


def other_evaluation(config: Evaluate) -> Callable[[Evaluate, Progress | None], dict[str, Any]] | None:
    """How a run that is not tested on few-shot tasks of pictures is evaluated; None for one that is.

    `ConfigError` for options of rac where the run is another one.
    """
    if is_neighborhoods_run(config.run):
        from modicum.training.neighborhoods.results import evaluate_neighborhoods
        from modicum.training.neighborhoods.subcategories import evaluate_subcategories

        return evaluate_neighborhoods if config.fine is None else evaluate_subcategories
    require(config.fine is None, f"fine: for runs of meta-neighborhoods on pictures, and {config.run} is none; leave it out")
    if is_table_run(config.run):
        from modicum.training.tables.results import evaluate_table

        return lambda asked, _: evaluate_table(asked)
    if not is_supervised_run(config.run):
        given = [name for name in given_options(config) if name in OF_RAC]
        require(not given, f"{', '.join(given)}: for runs of rac, and {config.run} is none; leave it out")
        return (lambda asked, _: evaluate_regression(asked)) if is_regression_run(config.run) else None
    from modicum.training.memory_edits import evaluate_without_source

    return evaluate_supervised if config.without_source is None else evaluate_without_source


def check_evaluation(config: Evaluate) -> None:
    """Raise `ConfigError` for options that only few-shot tasks have, and for an unknown split."""
    check_pictures_evaluation(config, "rac", (*OF_TASKS, "inner_steps"))


def evaluate_supervised(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """A row for every branch on held-out pictures; also written to RUN/results/ with what was retrieved beside it.

    `ConfigError` and `DataError` where options, data or memory do not fit; `FileFormatError` for a damaged run.
    """
    check_evaluation(config)
    loaded, tested = prepare(config, progress)
    measured = measure(config, loaded, tested, progress)
    result = result_of(config, loaded, tested, measured)
    write_result(config, result_file(config, result), result, _arrays(config, loaded, tested, measured))
    return {"schema": 1, **result}


class Measured(NamedTuple):
    """Scores of n pictures, the class (n,) each row names, what that is worth; held: how many are items of the memory."""

    scored: Scored
    predicted: dict[str, Ints]
    found: dict[str, LongTailResult]
    held: int


def prepare(config: Evaluate, progress: Progress | None = None) -> tuple[SupervisedRun, Tested]:
    """The run, adjusted as asked for and on its device, and the pictures it is measured on; errors as above."""
    require_one_process("evaluate of a run of rac")
    loaded = load_supervised(config.run, config.memory, config.neighbours)
    loaded.network.to(device(config.device))
    _adjust(loaded, config)
    tested = tested_pictures(loaded, config.split, config.data, config.root, config.group, progress)
    return loaded, tested


def measure(config: Evaluate, loaded: SupervisedRun, tested: Tested, progress: Progress | None = None) -> Measured:
    """Every branch on the pictures, with the memory as it is now; with `votes` also what its labels say."""
    where, pixels, ids = device(config.device), tested.pictures.pixels, None
    if loaded.found is not None:
        found_there = ids_in(loaded.found.memory, tested.pictures, tested.rows)
        ids = found_there if (found_there >= 0).any() else None  # a picture must not find itself
    scored = score_pictures(loaded.network, loaded.config, pixels, tested.rows, where, ids, progress)
    predicted = {name: logits.argmax(-1).numpy() for name, logits in scored.logits().items()}
    if config.votes:
        if loaded.found is not None and scored.neighbours is None:
            pixels = tested.at(loaded.found.encoder).pixels
            scored = with_neighbours(scored, loaded.found, loaded.network.k, pixels, tested.rows, where, ids)
        predicted |= voted(scored, loaded.classes, config.interpolation)
    return Measured(scored, predicted, by_class(loaded, tested, predicted), 0 if ids is None else int((ids >= 0).sum()))


def _adjust(loaded: SupervisedRun, config: Evaluate) -> None:
    """Linear layers by tau-normalisation, where asked for."""
    network = loaded.network
    if config.tau_norm is None:
        return
    for name in ("base_linear", "retrieval_linear"):
        layer = getattr(network, name)
        require(layer is None or isinstance(layer, nn.Linear), "tau_norm: a run of --decouple lws has scaled its rows")
        if layer is not None:
            setattr(network, name, tau_normalised_layer(layer, config.tau_norm))


def result_of(config: Evaluate, loaded: SupervisedRun, tested: Tested, measured: Measured) -> dict[str, Any]:
    """The result, as JSON."""
    trained, record, memory = loaded.config, loaded.record, loaded.found
    pretraining = dict(record["pretraining"])
    now = None
    if memory is not None:
        info = memory.memory.info
        now = {"store": memory.store, "items": len(memory.memory), "encoder": info.encoder, "fingerprint": info.fingerprint,
               "digest": memory_digest(memory.memory), "sources": memory.memory.stats().sources}  # fmt: skip
        pretraining["encoder"] = pretraining["encoder"] or trained_before(info.encoder)
    return {
        **described(config, loaded, tested, measured.found),
        "branches": trained.branches, "loss": trained.loss, "sampler": trained.sampler, "decouple": trained.decouple,
        "neighbours": loaded.network.k, "tau_norm": config.tau_norm,
        "interpolation": config.interpolation if config.votes else None,
        "pretraining": pretraining, "memory": now, "trained_memory": record["memory"], "in_memory": measured.held,
    }  # fmt: skip


def _arrays(config: Evaluate, loaded: SupervisedRun, tested: Tested, measured: Measured) -> dict[str, Any]:
    """What the report draws: labels, predictions of every row, what was retrieved, for some pictures with the pictures."""
    scored, predicted = measured.scored, measured.predicted
    last = list(predicted)[len(scored.logits()) - 1]
    parts = prediction_arrays(loaded, tested, predicted, last)
    if scored.neighbours is not None:
        words = [item.label or "" for row in scored.items for item in row]
        names, numbers = np.unique(words, return_inverse=True)
        near = scored.neighbours
        parts |= {"neighbour_similarity": near.similarity.astype(np.float32), "neighbour_id": near.id}
        parts |= {"neighbour_label": numbers.reshape(near.id.shape), "neighbour_labels": names}
        if config.pictures:
            places = panel_places(tested.labels, np.array(loaded.record["data"]["counts"]))
            parts |= retrieval_panels(scored, predicted, tested.pictures, tested.rows, tested.labels, loaded.classes, places)
    return parts


def result_file(config: Evaluate, result: Mapping[str, Any]) -> Path:
    """Where a result is kept, so that evaluations that differ do not overwrite each other."""
    name = f"{result['data']}-{config.split}-branches"
    if config.memory:
        store = Path(config.memory)
        name += f"-{store.parent.name}-{store.name}" if store.name == MEMORY else f"-{store.name}"
    name += f"-{config.neighbours}neighbours" if config.neighbours else ""
    name += f"-tau{config.tau_norm:g}" if config.tau_norm is not None else ""
    if config.votes:
        share = config.interpolation
        name += "-votes" if share == Evaluate.interpolation else f"-votes{share:g}"
    name += f"-without-{config.without_source}" if config.without_source is not None else ""
    return Path(config.run) / "results" / (re.sub(r"[^\w.-]+", "_", name) + ".json")

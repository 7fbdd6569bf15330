"""Evaluation of a run of Meta-Neighborhoods or of a baseline: rows before and after adaptation on the same pictures.

| run | rows |
|---|---|
| meta-neighborhoods | `before`, the output layer as it is (appendix A.5: no adaptation at test time); `adapted` |
| of several inner steps | also `step-1` .. `step-k`; `adapted` is the last of them |
| --baseline vanilla, parameters | `vanilla` |
| --baseline knn | `vanilla`, and `knn`, what the features of training pictures vote |

Rows have what those of rac have. `differences` is paired: the share of right pictures in the later row minus that in the
first, with the interval of `memory_edits.change`. `dictionary` is what `panels.look` counts, None for the baselines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.configs import Evaluate, require
from modicum.runtime import Progress, device, require_one_process
from modicum.training.memory_edits import change
from modicum.training.neighborhoods.panels import look
from modicum.training.neighborhoods.runs import NeighborhoodsRun, load_neighborhoods
from modicum.training.neighborhoods.scoring import Scored, score_pictures
from modicum.training.neighborhoods.voting import vote, voters_of
from modicum.training.supervised_outputs import (
    OF_TASKS,
    by_class,
    check_pictures_evaluation,
    described,
    given_options,
    prediction_arrays,
    write_result,
)
from modicum.training.supervised_tests import Tested, tested_pictures

Ints = NDArray[np.int64]
OF_RAC_ALONE = ("memory", "votes", "interpolation", "tau_norm", "without_source")
"""Options of `evaluate` that runs of rac have and these have not."""


def check_evaluation(config: Evaluate, loaded: NeighborhoodsRun) -> None:
    """Raise `ConfigError` for options of few-shot tasks, of rac, or of another kind of run than this one."""
    trained = loaded.config
    check_pictures_evaluation(config, trained.method, OF_TASKS)
    foreign = [name for name in given_options(config) if name in OF_RAC_ALONE]
    require(not foreign, f"{', '.join(foreign)}: for runs of rac, and {config.run} is one of {trained.method}; leave it out")
    require(
        config.neighbours is None or trained.baseline == "knn",
        f"neighbours: for runs of --baseline knn, and {config.run} has none; leave it out",
    )
    require(
        config.split != "train" or trained.baseline != "knn",
        "split: training pictures vote under --baseline knn, so they cannot be asked about; take test or val",
    )
    require(
        config.inner_steps is None or trained.baseline == "none",
        f"inner_steps: --baseline {trained.baseline} takes no inner steps; leave it out",
    )


def evaluate_neighborhoods(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """Rows on held-out pictures, or on all of `data`; also written to RUN/results/.

    `inner_steps`: another number of them than trained; `neighbours`: another k of knn. `ConfigError` and `DataError` where
    options or data do not fit; `FileFormatError` for a damaged run.
    """
    require_one_process("evaluate of a run of meta-neighborhoods")
    loaded = load_neighborhoods(config.run)
    check_evaluation(config, loaded)
    where = device(config.device)
    loaded.network.to(where)
    tested = tested_pictures(loaded, config.split, config.data, config.root, config.group, progress)
    scored = score_pictures(
        loaded.network, tested.pictures.pixels, tested.rows, where, steps=config.inner_steps, progress=progress
    )
    predicted = predictions(config, loaded, scored, progress)
    result = {
        **described(config, loaded, tested, by_class(loaded, tested, predicted)),
        **_options(config, loaded, len(scored.logits) - 1),
        "differences": _differences(predicted, tested),
    }
    counts = np.array(loaded.record["data"]["counts"])
    looked = look(loaded.network, scored, tested, counts, config.pictures)
    result["dictionary"] = None if looked is None else looked.record
    parts = prediction_arrays(loaded, tested, predicted, list(predicted)[-1])
    write_result(config, result_file(config, result), result, parts if looked is None else parts | looked.arrays)
    return {"schema": 1, **result}


def predictions(
    config: Evaluate, loaded: NeighborhoodsRun, scored: Scored, progress: Progress | None = None
) -> dict[str, Ints]:
    """The class (n,) that each row names."""
    guess = scored.logits.argmax(-1).numpy().astype(np.int64)
    if len(guess) > 1:
        steps = {f"step-{step}": guess[step] for step in range(1, len(guess))} if len(guess) > 2 else {}
        return {"before": guess[0], **steps, "adapted": guess[-1]}
    found = {"vanilla": guess[0]}
    if loaded.config.baseline == "knn":
        voters = voters_of(loaded, config.root, device(config.device), progress)
        k = config.neighbours or loaded.config.neighbours
        found["knn"] = vote(voters, scored.features, k, len(loaded.classes)).shares.argmax(-1).numpy()
    return found


def _options(config: Evaluate, loaded: NeighborhoodsRun, steps: int) -> dict[str, Any]:
    """What the rows depend on beside the pictures."""
    trained, network = loaded.config, loaded.network
    adapts = isinstance(network, MetaNeighborhoods) and network.dictionary is not None
    knn = trained.baseline == "knn"
    return {
        "baseline": trained.baseline,
        "output_layer": trained.output_layer,
        "entries": trained.entries if adapts else None,
        "inner_steps": steps if adapts else None,
        "rates": trained.inner_rates if adapts else None,
        "learned": learned(loaded),
        "neighbours": (config.neighbours or trained.neighbours) if knn else None,
    }


def learned(loaded: NeighborhoodsRun) -> dict[str, Any]:
    """The numbers that training settled: rate (mean and ends where there are many), temperature, tau; None for none."""
    network = loaded.network
    tau = network.layer.tau
    found: dict[str, Any] = {"tau": None if tau is None else tau.item(), "rate": None, "temperature": None}
    if isinstance(network, MetaNeighborhoods) and network.dictionary is not None and network.rate is not None:
        rate = network.rate.detach().abs()
        found |= {"rate": float(rate.mean()), "rate_ends": [float(rate.min()), float(rate.max())]}
        found["temperature"] = 1 / float(network.dictionary.sharpness.detach().abs())
    return found


def _differences(predicted: Mapping[str, Ints], tested: Tested) -> list[dict[str, Any]]:
    """The last row minus the first, where there are two or more."""
    names = list(predicted)
    if len(names) < 2:
        return []
    groups = np.arange(len(tested.labels)) if tested.groups is None else tested.groups
    first, later = (predicted[name] == tested.labels for name in (names[0], names[-1]))
    found = change(first, later, groups)
    sure = found["ci95"] is not None and abs(found["difference"]) > found["ci95"]
    return [{"first": names[0], "later": names[-1], **found, "excludes_zero": sure}]


def result_file(config: Evaluate, result: Mapping[str, Any]) -> Path:
    """Where a result is kept, so that evaluations that differ do not overwrite each other."""
    name = f"{result['data']}-{config.split}-branches"
    name += f"-{config.inner_steps}steps" if config.inner_steps else ""
    name += f"-{config.neighbours}neighbours" if config.neighbours else ""
    return Path(config.run) / "results" / (re.sub(r"[^\w.-]+", "_", name) + ".json")

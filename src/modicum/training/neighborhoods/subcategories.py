"""Sub-category discovery: does a network that was trained with coarse labels tell apart what finer labels tell apart?

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendix A.9. The k
nearest training pictures of a test picture vote with labels that training never saw, nearest by one of

| vector | of a picture | similarity |
|---|---|---|
| features | z = mu_theta(x), (D,) | cosine |
| attention | w, (S,) | cosine |
| attention-root | sqrt(w), (S,), of length 1 | cosine, sum_j sqrt(w_j w'_j); the order of Hellinger distances |

The paper names neither k nor the distance. Every k of NUMBERS is a row, or the one asked for; `attention` and k = USUAL are
what a report names first. Equal votes go to the class of the nearest picture among them (`retrieval.neighbours`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.configs import Evaluate, require
from modicum.data.picture_set import PictureSet
from modicum.data.picture_splits import open_split_pictures
from modicum.errors import DataError
from modicum.evaluation.long_tail import long_tail_result
from modicum.files import write_json
from modicum.retrieval.neighbours import vote, winners
from modicum.runtime import Progress, device, require_one_process
from modicum.training.memory_edits import change
from modicum.training.neighborhoods.networks import Network
from modicum.training.neighborhoods.runs import NeighborhoodsRun, load_neighborhoods
from modicum.training.neighborhoods.scoring import score_pictures
from modicum.training.supervised_outputs import OF_TASKS, check_pictures_evaluation, given_options
from modicum.training.supervised_tests import Tested, parts_of, tested_pictures

Ints = NDArray[np.int64]
Vector = Callable[[Tensor], Tensor]
Right = dict[tuple[str, int, str], NDArray[np.bool_]]
"""Which pictures (m,) were right, by vector, k, and labels (fine, coarse)."""
NUMBERS = (1, 5, 10, 30, 100)
USUAL = 30
ASKED, GIVEN = 2_048, 4_096
"""Pictures asked about, and pictures they are compared with, at a time."""
NOT_HERE = ("data", "inner_steps", "memory", "votes", "interpolation", "tau_norm", "group", "without_source", "pictures")
"""Options of `evaluate` that have no meaning beside `fine`."""


def vectors_of(network: Network) -> dict[str, Vector]:
    """Name -> how features (b, D) become vectors of length 1 whose products say how near two pictures are."""
    found: dict[str, Vector] = {"features": partial(F.normalize, dim=-1)}
    if isinstance(network, MetaNeighborhoods) and network.dictionary is not None:
        attend = network.attention

        def attention(z: Tensor) -> Tensor:
            """w over its length, (b, S)."""
            return F.normalize(attend(z), dim=-1)

        def root(z: Tensor) -> Tensor:
            """The square roots of w, (b, S)."""
            return attend(z).sqrt()

        found |= {"attention": attention, "attention-root": root}
    return found


def nearest(asked: Tensor, given: Tensor, vector: Vector, k: int, where: torch.device) -> tuple[Ints, NDArray[np.float32]]:
    """The k of features given (n, D) that are nearest to each of features asked (m, D): places and similarities (m, k).

    Only parts of the vectors are there at a time, on the device. Which of equal similarities comes first is not settled.
    """
    places, values = [], []
    for start in range(0, len(asked), ASKED):
        query = vector(asked[start : start + ASKED].to(where))
        best = torch.empty(len(query), 0, device=where)
        at = torch.empty(len(query), 0, dtype=torch.int64, device=where)
        for first in range(0, len(given), GIVEN):
            more = query @ vector(given[first : first + GIVEN].to(where)).mT
            index = torch.arange(first, first + more.shape[1], device=where).expand(len(query), -1)
            best, chosen = torch.cat([best, more], 1).topk(min(k, best.shape[1] + more.shape[1]), dim=-1)
            at = torch.cat([at, index], 1).gather(1, chosen)
        places.append(at.cpu())
        values.append(best.cpu())
    return torch.cat(places).numpy(), torch.cat(values).numpy()


def finer_labels(pictures: PictureSet, rows: Ints, fine: PictureSet) -> Ints:
    """Labels (n,) among fine's classes of pictures at rows (n,): by id, or by content where ids or contents differ.

    `DataError` where a picture is not among the fine ones, or its content is there under two classes.
    """
    by_id = {name: row for row, name in enumerate(fine.ids)}
    by_content: dict[str, set[int]] = {}
    for digest, label in zip(fine.digests, fine.labels.tolist(), strict=False):
        by_content.setdefault(digest, set()).add(label)
    found = np.full(len(rows), -1, np.int64)
    for place, row in enumerate(rows.tolist()):
        digest = pictures.digests[row] if pictures.digests else ""
        other = by_id.get(pictures.ids[row], -1)
        same = other >= 0 and (not digest or not fine.digests or fine.digests[other] == digest)
        labels = {int(fine.labels[other])} if same else by_content.get(digest, set()) if digest else set()
        if len(labels) > 1:
            named = ", ".join(fine.classes[label] for label in sorted(labels))
            raise DataError(f"fine: {pictures.ids[row]} has the content of pictures of several classes: {named}")
        found[place] = next(iter(labels), -1)
    missing = np.flatnonzero(found < 0)
    if len(missing):
        example = pictures.ids[rows[missing[0]]]
        raise DataError(
            f"fine: {len(missing):,} of {len(rows):,} pictures of {pictures.name} are not in {fine.name}, neither by name "
            f"nor by content, such as {example!r}; expected the same pictures with finer labels"
        )
    return found


def evaluate_subcategories(config: Evaluate, progress: Progress | None = None) -> dict[str, Any]:
    """Accuracy on finer labels of votes by features and by attention; also written to RUN/results/.

    Training pictures vote on a split of the run's own. `ConfigError` and `DataError` where options or data do not fit;
    `FileFormatError` for a damaged run.
    """
    require_one_process("evaluate --fine")
    loaded = load_neighborhoods(config.run)
    check_pictures_evaluation(config, loaded.config.method, OF_TASKS)
    given = [name for name in given_options(config) if name in NOT_HERE]
    require(not given, f"{', '.join(given)}: has no meaning beside --fine; leave it out")
    require(config.split != "train", "split: training pictures vote, so they cannot be asked about; take test or val")
    tested = tested_pictures(loaded, config.split, None, config.root, None, progress)
    spec = loaded.record["data"]
    fine = open_split_pictures(
        str(config.fine), root=config.root or loaded.config.root, size=spec["size"], channels=spec["channels"],
        seed=loaded.config.seed, progress=progress,
    )  # fmt: skip
    result = measure(config, loaded, tested, fine, progress)
    name = re.sub(r"[^\w.-]+", "_", f"{result['data']}-{config.split}-fine-{fine.name}")
    name += f"-{config.neighbours}neighbours" if config.neighbours else ""
    for file in (Path(config.run) / "results" / f"{name}.json", config.json):
        if file:
            write_json(file, result)
    return {"schema": 1, **result}


def measure(
    config: Evaluate, loaded: NeighborhoodsRun, tested: Tested, fine: PictureSet, progress: Progress | None = None
) -> dict[str, Any]:
    """The result, as JSON: `rows` of every vector and k, `differences` of attention minus features on the same pictures."""
    where, pictures = device(config.device), tested.pictures
    network = loaded.network.to(where)
    train = parts_of(loaded, pictures).train
    numbers = [config.neighbours] if config.neighbours else [k for k in NUMBERS if k <= len(train)]
    require(max(numbers) <= len(train), f"neighbours: {max(numbers)} asked for, but {len(train)} training pictures vote")
    labels = {
        "fine": (finer_labels(pictures, train, fine), finer_labels(pictures, tested.rows, fine), len(fine.classes)),
        "coarse": (pictures.labels[train], tested.labels, len(loaded.classes)),
    }
    given, asked = (score_pictures(network, pictures.pixels, rows, where, steps=0, progress=progress).features
                    for rows in (train, tested.rows))  # fmt: skip
    groups = tested.groups
    rows: list[dict[str, Any]] = []
    right: Right = {}
    for name, vector in vectors_of(network).items():
        with torch.inference_mode():
            near, similarity = nearest(asked, given, vector, max(numbers), where)
        for k in numbers:
            row: dict[str, Any] = {"vector": name, "neighbours": k}
            for what, (known, true, classes) in labels.items():
                of = known[near[:, :k]]
                guess = winners(vote(similarity[:, :k].astype(np.float64), of, classes), of)
                right[name, k, what] = guess == true
                found = long_tail_result(true, guess, np.bincount(known, minlength=classes), groups).row()
                row[what] = {key: found[key] for key in ("accuracy", "interval", "ci95", "balanced_accuracy")}
                row["interval_over"] = found["interval_over"]
            rows.append(row)
    return {
        **_described(config, loaded, tested, fine, len(train)),
        "rows": rows,
        "usual": max((k for k in numbers if k <= USUAL), default=numbers[0]),
        "differences": _differences(right, numbers, np.arange(len(tested.labels)) if groups is None else groups),
    }


def _differences(right: Right, numbers: list[int], groups: Ints) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for name, _, _ in right if name != "features"):
        for k in numbers:
            for what in ("fine", "coarse"):
                gap = change(right["features", k, what], right[name, k, what], groups)
                sure = gap["ci95"] is not None and abs(gap["difference"]) > gap["ci95"]
                said = {"first": "features", "later": name, "neighbours": k, "labels": what}
                found.append({**said, **gap, "excludes_zero": sure})
    return found


def _described(config: Evaluate, loaded: NeighborhoodsRun, tested: Tested, fine: PictureSet, voters: int) -> dict[str, Any]:
    trained = loaded.config
    return {
        "kind": "evaluate", "measure": "subcategories", "run": Path(config.run).name, "data": tested.pictures.name,
        "fine": fine.name, "split": config.split, "seed": trained.seed, "method": trained.method,
        "baseline": trained.baseline, "backbone": trained.backbone, "steps": loaded.record["step"],
        "entries": trained.entries if trained.baseline == "none" else None, "classes": len(loaded.classes),
        "fine_classes": len(fine.classes), "voters": voters, "pictures": len(tested.labels), "tested": tested.over,
    }  # fmt: skip

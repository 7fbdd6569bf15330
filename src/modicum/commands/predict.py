"""`modicum predict`: labels, probabilities and the nearest support pictures of pictures; of runs, what they read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.commands.output import percent, show_table, write_result
from modicum.commands.progress import progress
from modicum.commands.tables import is_table_run, run_predict
from modicum.configs import Predict
from modicum.configs.long_tail import RAC
from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.classifiers.attending import AttendingAnswers, AttendingPrediction
    from modicum.classifiers.predicting import Answers
    from modicum.classifiers.retrieved import BranchAnswers, BranchPrediction

NONE_OF_THESE = "none of these"


def record(answers: Answers) -> dict[str, Any]:
    """The answers as a versioned record; "probability" is called "score" where it is not calibrated."""
    key = "probability" if answers.calibrated else "score"
    rows = [
        {
            "image": image,
            "label": found.label,
            key: found.probability,
            "top": [{"label": label, key: value} for label, value in found.top],
            "neighbours": [near._asdict() for near in found.neighbours],
        }
        for image, found in answers.rows
    ]
    return {"rows": rows, "problems": [{"image": image, "message": message} for image, message in answers.problems]}


def show(answers: Answers, top: int) -> None:
    """Print a line for each picture."""
    key = "probability" if answers.calibrated else "score"
    columns = ["image", "label", key, *(["other labels"] if top > 1 else []), "nearest support pictures"]
    lines: list[Sequence[object]] = []
    for image, found in answers.rows:
        value = "-" if found.probability is None else percent(found.probability, 1)
        others = found.top if found.label is None else found.top[1:]
        told = ", ".join(f"{label} {percent(p, 1)}" for label, p in others)
        near = ", ".join(f"{n.id} ({n.similarity:.3f})" for n in found.neighbours)
        lines.append([image, found.label or NONE_OF_THESE, value, *([told] if top > 1 else []), near])
    if lines:
        show_table("", columns, lines)
    if not answers.calibrated:
        print("scores only rank: the classifier had too few pictures to calibrate them")


def _scored(image: str, found: BranchPrediction | AttendingPrediction) -> dict[str, Any]:
    """What the record of a picture says first, whatever the run: label and scores."""
    top = [{"label": label, "score": value} for label, value in found.top]
    return {"image": image, "label": found.label, "score": found.score, "top": top}


def _record(rows: list[dict[str, Any]], problems: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"rows": rows, "problems": [{"image": image, "message": message} for image, message in problems]}


def _show_scored(
    rows: Sequence[tuple[str, BranchPrediction | AttendingPrediction, Sequence[object]]], more: Sequence[str], top: int
) -> None:
    """Print a line for each picture: label, score, other labels, and cells under the columns `more`."""
    columns = ["image", "label", "score", *(["other labels"] if top > 1 else []), *more]
    lines: list[Sequence[object]] = []
    for image, found, cells in rows:
        others = ", ".join(f"{label} {percent(p, 1)}" for label, p in found.top[1:])
        lines.append([image, found.label, percent(found.score, 1), *([others] if top > 1 else []), *cells])
    if lines:
        show_table("", columns, lines)
        print("scores only rank: they are not calibrated")


def record_retrieving(answers: BranchAnswers) -> dict[str, Any]:
    """The answers of a run of rac as a record: scores, the label of each branch, and the items that were retrieved."""
    rows = []
    for image, found in answers.rows:
        near = [
            {"id": n.item.id, "source": n.item.source, "name": n.item.name, "label": n.item.label, "text": n.item.text,
             "similarity": n.similarity}
            for n in found.neighbours
        ]  # fmt: skip
        rows.append({**_scored(image, found), "branches": found.branches, "neighbours": near})
    return _record(rows, answers.problems)


def show_retrieving(answers: BranchAnswers, top: int) -> None:
    """Print a line for each picture: label, score, what each branch says where they differ, the nearest items."""
    rows = []
    for image, found in answers.rows:
        branches = ", ".join(f"{name} {label}" for name, label in found.branches.items() if label != found.label) or "agree"
        near = ", ".join(f"{n.item.words or n.item.name} ({n.similarity:.3f})" for n in found.neighbours)
        rows.append((image, found, (branches, near or "-")))
    _show_scored(rows, ("branches", "retrieved"), top)


def record_attending(answers: AttendingAnswers) -> dict[str, Any]:
    """The answers of a run of Meta-Neighborhoods as a record: scores, the label before adaptation, what was attended to."""
    rows = []
    for image, found in answers.rows:
        entries, voters = ([each._asdict() for each in near] for near in (found.entries, found.voters))
        rows.append({**_scored(image, found), "before": found.before, "entries": entries, "neighbours": voters})
    return _record(rows, answers.problems)


def show_attending(answers: AttendingAnswers, top: int) -> None:
    """Print a line for each picture: label, score, the label before adaptation, entries or training pictures it is near."""
    rows = []
    for image, found in answers.rows:
        entries = [f"{near.entry}: {near.label} ({percent(near.weight, 2)})" for near in found.entries]
        voters = [f"{near.id} {near.label} ({near.similarity:.3f})" for near in found.voters]
        cells = (found.before, ", ".join([*entries, *voters]))
        rows.append((image, found, tuple(cell for cell in cells if cell)))
    heads: tuple[str, ...] = ()
    if any(found.entries for _, found, _ in rows):
        heads = ("before", "entries attended to")
    elif any(found.voters for _, found, _ in rows):
        heads = ("network alone", "voters")
    _show_scored(rows, heads, top)


def _method(folder: str) -> str | None:
    """The method of a run on pictures of all classes; None for anything else."""
    if not (Path(folder) / "config.json").is_file():
        return None
    from modicum.training.neighborhoods.runs import is_neighborhoods_run
    from modicum.training.supervised_runs import is_supervised_run

    if is_supervised_run(folder):
        return RAC
    return NEIGHBORHOODS if is_neighborhoods_run(folder) else None


def _run_attending(config: Predict) -> int:
    from modicum.classifiers.attending import predict_attending
    from modicum.runtime import device
    from modicum.training.neighborhoods.runs import load_neighborhoods

    for name in ("reject", "memory"):
        if getattr(config, name) is not None:
            raise ConfigError(f"{name}: not for a run of {NEIGHBORHOODS}, and {config.classifier} is one; leave it out")
    with progress("predicting") as tick:
        answers = predict_attending(
            load_neighborhoods(config.classifier),
            config.images,
            top=config.top,
            neighbours=config.neighbours,
            device=device(config.device),
            progress=tick,
        )
    show_attending(answers, config.top)
    return _told(config, answers.problems, record_attending(answers))


def _told(config: Predict, problems: Sequence[tuple[str, str]], record: dict[str, Any]) -> int:
    """Name what could not be predicted and write the record: 1 where there is any, else 0."""
    for image, message in problems:
        print(f"cannot predict: {image}: {message}", file=sys.stderr)
    write_result(config.json, record)
    return 1 if problems else 0


def _run_retrieving(config: Predict) -> int:
    from modicum.classifiers.retrieved import predict_retrieving
    from modicum.runtime import device
    from modicum.training.supervised_runs import load_supervised

    if config.reject is not None:
        raise ConfigError("reject: a run of rac rejects nothing; leave it out, or make a classifier with `modicum adapt`")
    with progress("predicting") as tick:
        answers = predict_retrieving(
            load_supervised(config.classifier, config.memory),
            config.images,
            top=config.top,
            neighbours=config.neighbours,
            device=device(config.device),
            progress=tick,
        )
    show_retrieving(answers, config.top)
    return _told(config, answers.problems, record_retrieving(answers))


def run(config: Predict) -> int:
    """Predict and print; broken pictures are named, the others are predicted all the same: then 1, else 0."""
    if is_table_run(config.classifier):
        return run_predict(config)
    method = _method(config.classifier)
    if method is not None:
        return _run_retrieving(config) if method == RAC else _run_attending(config)
    from modicum.classifiers.predicting import predict_files
    from modicum.classifiers.storage import load_classifier, load_encoder_of

    if config.memory is not None:
        raise ConfigError(f"memory: for a run of rac, and {config.classifier} is none; leave it out")
    classifier = load_classifier(config.classifier)
    encoder = load_encoder_of(config.classifier, classifier)
    with progress("predicting") as tick:
        answers = predict_files(
            classifier,
            encoder,
            config.images,
            top=config.top,
            reject=config.reject,
            neighbours=config.neighbours,
            progress=tick,
        )
    show(answers, config.top)
    code = _told(config, answers.problems, record(answers))
    if answers.note:
        print(answers.note)
    return code

"""`modicum predict`: labels, probabilities and the nearest support pictures of pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modicum.commands.output import percent, show_table, write_result
from modicum.commands.progress import progress
from modicum.configs import Predict

if TYPE_CHECKING:
    from modicum.classifiers.predicting import Answers

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


def run(config: Predict) -> int:
    """Predict and print; broken pictures are named, the others are predicted all the same: then 1, else 0."""
    from modicum.classifiers.predicting import predict_files
    from modicum.classifiers.storage import load_classifier, load_encoder_of

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
    for image, message in answers.problems:
        print(f"cannot predict: {image}: {message}", file=sys.stderr)
    if answers.note:
        print(answers.note)
    write_result(config.json, record(answers))
    return 1 if answers.problems else 0

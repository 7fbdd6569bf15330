"""What `fit`, `adapt`, `extend` and `forget` show of a classifier, and the files they write beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.commands.output import percent, show_table, write_result

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder
    from modicum.classifiers.classifier import Classifier
    from modicum.data.images import Problem

_MOST = 40  # classes in a table
_SHIPPED = {
    "characters": "small, ships with modicum, trained on handwritten characters",
    "pictures": "small, ships with modicum, trained on 32-pixel pictures of things; try --encoder timm/NAME for more",
}


def show_skipped(skipped: Sequence[Problem]) -> None:
    """Name the pictures that were left out."""
    for problem in skipped[:10]:
        print(f"left out: {problem.path}: {problem.message}")
    if len(skipped) > 10:
        print(f"left out: {len(skipped) - 10} more; `modicum check` names them all")


def check_out(folder: str) -> None:
    """Refuse, before any work, a folder that holds something else or that cannot be written."""
    from modicum.classifiers.storage import check_target
    from modicum.files import check_writable

    check_writable(check_target(folder))


def _accuracy(row: Mapping[str, Any]) -> str:
    if row["balanced_accuracy"] is None:
        return "unknown: no class has two pictures (or groups) of which one could be held out" + (
            " and was not seen by the encoder" if row["only_new_measured"] else ""
        )
    lower, upper = row["interval"]
    return f"{percent(row['balanced_accuracy'], 1)} (95 % interval {percent(lower, 1)} to {percent(upper, 1)})"


def _calibration(row: Mapping[str, Any]) -> str:
    if not row["calibrated"]:
        return "not calibrated, too few pictures to hold out: `predict` gives scores that only rank"
    return f"ECE {percent(row['ece'], 1)}, temperature {row['temperature']:.3g}"


def show(row: Mapping[str, Any]) -> None:
    """Print a result row: facts, recall of every class, what could not be measured."""
    encoder = row["encoder"]
    facts = [
        ("pictures", f"{row['pictures']:,} of {row['classes']:,} classes"),
        ("encoder", f"{encoder} ({_SHIPPED[encoder]})" if encoder in _SHIPPED else encoder),
        ("head", f"{row['head']} ({row['settings']})"),
        ("balanced accuracy", _accuracy(row)),
        ("probabilities", _calibration(row)),
    ]
    if row["measured"]:
        facts.insert(4, ("measured", row["measured"]))
    if row["interval_over"]:
        facts.insert(4, ("interval over", row["interval_over"]))
    if 0 < row["folds"] < row["folds_wanted"]:
        facts.append(("folds", f"{row['folds']} instead of {row['folds_wanted']}: no class has more pictures or groups"))
    if row["search"] != "whole grid":
        facts.append(("search narrowed for size", row["search"]))
    show_table("", ("", ""), facts)
    classes = sorted(row["per_class"].items(), key=lambda item: item[1]["recall"])
    if classes:
        lines = [(name, entry["n"], entry["right"], percent(entry["recall"], 1)) for name, entry in classes[:_MOST]]
        show_table("", ("class", "held out", "right", "recall"), lines)
        if len(classes) > _MOST:
            print(f"... and {len(classes) - _MOST} more classes with higher recall, on the page")
    if row["not_measurable"]:
        seen = ", or none that the encoder has not seen" if row["only_new_measured"] else ""
        print(f"not measurable (one picture or group only{seen}; the classifier knows them all the same):")
        print("  " + ", ".join(row["not_measurable"]))


def finish(classifier: Classifier, folder: str, encoder: Encoder | None, json: str | None) -> int:
    """Write the classifier, its page and the record; print the result and where things are."""
    from modicum.classifiers.results import result_row
    from modicum.classifiers.storage import save_classifier
    from modicum.reporting.page import write_report

    target = save_classifier(classifier, folder, encoder)
    row = result_row(classifier)
    show(row)
    page = write_report([target], target / "report.html")
    print(f"classifier: {target}")
    print(f"report: {page}")
    write_result(json, {"rows": [row]})
    return 0


def encoder_for(classifier: Classifier, source: str, out: str | None) -> Encoder | None:
    """The encoder to write beside a changed classifier: none where it stays in its folder."""
    from modicum.classifiers.storage import load_encoder_of

    if out is None or Path(out).resolve() == Path(source).resolve() or not classifier.encoder.fingerprint:
        return None
    return load_encoder_of(source, classifier)

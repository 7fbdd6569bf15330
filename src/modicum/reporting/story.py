"""Plain sentences about a source: what it is, how good, how sure, where it is wrong. Numbers come from result files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from modicum.reporting.confusion import mistakes, recalls
from modicum.reporting.records import Accuracy, Recall, Source

Sentences = list[tuple[str, str]]


def percent(value: float | None, digits: int = 1) -> str:
    """`98.7 %` (with a space that does not break), or `-` where there is none. Never rounds up to 100 % nor down to 0 %."""
    if value is None:
        return "-"
    text = f"{100 * value:.{digits}f}"
    while ((float(text) == 100 and value < 1) or (float(text) == 0 and value > 0)) and digits < 6:
        digits += 1
        text = f"{100 * value:.{digits}f}"
    return f"{text}\u00a0%"


def counted(number: int, one: str, many: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number:,} {one if number == 1 else many}"


def tell(source: Source) -> Sentences:
    """(question, answer) in reading order."""
    what = _what_run(source) if source.kind == "run" else _what_classifier(source)
    told = [("What is this?", what), ("How good is it?", _how_good(source)), ("How sure is that?", _how_sure(source))]
    if trust := _how_calibrated(source):
        told.append(("Can its probabilities be believed?", trust))
    told.append(("Where is it wrong?", _where_wrong(source)))
    return told


def _value(source: Source, name: str) -> Any:
    found = source.config.get(name, source.details.get(name))
    return "-" if found is None else found


def _what_run(source: Source) -> str:
    trained = max((int(entry.get("step") or 0) for entry in source.log), default=0)
    steps = f"trained for {counted(trained, 'step', 'steps')}" if trained else "trained"
    data = last_part(str(_value(source, "data")))
    return (
        f"A model that was {steps} on “{data}” to tell new classes apart from a few labelled pictures "
        f"of each (method {_value(source, 'method')}, backbone {_value(source, 'backbone')}). "
        "It is tested on classes that it never met in training."
    )


def _what_classifier(source: Source) -> str:
    classes = list(source.details.get("classes") or source.classes)
    pictures = _pictures(source)
    size = f"of {counted(len(classes), 'class', 'classes')}" if classes else ""
    support = f", learned from {counted(pictures, 'labelled picture', 'labelled pictures')}" if pictures else ""
    head, encoder = named(source.details.get("head")), named(source.details.get("encoder"))
    if source.details.get("encoder_saw"):
        saw = int(source.details["encoder_saw"])
        made = f"The network “{encoder}” took gradient steps on {saw:,} of your pictures; the head is “{head}”."
    else:
        made = (
            f"The encoder “{encoder}” turns each picture into numbers and stays as it is; the head “{head}” was chosen and "
            "fitted on your pictures."
        )
    measured = f" Accuracy is measured {source.details['measured']}." if source.details.get("measured") else ""
    return f"A classifier {size}{support}. {made}{measured}"


def _pictures(source: Source) -> int:
    count, ids = source.details.get("pictures"), source.details.get("ids")
    if isinstance(count, int):
        return count
    if isinstance(ids, list | tuple):
        return len(ids)
    return sum(int(entry.get("n") or 0) for entry in source.per_class.values())


def last_part(place: str) -> str:
    """The last part of a path, so that a page that is passed on does not tell where its maker keeps things."""
    return re.split(r"[/\\]", place.rstrip("/\\"))[-1]


def named(value: Any) -> str:
    """The name in a record of a head or an encoder, or the text itself, or `-`."""
    if isinstance(value, dict):
        value = value.get("name") or value.get("backbone") or value.get("reference")
    if value in (None, ""):
        return "-"
    text = str(value)
    return last_part(text) if re.match(r"[/\\.~]|[A-Za-z]:[/\\]", text) else text  # a path, not a hub's owner/name


def _how_good(source: Source) -> str:
    if not source.accuracies:
        return "Not measured yet: there is no result file. " + (
            "Run `modicum evaluate` on this folder." if source.kind == "run" else "Too few pictures to hold any back."
        )
    rows = [row for row in source.accuracies if not _seen_together(row, source)]
    sizes = [(row.ways, row.shots) for row in rows]
    return " ".join(_good(row, sizes.count((row.ways, row.shots)) > 1) for row in rows)


def _seen_together(row: Accuracy, source: Source) -> bool:
    """Whether a row is one under statistics of the whole batch whose setting was also measured without."""
    return row.batch_norm == "batch" and any(
        other.setting == row.setting and other.batch_norm != "batch" for other in source.accuracies
    )


def _good(row: Accuracy, ambiguous: bool) -> str:
    """One measurement in a sentence; ambiguous: another one has as many ways and shots, so what it was on is said too."""
    chance = "" if row.chance is None else f" (guessing: {percent(row.chance)})"
    if row.ways is None:
        return f"It is right for {percent(row.value)} of pictures when every class counts the same{chance}."
    shots = counted(row.shots or 0, "labelled picture", "labelled pictures")
    place, apart = row.setting.partition(":")[0], f" ({row.apart})" if row.apart else ""
    where = f"On {place}{apart}: with" if ambiguous else "With"
    return f"{where} {row.ways} classes and {shots} of each it names {percent(row.value)} of new pictures rightly{chance}."


def _how_sure(source: Source) -> str:
    rows = [row for row in source.accuracies if row.low is not None]
    if not rows:
        return "Unknown: no interval was measured."
    parts = [f"{percent(row.low)} to {percent(row.high)} ({row.label})" for row in rows]
    over = "; ".join(dict.fromkeys(row.over for row in rows if row.over))
    told = f"95 % intervals: {', '.join(parts)}." if len(parts) > 1 else f"95 % interval: {parts[0]}."
    told += f" Each is over {over}." if over and len(parts) > 1 else f" It is over {over}." if over else ""
    again = "another training run" if source.kind == "run" else "pictures taken under other circumstances"
    told += f" Other classes or {again} may give other numbers."
    return told + "".join(_spread(row) for row in rows[:1])


def _spread(row: Accuracy) -> str:
    """What a single task may give, which is far less certain than the mean."""
    if row.per_task is None or len(row.per_task) < 20:
        return ""
    low, high = np.quantile(row.per_task, [0.05, 0.95])
    return f" A single task varies more: 9 of 10 ({row.label}) lie between {percent(low, 0)} and {percent(high, 0)}."


def _how_calibrated(source: Source) -> str:
    if source.kind == "run":
        return ""
    if source.ece is None:
        return "Unknown: calibration could not be measured, so take them as scores that only rank."
    verdict = "They are close to how often it is right" if source.ece <= 0.05 else "Take them with care"
    return f"{verdict}: on pictures it had not seen, they were off by {percent(source.ece)} on average (ECE)."


def _where_wrong(source: Source) -> str:
    told = []
    unit = ("time", "times") if source.kind == "run" else ("picture", "pictures")  # a run meets a picture in many tasks
    if source.confusion is not None:
        if worst := mistakes(source.confusion, source.classes, 1):
            first = worst[0]
            told.append(
                f"Its most frequent mistake: “{first.true}” called “{first.predicted}”, {first.count:,} of "
                f"{counted(first.total, *unit)} ({percent(first.share)})."
            )
        else:
            told.append("It made no mistake on the pictures it was tested with.")
    if lowest := class_recalls(source):
        worst_class = lowest[0]
        told.append(
            f"It recognises “{worst_class.name}” least often: {percent(worst_class.value)} of "
            f"{counted(worst_class.n, *unit)}."
        )
    if source.not_measurable:
        classes = counted(len(source.not_measurable), "class has", "classes have")
        seen = ", or none that the encoder has not seen" if source.details.get("only_new_measured") else ""
        told.append(f"{classes} one picture (or one group) only{seen}: usable, but nobody can say how well.")
    return " ".join(told) or "Unknown: no confusion counts were recorded."


def class_recalls(source: Source) -> list[Recall]:
    """Recall of every measured class, lowest first, from the per-class record or else from the confusion counts."""
    measured = [_recall(name, entry) for name, entry in source.per_class.items()]
    found = [recall for recall in measured if recall is not None]
    if not found and source.confusion is not None:
        found = recalls(source.confusion, source.classes)
    return sorted(found, key=lambda recall: recall.value)


def _recall(name: str, entry: Mapping[str, Any]) -> Recall | None:
    if not isinstance(entry.get("recall"), int | float):
        return None
    low, high = entry.get("interval") or (None, None)
    return Recall(name, float(entry["recall"]), int(entry.get("n") or 0), low, high)

"""Plain sentences about a classifier under a long tail: what was trained, how good it is, how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.evaluation.long_tail import BUCKETS
from modicum.reporting.figures import Log
from modicum.reporting.long_tail_rows import BRANCHES, RULES, Cell, Measured, Row
from modicum.reporting.records import Source
from modicum.reporting.story import Sentences, counted, last_part, named, percent

WHAT = {
    "both": "a base branch that looks at the picture, and a retrieval branch that reads texts of similar ones in a memory",
    "base": "a base branch alone, without a memory",
    "retrieval": "a retrieval branch alone, which reads the texts of similar pictures in a memory",
}


@dataclass(frozen=True)
class Card:
    """A number in large type."""

    title: str
    value: Cell
    notes: list[str]


def cards(measured: Sequence[Measured]) -> list[Card]:
    """Of the first measurement: balanced accuracy of what was trained, and its accuracy on rare classes."""
    if not measured or measured[0].main is None:
        return []
    first, main = measured[0], measured[0].main
    chance = f"guessing: {percent(1 / len(first.counts))}"
    found = [Card(f"balanced accuracy, {first.title}", main.balanced, [main.name, chance])]
    for bucket, value in zip(first.buckets, main.cells, strict=True):
        if bucket.title in ("many", "few") and value.value is not None:
            told = "frequent classes" if bucket.title == "many" else "rare classes"
            classes = counted(bucket.classes or 0, "class", "classes")
            if bucket.pictures is not None:
                classes += f", {counted(bucket.pictures, 'test picture', 'test pictures')}"
            found.append(Card(f"{told} ({RULES[bucket.title]} in training)", value, [main.name, classes]))
    return found


def tell_long_tail(record: Row, log: Log, measured: Sequence[Measured]) -> Sentences:
    """(question, answer) in reading order."""
    config, data = record["config"], record["data"]
    steps = max((int(line["step"]) for line in log), default=0)
    counts = data.get("counts") or []
    spread = f" ({max(counts):,} to {min(counts):,} pictures each)" if counts else ""
    what = (
        f"A classifier of {counted(len(data['classes']), 'class', 'classes')}, “{last_part(str(data['name']))}”{spread}, "
        f"trained for {counted(steps, 'step', 'steps')} with the loss “{config['loss']}”: {WHAT[config['branches']]}."
    )
    told = [("What is this?", what)]
    if not measured:
        return [*told, ("How good is it?", "Not measured yet: run `modicum evaluate` on this folder.")]
    told.append(("How good is it?", " ".join(_good(one) for one in measured)))
    if sum(branch.key in BRANCHES for branch in measured[0].branches) > 1:
        told.append(("Which branch knows what?", _branches(measured[0])))
    over = "; ".join(dict.fromkeys(one.over for one in measured))
    sure = (
        f"Intervals are 95 %, over {over}. They do not cover another training run: an order between methods needs several."
    )
    return [*told, ("How sure is that?", sure)]


def _good(one: Measured) -> str:
    if one.main is None:
        return f"On {one.title}, what it was trained to predict with was not measured."
    cells = dict(zip((bucket.title for bucket in one.buckets), one.main.cells, strict=True))
    parts = [f"{percent(cells[name].value)} of {name}" for name in BUCKETS if cells[name].value is not None]
    return (
        f"On {one.title} it is right for {percent(one.main.balanced.value)} of pictures when every class counts the same "
        f"(guessing: {percent(1 / len(one.counts))}): {', '.join(parts)}."
    )


def _branches(one: Measured) -> str:
    """The best branch of each bucket, and where intervals do not tell it from the next one."""
    told = []
    for place, bucket in enumerate(one.buckets[: len(BUCKETS)]):
        rows = [(b.cells[place], b.name) for b in one.branches if b.key in BRANCHES and b.cells[place].value is not None]
        rows.sort(key=lambda row: -(row[0].value or 0))
        if len(rows) < 2:
            continue
        (best, name), (second, other) = rows[:2]
        if best.value == second.value:
            told.append(f"{bucket.title}: {name} and {other} alike, {percent(best.value)}")
            continue
        clear = best.low is not None and second.high is not None and best.low > second.high
        mark = "" if clear else "; their intervals overlap"
        told.append(f"{bucket.title}: {name}, {percent(best.value)}, before {other}, {percent(second.value)}{mark}")
    return ". ".join(text[:1].upper() + text[1:] for text in told) + "." if told else "-"


def facts(record: Row, measured: Sequence[Measured]) -> list[tuple[str, str]]:
    """(name, value) of what was trained, on what, with which memory; "-" for what the files do not say."""
    config, data = record["config"], record["data"]
    now: Mapping[str, Any] = (measured[0].record.get("memory") or {}) if measured else {}
    then: Mapping[str, Any] = record.get("memory") or {}
    before: Mapping[str, Any] = record.get("pretraining") or {}
    reads = config["branches"] != "base"
    encoder = record.get("encoder")
    found = [
        ("trained", WHAT[config["branches"]]),
        ("loss", f"{config['loss']}, sampling {config['sampler']}, second stage {config['decouple']}"),
        ("training pictures", _pictures(data, config)),
        ("base branch", "-" if not encoder else str(encoder["backbone"])),
        ("pre-training of the base branch", _before(before.get("base"), config["pretrained"])),
    ]
    if not reads:
        return [*found, ("memory", "- (a base branch alone reads none)")]
    return [
        *found,
        ("encoder of the memory", place(then.get("encoder"))),
        ("pre-training of that encoder", _before(before.get("encoder"), config["encoder"], then.get("encoder"))),
        ("memory in training", _items(then)),
        ("memory when measured", _items(now) + _since(then, now)),
        ("neighbours read", f"{config['neighbours']} of each picture, as text: {place(config['text'])}"),
    ]


def place(value: Any) -> str:
    """The name in an option that may hold a path or an address: a page does not tell where its maker keeps things."""
    if str(value).startswith("milvus+"):
        return "a memory on Milvus"
    kind, colon, rest = str(value or "").partition(":")
    return f"{kind}:{named(rest)}" if colon and kind in ("clip", "clip-frozen", "sentence") else named(value)


def run_source(path: Path, name: str, record: Row, places: Sequence[str]) -> Source:
    """Settings, versions and device of a run on all classes. places: options that may hold a path or an address."""
    details = {key: record[key] for key in ("version", "split_rule", "note") if record.get(key)}
    config = {key: place(value) if key in places else value for key, value in record["config"].items()}
    return Source(
        path=path, kind="run", name=name, config=config, environment=record.get("environment", {}), details=details
    )


def _before(text: Any, *names: Any) -> str:
    """What a file says of a pre-training, with the last parts of the paths that it names."""
    told = str(text or "-")
    for name in names:
        told = told.replace(str(name), place(name)) if name else told
    return told


def _pictures(data: Row, config: Row) -> str:
    counts = data.get("counts")
    if not counts:
        return "-"
    classes = counted(len(counts), "class", "classes")
    made = (
        f", made long-tailed ({config['imbalance_kind']}, factor {config['imbalance']:g})"
        if config["imbalance"] != 1
        else ""
    )
    return f"{sum(counts):,} of {classes}, {max(counts):,} to {min(counts):,} each{made}"


def _items(memory: Row) -> str:
    if "items" not in memory:
        return "-"
    sources = memory.get("sources")
    told = f"{memory['items']:,} items"
    if sources:
        told += ": " + ", ".join(f"{last_part(str(name)) or '(no name)'} {number:,}" for name, number in sources.items())
    return told


def _since(then: Row, now: Row) -> str:
    if not then.get("digest") or not now.get("digest"):
        return ""
    return " (the same)" if then["digest"] == now["digest"] else " (changed since, by what lies in it or by other labels)"

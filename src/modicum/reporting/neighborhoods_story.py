"""Plain sentences about Meta-Neighborhoods and its baselines: what was trained, how good, what adapting and entries do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modicum.reporting.figures import Log
from modicum.reporting.long_tail_rows import Cell, Row
from modicum.reporting.long_tail_story import Card
from modicum.reporting.neighborhoods_rows import Dictionary, Measured, uneven
from modicum.reporting.neighborhoods_subcategories import Subcategories
from modicum.reporting.story import Sentences, counted, last_part, percent

WHAT = {
    "none": "Its output layer is adapted to every picture by gradient steps on a learned dictionary",
    "vanilla": "A vanilla network, a baseline: nothing is adapted to a picture",
    "parameters": "A baseline with as many parameters as a dictionary has, in one more layer; nothing is adapted",
    "knn": "A baseline: the training pictures nearest to a picture's features vote",
}


def cards(measured: Sequence[Measured]) -> list[Card]:
    """Of the first measurement: accuracy and balanced accuracy of what the run predicts with; before adaptation."""
    if not measured or measured[0].main is None:
        return []
    first, main = measured[0], measured[0].main
    chance = f"guessing: {percent(1 / len(first.counts))}"
    found = [Card(f"right, {first.title}", main.accuracy, [main.name, chance])]
    if main.balanced.value is not None and uneven(first.counts):
        found.append(Card("balanced accuracy (every class counts the same)", main.balanced, [main.name]))
    for branch in first.branches:
        if branch.key == "before":
            found.append(Card("right without adapting", branch.accuracy, [branch.name]))
    return found


def tell_neighborhoods(record: Row, log: Log, measured: Sequence[Measured], found: Sequence[Subcategories]) -> Sentences:
    """(question, answer) in reading order."""
    config, data = record["config"], record["data"]
    steps = max((int(line["step"]) for line in log), default=0)
    counts = data.get("counts") or []
    spread = f" ({max(counts):,} to {min(counts):,} training pictures each)" if counts else ""
    entries = f" of {int(config['entries']):,} entries" if config["baseline"] == "none" else ""
    what = (
        f"A classifier of {counted(len(data['classes']), 'class', 'classes')}, “{last_part(str(data['name']))}”{spread}, "
        f"trained for {counted(steps, 'step', 'steps')}. {WHAT[config['baseline']]}{entries}."
    )
    told = [("What is this?", what)]
    if not measured:
        return [*told, ("How good is it?", "Not measured yet: run `modicum evaluate` on this folder.")]
    told.append(("How good is it?", " ".join(_good(one) for one in measured)))
    if changes := [_changed(one) for one in measured if one.changes and one.changes[-1].later.startswith("adapted")]:
        told.append(("What does adapting to each picture change?", " ".join(changes)))
    if measured[0].dictionary is not None:
        told.append(("What did the dictionary learn?", _learned(measured[0].dictionary)))
    told += [("Does it know finer classes?", f"On {one.title}, {one.fine_classes} classes of {one.fine}: {one.told}")
             for one in found]  # fmt: skip
    over = "; ".join(dict.fromkeys(one.over for one in measured))
    sure = f"Intervals are 95 %, over {over}. They do not cover another training: an order of methods needs several seeds."
    return [*told, ("How sure is that?", sure)]


def _good(one: Measured) -> str:
    if one.main is None or one.main.accuracy.value is None:
        return f"On {one.title}, what it predicts with was not measured."
    balanced = one.main.balanced
    told = f"On {one.title} it is right for {percent(one.main.accuracy.value)} of pictures{_interval(one.main.accuracy)}"
    if balanced.value is not None and uneven(one.counts):
        told += f", {percent(balanced.value)} when every class counts the same"
    return f"{told} (guessing: {percent(1 / len(one.counts))})."


def _interval(value: Cell) -> str:
    return "" if value.low is None else f" ({percent(value.low)} to {percent(value.high)})"


def _changed(one: Measured) -> str:
    """The last change: adapted against before adaptation, on the same pictures."""
    change = one.changes[-1]
    told = (
        f"On {one.title} it corrects {change.corrected:,} and spoils {change.spoiled:,} of {change.pictures:,} answers: "
        f"{100 * change.difference:+.2f} points"
    )
    if change.interval:
        told += f" (95 % interval {change.interval}{'' if change.decided else '; undecided'})"
    return f"{told}. The network was trained to be used adapted, so those before are no vanilla network's."


def _learned(found: Dictionary) -> str:
    """Use, values, and whether what is near an entry has its class; an order to guessing is named, nothing else is."""
    even = 1 / max(len(found.classes), 1)
    told = (
        f"{found.carrying:,} of {found.entries:,} entries carry 90 % of the attention, which is spread as if "
        f"{found.effective:,.0f} were used alike. An entry's likeliest class has {percent(found.sharpness)} on average "
        f"(even: {percent(even)}). Of the {found.near} test pictures nearest to an entry in use, {percent(found.agreed)} "
        "are labelled with its class"
    )
    if found.guess is not None:
        told += f" (guessing: {percent(found.guess)})"
        if found.agreed < found.guess:
            told += ": no more than by chance, so here an entry does not stand for what is near it"
    told += "."
    if found.votes is not None:
        told += f" The mean of the values, by attention, alone names {percent(found.votes)} of pictures rightly."
    return told


def facts(record: Row, measured: Sequence[Measured]) -> list[tuple[str, str]]:
    """(name, value) of what was trained; "-" for what the files do not say."""
    config, data = record["config"], record["data"]
    encoder, sizes = record.get("encoder") or {}, record.get("parameters") or {}
    counts = data.get("counts") or []
    pictures = f"{sum(counts):,} of {counted(len(counts), 'class', 'classes')}, {max(counts):,} to {min(counts):,} each"
    found = [
        ("trained", WHAT[config["baseline"]]),
        ("network", str(encoder.get("backbone", "-"))),
        ("parameters", f"{sizes['encoder']:,} of the network, {sizes['others']:,} behind it" if sizes else "-"),
        ("output layer", _layer(config, measured)),
        ("training pictures", pictures if counts else "-"),
        ("augmentation", str(record.get("augmentation", "-"))),
        ("optimizer", f"{config['optimizer']}, rate {config['learning_rate']:g}, weight decay {config['weight_decay']:g} in "
                      f"the form of {config['decay_form']}, of the network alone"),
    ]  # fmt: skip
    if config["baseline"] == "knn":
        found.append(("votes", f"{config['neighbours']} training pictures, by cosines of features"))
    if config["baseline"] == "parameters":
        found.append(("further layer", f"as many parameters as {int(config['entries']):,} entries"))
    return found + _dictionary_facts(config, measured) if config["baseline"] == "none" else found


def _learned_numbers(measured: Sequence[Measured]) -> Row:
    return (measured[0].record.get("learned") or {}) if measured else {}


def _layer(config: Row, measured: Sequence[Measured]) -> str:
    tau: Any = _learned_numbers(measured).get("tau")
    told = {"cosine": "cosines to the weights of classes", "dot": "products with the weights of classes"}
    layer = told.get(config["output_layer"], str(config["output_layer"]))
    return layer if tau is None else f"{layer}, times {float(tau):.3g} (learned)"


def _dictionary_facts(config: Row, measured: Sequence[Measured]) -> list[tuple[str, str]]:
    learned = _learned_numbers(measured)
    rate, temperature = learned.get("rate"), learned.get("temperature")
    ends = learned.get("rate_ends")
    one = config["inner_rates"] == "scalar"
    ended = "-" if rate is None else f"{rate:.3g}" if one or not ends else f"{rate:.3g} ({ends[0]:.3g} to {ends[1]:.3g})"
    kept = f"T = {config['temperature']:g}, fixed"
    if config["learn_temperature"]:
        kept = f"T learned from {config['temperature']:g}: " + ("-" if temperature is None else f"{temperature:.3g}")
    draw = {"query": "drawn for each picture", "shared": "drawn once for a step"}.get(config["dropout_draw"], "-")
    films = f", {config['film_entries']} entries each" if config["modulate"] != "none" else ""
    return [
        ("dictionary", f"{int(config['entries']):,} entries, values {config['entry_values']}, {kept}"),
        ("inner steps", f"{config['inner_steps']}, {'one rate' if one else 'a rate for each feature'}, from "
                        f"{config['inner_rate']:g}, learned: {ended}"),
        ("entries left out in training", f"{percent(config['entry_dropout'], 0)}, {draw}"),
        ("modulated norms (iFiLM)", f"{config['modulate']}{films}"),
    ]  # fmt: skip

"""Whether our numbers show an order that a paper claims: paired over training seeds, or not at all.

Each seed is one training of both models, tested on the same tasks. From three seeds on, the mean difference has Student's
interval over seeds; an order is stated where it excludes 0, or the order's margin. Fewer seeds, or an interval that holds
it: undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from modicum.evaluation.intervals import MeanInterval, excludes_zero, paired_interval
from modicum.recipes.recipe import Claim, Order

FEW_SEEDS = 3
"""From so many training seeds on, an interval is over seeds and an order can be stated."""

Outcome = Literal["confirmed", "refuted", "undecided"]


@dataclass(frozen=True)
class FoundOrder:
    """What our seeds say about a published order. difference: upper minus lower, with ci95, in the rows' unit; None below
    three common seeds. shown: the order of our numbers in words, or "undecided". margin: see `Order`.
    """

    recipe: str
    upper: str
    lower: str
    claim: str
    difference: float | None
    ci95: float | None
    seeds: tuple[int, ...]
    shown: str
    outcome: Outcome
    margin: float = 0.0

    def as_text(self) -> str:
        """One line for below a table."""
        line = f"{self.outcome}: {self.claim} [{self.upper} above {self.lower}{_by(self.margin)}]"
        if self.difference is None or self.ci95 is None:
            return f"{line}; {len(self.seeds)} common seed(s), an order needs {FEW_SEEDS}"
        seeds = ", ".join(map(str, self.seeds))
        return f"{line}; difference {self.difference:+.4f} ± {self.ci95:.4f} (95 %) over seeds {seeds}: {self.shown}"


@dataclass(frozen=True)
class FoundClaim:
    """A sentence and what became of it: confirmed where all its orders were, refuted where one was, else undecided."""

    sentence: str
    outcome: Outcome
    parts: tuple[FoundOrder, ...]

    def as_text(self) -> str:
        """The sentence, then one line for each of its orders."""
        lines = [f"  {part.recipe}: {part.as_text()}" for part in self.parts]
        return "\n".join([f"{self.outcome}: {self.sentence}", *lines])


def value_of(record: Mapping[str, Any]) -> float:
    """The number of a record; records of before there were kinds of rows hold an accuracy."""
    return float(record["value"] if "value" in record else record["accuracy"])


def find_order(
    recipe: str, order: Order, upper: Mapping[int, Mapping[str, Any]], lower: Mapping[int, Mapping[str, Any]]
) -> FoundOrder:
    """The order of two rows from their records, seed -> record."""
    seeds = tuple(sorted(set(upper) & set(lower)))
    names = recipe, order.upper, order.lower, order.claim
    if len(seeds) < FEW_SEEDS:
        return FoundOrder(*names, None, None, seeds, "undecided", "undecided", order.margin)
    values = [[value_of(records[seed]) for seed in seeds] for records in (upper, lower)]
    found = paired_interval(values[0], values[1], f"{len(seeds)} training seeds")
    shown, outcome = "undecided", _outcome(found, order.margin)
    if outcome != "undecided":
        shown = f"{order.upper} above {order.lower}{_by(order.margin)}"
        if outcome == "refuted":
            shown = f"not {shown}" if order.margin else f"{order.lower} above {order.upper}"
    return FoundOrder(*names, found.mean, found.ci95, seeds, shown, outcome, order.margin)


def _outcome(difference: MeanInterval, margin: float) -> Outcome:
    """Where the interval lies beside the margin: above, below, or on both sides of it."""
    if not excludes_zero(replace(difference, mean=difference.mean - margin)):
        return "undecided"
    return "confirmed" if difference.mean > margin else "refuted"


def _by(margin: float) -> str:
    return f" {'+' if margin > 0 else '-'} {abs(margin):g}" if margin else ""


def find_claim(claim: Claim, parts: Sequence[FoundOrder]) -> FoundClaim:
    """What the orders of a claim say together. One refuted order refutes it, for it says that all hold."""
    outcomes = {part.outcome for part in parts}
    outcome: Outcome = "refuted" if "refuted" in outcomes else "confirmed" if outcomes == {"confirmed"} else "undecided"
    return FoundClaim(claim.sentence, outcome, tuple(parts))

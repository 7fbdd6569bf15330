"""Rows of runs of Meta-Neighborhoods and its baselines: accuracies by branch, and what the entries stand for.

| figure | is |
|---|---|
| branch vanilla, knn | accuracy of a baseline on the test pictures |
| branch before, step-1 .., adapted | accuracy before the inner steps, after each of them, and after the last |
| agreement all, in_use | mean over entries, of all and of those in use, of the share of an entry's 5 nearest test pictures \
that are labelled with the likeliest class of its value (figures 9 and 10 as a number) |
| agreement by_usage | likewise, entries weighed by the attention they get from the test pictures |
| votes VECTOR LABELS | accuracy of k-NN by training pictures on fine or coarse labels, after training on coarse ones |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modicum.configs import Evaluate
from modicum.recipes.long_tail_measuring import LEFT_OUT, figure_of
from modicum.recipes.recipe import Row
from modicum.runtime import Progress

FINER: Mapping[str, str] = {"cifar100-coarse": "cifar100"}
"""Set with coarse labels -> the same pictures with fine ones; elsewhere a set's own labels."""
ENTRIES = ("all", "in_use", "by_usage")


def figures_of(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figure of a row -> value and 95 % interval, from an evaluation; agreements where the run has a dictionary."""
    found = {
        f"branch {row['branch']}": _figure(row["accuracy"], row["ci95"], row["interval_over"]) for row in measured["rows"]
    }
    if measured["dictionary"] is not None:
        agreement = measured["dictionary"]["agreement"]
        over = f"one training, {agreement['near']} test pictures of each entry: no interval"
        found |= {f"agreement {which}": _figure(agreement[which], None, over) for which in ENTRIES}
    return found


def _figure(value: float, ci95: float | None, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": ci95, "stderr": None, "interval_over": over}


def measure_neighborhoods(row: Row, run: Path, root: str | None, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of a run: its figure, all figures, rows by branch, what training settled."""
    from modicum.recipes.measuring import portable
    from modicum.training.evaluate import evaluate

    test = Evaluate(run=str(run), root=root)
    measured = evaluate(test, progress)
    figures = figures_of(measured)
    rows = [{key: value for key, value in each.items() if key not in LEFT_OUT} for each in measured["rows"]]
    names = (
        "tested",
        "classes",
        "counts",
        "steps",
        "entries",
        "inner_steps",
        "rates",
        "learned",
        "differences",
        "dictionary",
    )
    kept = {name: measured.get(name) for name in names}
    return {
        "evaluate": portable(asdict(test)), **kept, "rows": rows, "figures": figures, **figure_of(row, figures)
    }  # fmt: skip


def votes_of(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figure of a row -> value and 95 % interval, by vector and labels, at the usual k of an evaluation."""
    return {
        f"votes {row['vector']} {labels}": _figure(row[labels]["accuracy"], row[labels]["ci95"], row["interval_over"])
        for row in measured["rows"]
        if row["neighbours"] == measured["usual"]
        for labels in ("fine", "coarse")
    }


def measure_votes(row: Row, run: Path, root: str | None, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of sub-category discovery: its figure, all figures, every vector and k."""
    from modicum.recipes.measuring import portable
    from modicum.training.neighborhoods.subcategories import evaluate_subcategories
    from modicum.training.runs import read_record

    data = read_record(run)[0].data
    test = Evaluate(run=str(run), root=root, fine=FINER.get(data, data))
    measured = evaluate_subcategories(test, progress)
    figures = votes_of(measured)
    names = ("tested", "classes", "fine_classes", "voters", "steps", "entries", "usual", "rows", "differences")
    kept = {name: measured[name] for name in names}
    return {"evaluate": portable(asdict(test)), **kept, "figures": figures, **figure_of(row, figures)}

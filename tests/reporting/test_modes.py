"""Rows told apart, and pairs of batch-norm modes: only the same tasks under the same settings are set side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modicum.evaluation.intervals import paired_interval
from modicum.reporting.modes import pairs, setup, told_apart
from modicum.reporting.records import Accuracy

SUPPORT, BATCH = np.array([0.5, 0.6, 0.7, 0.6]), np.array([0.61, 0.7, 0.79, 0.71])


def row(mode: str, values: np.ndarray = SUPPORT, **more: object) -> Accuracy:
    found = setup({"head": "alfa", "queries": 15, **more}, {"batch_norm": mode, **more})
    return Accuracy("digits test: 5-way 1-shot", float(values.mean()), ways=5, shots=1, per_task=values,
                    tasks_key=("digest",), batch_norm=mode, setup=found)  # fmt: skip


def test_the_difference_is_that_of_the_paired_tasks() -> None:
    (pair,) = pairs([row("batch", BATCH), row("support")])
    gap = paired_interval(BATCH, SUPPORT, "draws of tasks")
    assert (pair.support, pair.batch) == (pytest.approx(0.6), pytest.approx(0.7025))
    assert pair.difference == pytest.approx(0.1025)
    assert (pair.low, pair.high) == (gap.mean - gap.ci95, gap.mean + gap.ci95)
    assert (pair.tasks, pair.told) == (4, "seeing the other queries helps it")
    assert pairs([row("support", BATCH), row("batch")])[0].told == "it does better without the other queries"
    assert "do not tell" in pairs([row("support"), row("batch", SUPPORT[::-1].copy())])[0].told


@pytest.mark.parametrize("other", [
    replace(row("batch"), tasks_key=("another",)), replace(row("batch"), tasks_key=None),
    replace(row("batch"), per_task=None), row("batch", inner_steps=9), row("batch", head="protonet"), row("running"),
])  # fmt: skip
def test_other_tasks_and_other_settings_are_not_paired(other: Accuracy) -> None:
    assert pairs([row("support"), other]) == []


def test_rows_of_one_setting_say_what_differs_and_usual_ones_come_first() -> None:
    rows = told_apart([row("batch"), row("support", head="protonet"), row("support")], "alfa")
    assert [found.label for found in rows] == [
        "digits test: 5-way 1-shot, one by one, head alfa",
        "digits test: 5-way 1-shot, all at once, head alfa",
        "digits test: 5-way 1-shot, one by one, head protonet",
    ]
    (alone,) = told_apart([row("batch")], "alfa")
    assert alone.label == alone.setting


def test_what_two_files_say_alike_counts_once() -> None:
    rows = told_apart([row("support"), row("batch", BATCH), row("support"), row("support", SUPPORT + 0.1)], "alfa")
    assert [found.value for found in rows] == pytest.approx([0.6, 0.7, 0.7025])


def test_what_tells_pairs_apart_stays_in_their_labels() -> None:
    rows = told_apart([row(mode, inner_steps=steps) for mode in ("support", "batch") for steps in (3, 5)], "alfa")
    assert [pair.label for pair in pairs(rows)] == [
        "digits test: 5-way 1-shot, 3 inner steps", "digits test: 5-way 1-shot, 5 inner steps",
    ]  # fmt: skip

"""Figures: what is drawn where, that they ask nobody for anything, and that they are the same each time."""

from __future__ import annotations

import re

import numpy as np
import pytest

from modicum.reporting import figures
from modicum.reporting.records import Accuracy


def log(steps: int = 10) -> list[dict[str, object]]:
    return [{"kind": "train", "step": s, "loss": 1 / s, "accuracy": 0.5} for s in range(1, steps + 1)]


def all_figures() -> list[str | None]:
    points = np.random.default_rng(0).normal(size=(30, 2))
    accuracy = Accuracy("5-way 1-shot", 0.9, 0.88, 0.92, per_task=np.linspace(0.8, 1, 50))
    return [
        figures.curves([log(), log()]),
        figures.accuracy_bars([(0, "a", accuracy)]),
        figures.scatter(points, np.arange(30) % 3, ["a", "b", "c"]),
        figures.reliability([(0.5, 0.4, 0.3, 0.5, 10), (0.9, 0.9, None, None, 20)]),
    ]


def test_figures_need_no_address_and_take_the_ink_of_the_page() -> None:
    for text in all_figures():
        assert text is not None
        assert text.startswith("<svg ")
        assert 'role="img"' in text
        assert "http" not in text
        assert "currentColor" in text
        assert figures.INK not in text


def test_the_same_figure_gives_the_same_text() -> None:
    assert all_figures() == all_figures()


def test_nothing_to_draw_gives_none() -> None:
    assert figures.curves([[], [{"kind": "train", "step": 3}]]) is None
    assert figures.accuracy_bars([]) is None
    assert figures.reliability([]) is None


def test_averaging_keeps_the_mean_and_bounds_the_points() -> None:
    x, y = np.arange(1000.0), np.random.default_rng(0).normal(size=1000)
    few_x, few_y = figures._averaged(x, y)
    assert len(few_x) == 250
    assert few_x[0] == 1.5
    assert few_y.mean() == pytest.approx(y.mean())


def test_html_and_dollars_in_labels_are_text() -> None:
    text = figures.accuracy_bars([(0, "<b>$x^2$ & 名前", Accuracy("s", 0.5))])
    assert text is not None
    assert "&lt;b&gt;$x^2$ &amp; 名前" in re.sub(r"\s+", " ", text)

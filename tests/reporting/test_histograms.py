"""Histograms of distances: what is drawn and said, and what is left out."""

from __future__ import annotations

import numpy as np

from modicum.reporting.figures import INK, colour
from modicum.reporting.histograms import distance_histogram


def panels() -> list[tuple[str, list[tuple[int, str, np.ndarray]]]]:
    near, far = np.linspace(1, 2, 50), np.linspace(2, 4, 30)
    return [("1-shot", [(0, "reptile", far), (1, "reptile-wc", near)]), ("5-shot", [(0, "reptile", 2 * far)])]


def test_runs_stand_in_their_colours_and_medians_in_the_description() -> None:
    text = distance_histogram(panels())
    assert text is not None
    assert text.startswith("<svg ")
    assert "medians: reptile 1-shot 3; reptile-wc 1-shot 1.5; reptile 5-shot 6" in text
    assert colour(0) in text
    assert colour(1) in text
    assert colour(2) not in text
    assert INK not in text
    assert "http" not in text
    assert text == distance_histogram(panels())


def test_values_that_are_not_finite_are_left_out_and_nothing_gives_none() -> None:
    (title, runs), *_ = panels()
    dirty = [(i, label, np.append(values, [np.nan, np.inf])) for i, label, values in runs]
    assert distance_histogram([(title, dirty)]) == distance_histogram([(title, runs)])
    assert distance_histogram([]) is None
    assert distance_histogram([("1-shot", [(0, "a", np.array([np.nan]))])]) is None


def test_distances_that_are_all_the_same_are_drawn() -> None:
    assert distance_histogram([("1-shot", [(0, "a", np.zeros(9))])]) is not None

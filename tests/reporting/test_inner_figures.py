"""Figures of inner loops: what is drawn where, and what is left out."""

from __future__ import annotations

import numpy as np

from modicum.reporting.figures import INK, colour
from modicum.reporting.inner_figures import kept_shares, layer_boxes, quantiles, support_losses

VALUES = np.linspace(0, 1, 101)[:, None, None] + np.arange(6.0).reshape(1, 3, 2)  # (T, S, N)


def test_quantiles_are_of_the_finite_values_of_each_column() -> None:
    column = np.append(np.arange(101.0), [np.nan, np.inf])
    found = quantiles(np.stack([column, np.full(103, np.nan)], 1))
    assert found[:, 0].tolist() == [5, 25, 50, 75, 95]
    assert np.isnan(found[:, 1]).all()


def test_every_layer_has_a_panel_and_every_step_a_box_of_each_data_set() -> None:
    text = layer_boxes("α", ["conv", "linear"], [(0, "digits", VALUES), (1, "omniglot", VALUES[:, :2])])
    assert text is not None
    assert 'aria-label="Box plots of α over tasks, by layer (conv, linear) and inner step: digits, omniglot"' in text
    boxes = [text.count(f"fill: {colour(index)}; fill-opacity") for index in (0, 1, 2)]
    assert boxes == [2 * 3, 2 * 2, 0]
    assert INK not in text
    assert text == layer_boxes("α", ["conv", "linear"], [(0, "digits", VALUES), (1, "omniglot", VALUES[:, :2])])


def test_steps_are_numbered_from_the_first_shown_and_columns_of_nothing_finite_are_empty() -> None:
    text = layer_boxes("α", ["conv"], [(0, "digits", VALUES[:, :, :1])], first=7) or ""
    assert [label in text for label in (">6<", ">7<", ">9<", ">10<")] == [False, True, True, False]
    assert layer_boxes("α", ["conv"], [(0, "digits", np.full((4, 3, 1), np.nan))]) is not None


def test_layer_names_are_text() -> None:
    text = layer_boxes("α", ["<i>$x_1$", "b"], [(0, "<b>digits", VALUES)])
    assert text is not None
    assert "<i>" not in text
    assert "<b>" not in text
    assert "&lt;i&gt;$x_1$" in text


def test_nothing_gives_none() -> None:
    assert layer_boxes("α", [], [(0, "digits", VALUES)]) is None
    assert layer_boxes("α", ["conv"], []) is None
    assert kept_shares(["conv"], []) is None
    assert support_losses([]) is None


def test_kept_shares_have_one_box_for_each_layer() -> None:
    text = kept_shares(["conv", "linear", "bias"], [(0, "digits", VALUES[:, :, 0])])
    assert text is not None
    assert text.count(f"fill: {colour(0)}; fill-opacity") == 3
    assert "linear" in text


def test_medians_of_the_loss_stand_in_the_description_also_of_a_single_step() -> None:
    losses = np.array([[2.0, 1.0], [3.0, 1.5], [4.0, 9.0]])
    assert "medians of the tasks: digits 3 to 1.5" in (support_losses([(0, "digits", losses)]) or "")
    assert "digits 3 to 3" in (support_losses([(0, "digits", losses[:, :1])]) or "")

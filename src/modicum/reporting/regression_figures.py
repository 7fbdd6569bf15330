"""Figures of runs on regression tasks, as SVG text; see `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from modicum.reporting.figures import INK, LINES, MARKERS, Log, _averaged, _figure, _series, _svg, colour
from modicum.reporting.records import Array

Steps = Sequence[Mapping[str, Any]]


def task_curves(arrays: Mapping[str, Array], index: int) -> str | None:
    """Some tasks: true values (dots), support points (squares), predictions before the first inner step (dashed) and after
    each (pale to full).

    arrays: as `training.regression_results.curves` gives them; None where they are not there.
    """
    names = ("curve_x", "curve_y", "curve_predictions", "curve_support_x", "curve_support_y")
    if any(name not in arrays for name in names):
        return None
    x, y, predictions, support_x, support_y = (np.asarray(arrays[name], float) for name in names)
    columns = min(2, len(x))
    rows = -(-len(x) // columns)
    figure = _figure(9, 0.5 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    last = predictions.shape[1] - 1
    for task, axes in enumerate(grid[: len(x)]):
        axes.plot(x[task], y[task], ".", color=INK, alpha=0.55, markersize=3.5)
        for step, line in enumerate(predictions[task]):
            style: Any = {"linestyle": "--", "alpha": 0.8, "linewidth": 1.2, "color": INK} if step == 0 else {
                "alpha": 0.25 + 0.75 * step / max(last, 1), "linewidth": 1.0 + 1.2 * (step == last), "color": colour(index)
            }  # fmt: skip
            axes.plot(x[task], line, **style)
        axes.plot(support_x[task], support_y[task], "s", color=colour(index), markeredgecolor="white", markersize=7)
        error = np.square(predictions[task, [0, last]] - y[task]).mean(-1)
        axes.set(title=f"task {task}: error {error[0]:.2f} before, {error[1]:.2f} after", xlabel="x")
    for axes in grid[len(x) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], linestyle="none", marker=".", color=INK, alpha=0.55),
        Line2D([], [], linestyle="none", marker="s", color=colour(index)),
        Line2D([], [], linestyle="--", color=INK),
        Line2D([], [], color=colour(index), linewidth=2.2),
    ]
    told = ["true values", "support points", "before", f"after {last} steps" if last > 1 else "after the step"]
    legend = figure.legend(handles, told, loc="outside upper center", ncols=4, frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)
    return _svg(figure, f"Predictions on {len(x)} tasks before the first inner step and after each")


def step_errors(rows: Sequence[tuple[int, str, Steps]]) -> str | None:
    """Mean squared error before the first inner step and after each, with 95 % intervals; (colour index, label, steps)."""
    if not rows:
        return None
    figure = _figure(9, 3.4)
    axes = figure.subplots()
    handles = []
    for place, (index, label, steps) in enumerate(rows):
        x, mse, radius = (np.array([float(step[key]) for step in steps]) for key in ("step", "mse", "ci95"))
        style: Any = {
            "color": colour(index),
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": LINES[place % len(LINES)],
        }
        axes.errorbar(x, mse, radius, capsize=3, linewidth=1.4, markersize=5, label=label, **style)
        handles.append(label)
    axes.set(xlabel="inner steps done", ylabel="mean squared error")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend = axes.legend(frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_parse_math(False)
    return _svg(figure, "Mean squared error after each inner step: " + "; ".join(handles))


def training_errors(log: Log, index: int) -> str | None:
    """Squared error over the outer steps: line training, dots validation with its 95 % interval."""
    x, y = _series(log, "train", "mse")
    steps, errors = _series(log, "validation", "mse")
    if not len(x) and not len(steps):
        return None
    figure = _figure(9, 3.0)
    axes = figure.subplots()
    if len(x):
        axes.plot(*_averaged(x, y), color=colour(index), linewidth=1.1, alpha=0.55)
    if len(steps):
        _, radius = _series(log, "validation", "ci95")
        spread = radius if len(radius) == len(errors) else None
        axes.errorbar(steps, errors, spread, color=colour(index), marker="o", markersize=4, capsize=3, linewidth=1.4)
    axes.set(xlabel="step", ylabel="mean squared error")
    axes.set_ylim(bottom=0)
    return _svg(figure, "Training: squared error over steps")

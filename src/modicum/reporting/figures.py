"""Figures as SVG text to be set into a page: vector, no request to anywhere, ink in the page's own text colour.

Every function returns a complete `<svg>` element, or None where there is nothing to draw. Labels are short texts of ours
and of result files; matplotlib escapes them. Class names are never drawn: legends are part of the page, where any script
and any length can be set.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from modicum.reporting.records import Accuracy, Array

INK = "#0a0b0c"  # replaced by currentColor, so that figures follow light and dark pages
COLOURS = ("#2f7fd1", "#d9772b", "#2a9d77", "#b5539c", "#8c8f1f", "#d1495b", "#5a6fb8", "#7a6652")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
POINTS = 300  # a curve is averaged down to at most this many points
FEW = 8

Log = Sequence[Mapping[str, Any]]


def colour(index: int) -> str:
    """The colour of the index-th thing compared."""
    return COLOURS[index % len(COLOURS)]


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(axes: Axes) -> None:
    """Thin frame, quiet grid, ink that the page recolours."""
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_alpha(0.5)
    axes.tick_params(colors=INK, length=3)
    axes.grid(color=INK, alpha=0.13, linewidth=0.7)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_parse_math(False)


def _svg(figure: Figure, description: str) -> str:
    """The figure as an `<svg>` element with an accessible description; the same figure gives the same text."""
    for axes in figure.axes:
        _finish(axes)
    figure.patch.set_alpha(0)
    out = io.StringIO()
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": description, "font.family": "DejaVu Sans", "font.size": 11.0}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that matplotlib's font lacks are set by the browser's
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]*)"', text)
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(description)}">'
    text = re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)
    text = text.replace(INK, "currentColor").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    return re.sub(r"\n\s*\n", "\n", text)


def _averaged(x: Array, y: Array) -> tuple[Array, Array]:
    """Means of consecutive runs of points, at most POINTS of them."""
    size = max(1, -(-len(x) // POINTS))
    starts = np.arange(0, len(x), size)
    count = np.diff([*starts, len(x)])
    return np.add.reduceat(x, starts) / count, np.add.reduceat(y, starts) / count


def _series(log: Log, kind: str, name: str) -> tuple[Array, Array]:
    """(steps, values) of the entries that have both as finite numbers."""
    pairs = [(entry.get("step"), entry.get(name)) for entry in log if entry.get("kind") == kind]
    kept = [(x, y) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float) and np.isfinite(y)]
    array = np.asarray(kept, dtype=float).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def curves(logs: Sequence[Log]) -> str | None:
    """Loss and accuracy over the steps of training, one colour per run; validation with its 95 % interval."""
    if not any(len(_series(log, kind, name)[0]) for log in logs for kind, name in _CURVES):
        return None
    figure = _figure(9, 3.3)
    left, right = figure.subplots(1, 2)
    for index, log in enumerate(logs):
        line = LINES[index % len(LINES)] if len(logs) > 1 else "-"
        for axes, name in ((left, "loss"), (right, "accuracy")):
            x, y = _series(log, "train", name)
            if len(x):
                marker = "." if len(x) < FEW else None  # a line of one point would not be seen
                axes.plot(*_averaged(x, y), color=colour(index), linewidth=1.1, linestyle=line, alpha=0.55, marker=marker)
        _validation(right, log, index)
    left.set(xlabel="step", title="loss on training tasks")
    right.set(xlabel="step", title="accuracy: line training, dots validation")
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return _svg(figure, "Training curves: loss and accuracy over steps")


_CURVES = (("train", "loss"), ("train", "accuracy"), ("validation", "accuracy"))


def _validation(axes: Axes, log: Log, index: int) -> None:
    x, y = _series(log, "validation", "accuracy")
    if not len(x):
        return
    axes.plot(x, y, color=colour(index), linewidth=1.4, marker=MARKERS[index % len(MARKERS)], markersize=4)
    _, radius = _series(log, "validation", "ci95")
    if len(radius) == len(y):
        axes.fill_between(x, y - radius, y + radius, color=colour(index), alpha=0.2, linewidth=0)


def accuracy_bars(rows: Sequence[tuple[int, str, Accuracy]]) -> str | None:
    """Mean and 95 % interval of each row (colour index, label, accuracy); thin lines hold 9 of 10 single tasks."""
    if not rows:
        return None
    figure = _figure(9, 0.9 + 0.42 * len(rows))
    axes = figure.subplots()
    for place, (index, _, row) in enumerate(rows):
        style: Any = {"color": colour(index), "solid_capstyle": "butt"}
        if row.per_task is not None and len(row.per_task) > 1:
            axes.plot(np.quantile(row.per_task, [0.05, 0.95]), [place, place], alpha=0.45, linewidth=1.6, **style)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], linewidth=7, **style)
        axes.plot([row.value], [place], marker="o", markersize=6, color=colour(index), markeredgecolor="white")
    labels = [label if len(label) <= 44 else label[:43] + "…" for _, label, _ in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    low, high = axes.get_xlim()
    axes.set_xlim(low, min(high, 1.005) if low < 1 else high)
    axes.set_xlabel("right answers")
    return _svg(figure, "Accuracy with 95 % intervals: " + "; ".join(f"{label} {row.value:.1%}" for _, label, row in rows))


def scatter(points: Array, labels: Array, names: Sequence[str]) -> str | None:
    """Points (m, 2) of a few classes, one colour and one marker each; names only enter the description."""
    if len(points) == 0 or points.ndim != 2 or points.shape[1] < 2:
        return None
    figure = _figure(6, 4.6)
    axes = figure.subplots()
    for index in range(len(names)):
        chosen = points[labels == index]
        marker = MARKERS[index % len(MARKERS)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=26, color=colour(index), marker=marker, alpha=0.75, linewidths=0)
    axes.set(xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    return _svg(figure, f"Map of the classes {', '.join(names)}: each point is a picture")


def reliability(bins: Sequence[tuple[float, float, float | None, float | None, int]]) -> str | None:
    """Calibration: (confidence, share right, low, high, n) per bin against the diagonal; area of a dot grows with n."""
    if not bins:
        return None
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, alpha=0.5, linewidth=1, linestyle=":")
    most = max(n for *_, n in bins) or 1
    for confidence, right, low, high, n in bins:
        if low is not None and high is not None:
            axes.plot([confidence, confidence], [low, high], color=colour(0), linewidth=1.4, alpha=0.6)
        axes.scatter([confidence], [right], s=20 + 130 * n / most, color=colour(0), alpha=0.85, linewidths=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability it states", ylabel="share that is right")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    return _svg(figure, "Calibration curve: how often it is right against the probability it states")


def difference_dots(rows: Sequence[tuple[int, str, float, float]]) -> str | None:
    """Differences of accuracy (colour index, label, value, radius of the 95 % interval), fractions, against a line at 0."""
    if not rows:
        return None
    figure = _figure(9, 0.9 + 0.42 * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    for place, (index, _, value, radius) in enumerate(rows):
        axes.plot([100 * (value - radius), 100 * (value + radius)], [place, place], linewidth=3, color=colour(index))
        axes.plot([100 * value], [place], marker="o", markersize=8, color=colour(index), markeredgecolor="white")
    axes.set_yticks(range(len(rows)), [label for _, label, _, _ in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("difference in right answers, percentage points")
    told = "; ".join(f"{label} {100 * value:+.1f} points" for _, label, value, _ in rows)
    return _svg(figure, "Differences on the same tasks with 95 % intervals: " + told)


def scatter_panels(panels: Sequence[tuple[str, Array]], labels: Array, names: Sequence[str]) -> str | None:
    """Points (m, 2) of the same pictures in one panel for each model (title, points), all with the same axes."""
    if not panels or not len(labels):
        return None
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = _figure(9, 9 / columns * 0.85 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (title, points) in zip(grid, panels, strict=False):
        for index in range(len(names)):
            chosen = points[labels == index]
            marker = MARKERS[index % len(MARKERS)]
            axes.scatter(chosen[:, 0], chosen[:, 1], s=16, color=colour(index), marker=marker, alpha=0.7, linewidths=0)
        axes.set(title=title, xticks=[], yticks=[])
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    told = ", ".join(title for title, _ in panels)
    return _svg(figure, f"Maps of the classes {', '.join(names)} under the models {told}: each point is a picture")

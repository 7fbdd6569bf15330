"""Figures of classifiers under a long tail, as SVG text; see `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from modicum.reporting.figures import FEW, INK, LINES, MARKERS, Log, _averaged, _figure, _series, _svg, colour
from modicum.reporting.records import Array

BINS = 16
Dots = Sequence[tuple[float | None, float | None, float | None]]


def _told(axes: Axes, columns: int) -> None:
    legend = axes.legend(frameon=False, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for text in legend.get_texts():
        text.set_color(INK)
        text.set_parse_math(False)


def class_curves(
    counts: Array, branches: Sequence[tuple[int, str, Array, Array]], borders: Sequence[int], window: int
) -> str | None:
    """Figure 2 of Long et al.: accuracy of classes from the most to the least frequent, by branch.

    counts (C,): training pictures, falling. branches: (colour index, name, accuracy (C,), its moving average over whole
    windows (C - window + 1,)), NaN for a class without test pictures. borders: places where another bucket begins.
    """
    if not branches or not len(counts):
        return None
    figure = _figure(9, 5.0)
    top, strip = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.1))
    x = np.arange(1, len(counts) + 1)
    small = 14 if len(counts) > 60 else 26
    for place, (index, name, accuracy, smooth) in enumerate(branches):
        style: Any = {"color": colour(index)}
        top.scatter(x, accuracy, s=small, alpha=0.4, linewidths=0, marker=MARKERS[place % len(MARKERS)], **style)
        middle = 1 + np.arange(len(smooth)) + (len(x) - len(smooth)) / 2
        top.plot(middle, smooth, linewidth=2.2, linestyle=LINES[place % len(LINES)], label=name, **style)
    top.set(ylim=(-0.03, 1.03), ylabel="accuracy of the class")
    top.yaxis.set_major_formatter(PercentFormatter(1.0))
    _told(top, len(branches))
    strip.fill_between(x, counts, 0.7, step="mid", color=INK, alpha=0.22, linewidth=0)
    strip.set_yscale("log")
    strip.yaxis.set_major_formatter(ScalarFormatter())
    strip.set(ylim=(0.7, counts.max() * 1.4), xlim=(0.3, len(counts) + 0.7), ylabel="training\npictures")
    strip.set_xlabel("classes, from the most to the least frequent in training")
    strip.xaxis.set_major_locator(MaxNLocator(integer=True))
    for border in borders:
        for axes in (top, strip):
            axes.axvline(border + 0.5, color=INK, alpha=0.45, linewidth=1, linestyle=":")
    named = "; ".join(f"{name} {np.nanmean(accuracy):.1%}" for _, name, accuracy, _ in branches)
    return _svg(figure, f"Accuracy of {len(counts)} classes by branch, averages over {window} classes; means: {named}")


def bucket_dots(buckets: Sequence[str], rows: Sequence[tuple[int, str, Dots]]) -> str | None:
    """Accuracy with 95 % interval in each bucket of classes; rows: (colour index, name, (value, low, high) by bucket)."""
    if not rows:
        return None
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    step = 0.7 / max(len(rows), 2)
    for place, (index, name, dots) in enumerate(rows):
        style: Any = {"color": colour(index)}
        at = np.arange(len(buckets)) + (place - (len(rows) - 1) / 2) * step
        for x, (_, low, high) in zip(at, dots, strict=True):
            if low is not None and high is not None:
                axes.plot([x, x], [low, high], linewidth=2.4, alpha=0.55, solid_capstyle="butt", **style)
        there = [(x, value) for x, (value, _, _) in zip(at, dots, strict=True) if value is not None]
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(*np.array(there).reshape(-1, 2).T, marker, markersize=7, markeredgecolor="white", label=name, **style)
    axes.set_xticks(range(len(buckets)), list(buckets), parse_math=False)
    axes.set_xlim(-0.5, len(buckets) - 0.5)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _told(axes, min(len(rows), 3))
    return _svg(figure, "Accuracy by bucket of classes with 95 % intervals: " + "; ".join(name for _, name, _ in rows))


def similarities(values: Array, matching: Array, edges: Array, text: str) -> str | None:
    """Histogram of similarities (k,) of what one picture retrieved; in colour: items of its own class, matching (k,)."""
    if not len(values):
        return None
    figure = _figure(3.0, 2.0)
    axes = figure.subplots()
    stacked = [values[matching], values[~matching]]
    axes.hist(stacked, edges.tolist(), stacked=True, color=[colour(2), INK], alpha=0.75)
    for patch in axes.patches[len(edges) - 1 :]:
        patch.set_alpha(0.3)
    axes.set(xlim=(edges[0], edges[-1]), xlabel="similarity")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    return _svg(figure, f"Similarities of what {text} retrieved: {values.min():.2f} to {values.max():.2f}")


def class_changes(counts: Array, before: Array, after: Array, index: int, text: str) -> str | None:
    """Change of accuracy of every class (C,), in percentage points, classes from the most to the least frequent."""
    difference = 100 * (after - before)
    if not len(difference) or not np.isfinite(difference).any():
        return None
    figure = _figure(9, 2.8)
    axes = figure.subplots()
    x = np.arange(1, len(counts) + 1)
    axes.axhline(0, color=INK, alpha=0.5, linewidth=1)
    axes.vlines(x, 0, difference, color=colour(index), linewidth=2.0, alpha=0.8)
    axes.plot(x, difference, "o", color=colour(index), markersize=3.5)
    axes.set(xlabel="classes, from the most to the least frequent in training", ylabel="change, points")
    axes.set_xlim(0.3, len(counts) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, f"Change of accuracy by class: {text}")


def training_curves(logs: Sequence[tuple[int, Log]]) -> str | None:
    """Loss and accuracy over the steps of training, (colour index, log) of each run; dots: held-out pictures."""
    names = (("train", "loss"), ("train", "accuracy"), ("validation", "accuracy"))
    if not any(len(_series(log, kind, name)[0]) for _, log in logs for kind, name in names):
        return None
    figure = _figure(9, 3.3)
    left, right = figure.subplots(1, 2)
    for index, log in logs:
        for axes, name in ((left, "loss"), (right, "accuracy")):
            x, y = _series(log, "train", name)
            if len(x):
                marker = "." if len(x) < FEW else None
                axes.plot(*_averaged(x, y), color=colour(index), linewidth=1.1, alpha=0.55, marker=marker)
        x, y = _series(log, "validation", "accuracy")
        _, radius = _series(log, "validation", "ci95")
        if len(x):
            spread = radius if len(radius) == len(y) else None
            axes_style: Any = {"color": colour(index), "marker": MARKERS[index % len(MARKERS)], "markersize": 4}
            right.errorbar(x, y, spread, capsize=2, linewidth=1.3, **axes_style)
    left.set(xlabel="step", title="loss on training pictures")
    right.set(xlabel="step", title="accuracy: line training, dots held out (balanced)")
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return _svg(figure, "Training curves: loss and accuracy over steps")

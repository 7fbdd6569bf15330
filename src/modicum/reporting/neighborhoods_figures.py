"""Figures of Meta-Neighborhoods, as SVG text; see `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter

from modicum.reporting.figures import INK, LINES, MARKERS, _figure, _svg, colour
from modicum.reporting.long_tail_figures import _told
from modicum.reporting.records import Array

BINS = 25


def usage_curves(rows: Sequence[tuple[int, str, Array]]) -> str | None:
    """How evenly entries are used: rows (colour index, name, usage (S,)), each as a curve that falls and one that adds up.

    Usage is shown in multiples of the even share 1 / S, both axes logarithmic.
    """
    rows = [row for row in rows if len(row[2]) and (row[2] > 0).any()]
    if not rows:
        return None
    figure = _figure(9, 3.4)
    left, right = figure.subplots(1, 2)
    left.axhline(1, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    right.axhline(0.9, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    told = []
    for place, (index, name, usage) in enumerate(rows):
        falling = np.sort(usage.astype(np.float64))[::-1] / usage.sum(dtype=np.float64)
        rank, used = np.arange(1, len(falling) + 1), falling > 0
        style: Any = {"color": colour(index), "linewidth": 1.8, "linestyle": LINES[place % len(LINES)]}
        left.plot(rank[used], falling[used] * len(falling), **style)
        right.plot(rank / len(falling), np.cumsum(falling), label=name, **style)
        told.append(f"{name} from {falling[0] * len(falling):.3g} to {falling[-1] * len(falling):.2g} times the even share")
    left.set(xscale="log", yscale="log", xlabel="entries, most used first", ylabel="attention / even share")
    right.set(xlabel="share of the entries, most used first", ylabel="share of the attention", xlim=(0, 1), ylim=(0, 1.02))
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    if len(rows) > 1:
        _told(right, min(len(rows), 3))
    return _svg(figure, "Usage of the entries: " + "; ".join(told))


def shares(values: Array, agreement: Array, near: int, index: int) -> str | None:
    """Histograms over entries: probability of their class (S,), and share of nearest pictures of their class (S,)."""
    if not len(values):
        return None
    figure = _figure(9, 2.8)
    left, right = figure.subplots(1, 2)
    left.hist(values, np.linspace(0, 1, BINS + 1).tolist(), color=colour(index), alpha=0.85)
    counts = np.bincount(np.rint(agreement * near).astype(np.int64), minlength=near + 1)[: near + 1]
    right.bar(range(near + 1), counts, color=colour(index), alpha=0.85, width=0.8)
    left.set(xlim=(0, 1), xlabel="probability of the entry's class", ylabel="entries")
    left.xaxis.set_major_formatter(PercentFormatter(1.0))
    right.set(xlabel=f"of its {near} nearest test pictures, of its class", ylabel="entries")
    for axes in (left, right):
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return _svg(figure, f"What entries stand for: probability of their class, {values.min():.2f} to {values.max():.2f}")


def accuracy_dots(
    columns: Sequence[str], rows: Sequence[tuple[int, str, Sequence[tuple[float, float, float]]]]
) -> str | None:
    """Accuracies with 95 % intervals: rows (colour index, name, (value, low, high) of each column), a line of dots each."""
    if not rows:
        return None
    figure = _figure(9, 1.0 + 0.44 * len(rows))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False).ravel()
    for panel, axes in enumerate(panels):
        for place, (index, _, cells) in enumerate(rows):
            value, low, high = cells[panel]
            axes.plot([low, high], [place, place], linewidth=6, alpha=0.45, solid_capstyle="butt", color=colour(index))
            marker = MARKERS[index % len(MARKERS)]
            axes.plot([value], [place], marker=marker, markersize=7, color=colour(index), markeredgecolor="white")
        axes.set(title=columns[panel], ylim=(len(rows) - 0.4, -0.6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    names = [name if len(name) <= 44 else name[:43] + "…" for _, name, _ in rows]
    panels[0].set_yticks(range(len(rows)), names, parse_math=False)
    return _svg(figure, "Accuracy: " + "; ".join(f"{name} {cells[0][0]:.1%}" for _, name, cells in rows))


def vote_curves(rows: Sequence[tuple[int, str, Sequence[tuple[int, float, float, float]]]]) -> str | None:
    """Accuracy on finer labels by number of votes: rows (colour index, name, (k, value, low, high) by k), k logarithmic."""
    if not any(len(points) > 1 for _, _, points in rows):
        return None
    figure = _figure(9, 3.2)
    axes = figure.subplots()
    for place, (index, name, points) in enumerate(rows):
        k, value, low, high = np.array(points).T
        style: Any = {"color": colour(index)}
        axes.fill_between(k, low, high, alpha=0.12, linewidth=0, **style)
        marker = MARKERS[place % len(MARKERS)]
        axes.plot(k, value, linewidth=1.8, marker=marker, linestyle=LINES[place % len(LINES)], label=name, **style)
    axes.set_xscale("log")
    axes.set_xticks([int(point[0]) for point in max((points for _, _, points in rows), key=len)])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set(xlabel="training pictures that vote", ylabel="right, finer labels")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _told(axes, min(len(rows), 3))
    return _svg(figure, "Accuracy on finer labels by number of votes: " + "; ".join(name for _, name, _ in rows))

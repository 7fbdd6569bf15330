"""Figures of what inner loops did, as SVG text; see `figures`. Figure 3 and figures A to C of ALFA (arXiv 2011.00209)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.ticker import MaxNLocator

from modicum.reporting.figures import INK, MARKERS, _figure, _svg, colour
from modicum.reporting.records import Array

COLUMNS = 3
SMALL = 9.0
WIDTH = 0.72  # of the room between two places, shared by the boxes that stand side by side
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Series = Sequence[tuple[int, str, Array]]


def quantiles(values: Array) -> Array:
    """QUANTILES (5, K) of the finite values of every column of (T, K); nan where a column has none."""
    columns = [column[np.isfinite(column)] for column in np.asarray(values, float).T]
    return np.stack([np.quantile(column, QUANTILES) if len(column) else np.full(5, np.nan) for column in columns], axis=1)


def layer_boxes(symbol: str, layers: Sequence[str], domains: Series, *, first: int = 1) -> str | None:
    """One panel for each layer: box plots over tasks at each inner step, data sets side by side.

    domains: (colour index, label, values (T, S, N)) with the N layers. Box: middle half of the tasks; stroke: median;
    whiskers: 9 of 10. first: number of the first step. None without layers or data sets.
    """
    if not layers or not domains:
        return None
    columns = min(COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    figure = _figure(9, 0.5 + 2.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, axes in enumerate(grid[: len(layers)]):
        for order, (index, _, values) in enumerate(domains):
            _boxes(axes, index, values[:, :, place], (order + 0.5) / len(domains) - 0.5, WIDTH / len(domains))
        axes.set_title(layers[place], fontsize=SMALL, pad=12)  # room for the axis' offset
        most = max(values.shape[1] for _, _, values in domains)
        axes.set_xlim(0.4, most + 0.6)
        places = range(1, most + 1, -(-most // 10))
        axes.set_xticks(places, [str(place + first - 1) for place in places])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.tick_params(labelsize=SMALL)
        axes.yaxis.get_offset_text().set(fontsize=SMALL - 1, color=INK, parse_math=False)
    for axes in grid[len(layers) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(layers) - columns) : len(layers)]:
        axes.set_xlabel("inner step", fontsize=SMALL)
    told = ", ".join(label for _, label, _ in domains)
    return _svg(figure, f"Box plots of {symbol} over tasks, by layer ({', '.join(layers)}) and inner step: {told}")


def _boxes(axes: Axes, index: int, values: Array, shift: float, width: float, line: bool = True) -> None:
    """Boxes of the columns of values (T, K) at 1 .. K, moved by `shift` of WIDTH."""
    low, first, middle, third, high = quantiles(values)
    x = np.arange(1, values.shape[1] + 1) + shift * WIDTH
    half = 0.42 * width
    boxes = [[(a - half, b), (a + half, b), (a + half, t), (a - half, t)] for a, b, t in zip(x, first, third, strict=True)]
    strokes: Any = [[(a, b), (a, t)] for a, b, t in zip(x, low, first, strict=True)]
    strokes += [[(a, b), (a, t)] for a, b, t in zip(x, third, high, strict=True)]
    medians: Any = [[(a - half, m), (a + half, m)] for a, m in zip(x, middle, strict=True)]
    axes.add_collection(
        PolyCollection(boxes, facecolors=colour(index), edgecolors=colour(index), alpha=0.45, linewidths=0.8)
    )
    axes.add_collection(LineCollection(strokes, colors=colour(index), linewidths=1.1))
    axes.add_collection(LineCollection(medians, colors=colour(index), linewidths=2.0))
    if line and len(x) > 1:
        axes.plot(x, middle, color=colour(index), linewidth=0.8, alpha=0.55)
    axes.autoscale_view()


def kept_shares(layers: Sequence[str], domains: Series) -> str | None:
    """What L2F keeps of every layer, gamma: box plots over tasks, layers along the axis. domains: values (T, N)."""
    if not layers or not domains:
        return None
    figure = _figure(9, 3.4)
    axes = figure.subplots()
    for order, (index, _, values) in enumerate(domains):
        shift = (order + 0.5) / len(domains) - 0.5
        _boxes(axes, index, values, shift, WIDTH / len(domains), line=False)
    axes.set_xticks(range(1, len(layers) + 1), layers, rotation=30, ha="right", fontsize=SMALL, parse_math=False)
    axes.set_ylabel("share kept")
    told = ", ".join(label for _, label, _ in domains)
    return _svg(figure, f"Box plots of gamma over tasks, by layer ({', '.join(layers)}): {told}")


def support_losses(series: Series) -> str | None:
    """Support loss (T, S) before each inner step: median and middle half of tasks, (colour index, label, losses)."""
    if not series:
        return None
    figure = _figure(9, 3.0)
    axes = figure.subplots()
    told, room = [], 0.3 / len(series)
    for order, (index, label, losses) in enumerate(series):
        _, first, middle, third, _ = quantiles(losses)
        x = np.arange(losses.shape[1]) + room * (order - (len(series) - 1) / 2)
        axes.vlines(x, first, third, color=colour(index), linewidth=5, alpha=0.35)
        axes.plot(x, middle, color=colour(index), linewidth=1.4, marker=MARKERS[order % len(MARKERS)], markersize=5)
        told.append(f"{label} {middle[0]:.3g} to {middle[-1]:.3g}")
    axes.set(xlabel="inner steps done", ylabel="support loss")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    return _svg(figure, "Loss on the support set before each inner step, medians of the tasks: " + "; ".join(told))

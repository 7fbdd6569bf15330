"""Figures of low-bit networks, as SVG text; see `figures`. Layers are numbered in order of execution; a table names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from modicum.configs.low_bit import Cyclic
from modicum.quantization.cyclic import cyclic, wrap
from modicum.reporting.figures import INK, MARKERS, _figure, _svg, colour
from modicum.reporting.long_tail_figures import _told

Layer = Mapping[str, Any]
"""A row of low_bit.json."""
Design = tuple[str, Mapping[str, float]]
"""Its name, and costs by part."""
PANELS = 6
"""Histograms of at most so many layers are drawn, evenly chosen."""
PARTS = (("multiplier", "multiplier"), ("accumulator", "accumulator"), ("cyclic", "cyclic function"), ("auxiliary", "rest"))
SMALL = 9.0


def layer_panels(layers: Sequence[tuple[int, Layer]]) -> str | None:
    """Overflow, bits of activations, step sizes and carries of low-bit layers (number, row), one above the other."""
    if not layers:
        return None
    carries = any(row["carry_mean"] is not None for _, row in layers)
    figure = _figure(9, 7.0 if carries else 5.4)
    panels = figure.subplots(4 if carries else 3, 1, sharex=True)
    places = [number for number, _ in layers]
    first, bits, steps = panels[0], panels[1], panels[2]
    first.bar(places, [row["overflow"] for _, row in layers], color=colour(0), width=0.6, label="now")
    begun = [(number, row["overflow_at_first"]) for number, row in layers if row["overflow_at_first"] is not None]
    if begun:
        first.plot(*zip(*begun, strict=True), linestyle="", marker="D", markersize=6, color=colour(1), label="at first")
        _told(first, 2)
    first.yaxis.set_major_formatter(PercentFormatter(1.0))
    first.set(ylabel="overflow", ylim=(0, None))
    bits.bar(places, [row["activation_bits"] for _, row in layers], color=colour(2), width=0.6)
    bits.set(ylabel="activation bits", ylim=(0, 8.4), yticks=[0, 2, 4, 6, 8])
    steps.plot(places, [row["step"] for _, row in layers], linestyle="", marker="o", color=colour(3))
    steps.set(ylabel="step size", yscale="log")
    steps.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    steps.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    steps.tick_params(which="minor", labelsize=SMALL)
    if carries:
        counted = [(n, row["carry_mean"], row["carry_deviation"]) for n, row in layers if row["carry_mean"] is not None]
        numbers, mean, deviation = zip(*counted, strict=True)
        panels[3].errorbar(numbers, mean, deviation, linestyle="", marker="s", color=colour(4), capsize=3)
        panels[3].set(ylabel="carries", ylim=(0, None))
    panels[-1].set(xlabel="layer", xlim=(min(places) - 0.6, max(places) + 0.6))
    panels[-1].xaxis.set_major_locator(MaxNLocator(12, integer=True))
    told = "; ".join(f"{number}: {100 * row['overflow']:.2g} %" for number, row in layers)
    return _svg(figure, f"Overflow by layer: {told}")


def sum_histograms(layers: Sequence[tuple[int, Layer]], kind: Cyclic, slope: float) -> str | None:
    """Histograms of sums over twice the accumulator's range (shaded), with what becomes of a sum as a line."""
    shown = [(number, row) for number, row in layers if row["histogram"]]
    if not shown:
        return None
    chosen = [shown[i] for i in sorted({round(i) for i in np.linspace(0, len(shown) - 1, min(PANELS, len(shown)))})]
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = _figure(9, 0.6 + 2.5 * lines)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for place, (axes, (number, row)) in enumerate(zip(grid, chosen, strict=False)):
        _histogram(axes, number, row, kind, slope, last=place % columns == columns - 1)
    for axes in grid[len(chosen) :]:
        axes.set_visible(False)
    told = ", ".join(str(number) for number, _ in chosen)
    return _svg(figure, f"Histograms of the sums of layers {told}, and the cyclic function over them")


def _histogram(axes: Axes, number: int, row: Layer, kind: Cyclic, slope: float, *, last: bool) -> None:
    bits, counts = row["overflow_of_bits"], np.array(row["histogram"], float)
    edges = np.linspace(-(2**bits), 2**bits, len(counts) + 1)
    half = 2 ** (bits - 1)
    axes.axvspan(-half, half, color=INK, alpha=0.07, linewidth=0)
    axes.stairs(counts / counts.sum(), edges, fill=True, color=colour(0), alpha=0.75)
    axes.set_title(f"layer {number}", fontsize=SMALL + 1)
    axes.set(xlim=(edges[0], edges[-1]))
    axes.set_xticks([-(2**bits), -half, 0, half, 2**bits])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))  # as many decimals as the ticks have
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=SMALL)
    if row["accumulator"] is None:
        return
    over = axes.twinx()
    sums = torch.arange(-(2**bits), 2**bits, dtype=torch.int64)
    over.plot(sums.numpy(), cyclic(wrap(sums, bits), bits, kind, slope).numpy(), color=colour(1), linewidth=1.4)
    over.set(ylim=(-half * 1.05, half * 1.05), yticks=[-half, 0, half] if last else [])
    over.tick_params(labelsize=SMALL)


def cost_bars(energy: Sequence[Design], area: Sequence[Design]) -> str | None:
    """Energy of a picture (nJ) and area (um2/Gops) of designs (name, parts), stacked by part."""
    if not energy:
        return None
    figure = _figure(9, 1.3 + 0.5 * len(energy))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, rows in ((left, energy), (right, area)):
        for place, (_, parts) in enumerate(rows):
            begin = 0.0
            for index, (key, label) in enumerate(PARTS):
                axes.barh(place, parts[key], left=begin, height=0.62, color=colour(index), label=None if place else label)
                begin += parts[key]
            axes.text(begin, place, f" {begin:.3g}", va="center", fontsize=SMALL, color=INK)
        axes.set_xlim(0, 1.14 * max(sum(parts[key] for key, _ in PARTS) for _, parts in rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
    left.set_yticks(range(len(energy)), [name for name, _ in energy], parse_math=False)
    left.set_xlabel("nJ a picture")
    right.set_xlabel("um2/Gops")
    handles, labels = left.get_legend_handles_labels()
    legend = figure.legend(handles, labels, frameon=False, ncols=4, loc="outside upper center")
    for text in legend.get_texts():
        text.set_color(INK)
    told = "; ".join(f"{name} {sum(parts[key] for key, _ in PARTS):.3g} nJ" for name, parts in energy)
    return _svg(figure, f"Energy of a picture's arithmetic: {told}")


def accuracy_bars(rows: Sequence[tuple[str, float, float | None]]) -> str | None:
    """Accuracies with 95 % intervals: rows (name, value, radius), a line each."""
    if not rows:
        return None
    figure = _figure(9, 0.8 + 0.42 * len(rows))
    axes = figure.subplots()
    for place, (_, value, radius) in enumerate(rows):
        if radius is not None:
            axes.plot([value - radius, value + radius], [place, place], linewidth=6, alpha=0.45, solid_capstyle="butt",
                      color=colour(0))  # fmt: skip
        axes.plot([value], [place], marker=MARKERS[0], markersize=7, color=colour(0), markeredgecolor="white")
    axes.set_yticks(
        range(len(rows)), [name if len(name) <= 52 else name[:51] + "…" for name, _, _ in rows], parse_math=False
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("right answers on the test split")
    return _svg(figure, "Accuracy on the test split: " + "; ".join(f"{name} {value:.1%}" for name, value, _ in rows))

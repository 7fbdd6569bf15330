"""Histograms side by side: figure 5.3, how far networks travel while they adapt, and the like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modicum.reporting.figures import _figure, _svg, colour
from modicum.reporting.records import Array

BINS = 40


def distance_histogram(panels: Sequence[tuple[str, Sequence[tuple[int, str, Array]]]]) -> str | None:
    """Distances (T,) of runs (colour index, label, values), one panel for each title ("1-shot"), over one axis and bins.

    Heights are shares of tasks, so that runs on different numbers of tasks compare. Values that are not finite are left
    out; labels enter the description only.
    """
    kept = [(title, [(i, label, values[np.isfinite(values)]) for i, label, values in runs]) for title, runs in panels]
    every = [values for _, runs in kept for _, _, values in runs if len(values)]
    if not every:
        return None
    edges = np.histogram_bin_edges(np.concatenate(every), BINS)
    figure = _figure(9, 3.3)
    grid = figure.subplots(1, len(kept), sharex=True, squeeze=False).ravel()
    told = []
    for axes, (title, runs) in zip(grid, kept, strict=True):
        for index, label, values in runs:
            if not len(values):
                continue
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=weights, color=colour(index), alpha=0.5)
            axes.hist(values, edges, weights=weights, color=colour(index), histtype="step", linewidth=1.2)
            told.append(f"{label} {title} {np.median(values):.3g}")
        axes.set(title=title, xlabel="filter-normalised distance")
    grid[0].set_ylabel("share of tasks")
    return _svg(figure, "How far networks travel while they adapt, medians: " + "; ".join(told))

"""Figures of runs on the rows of a table, as SVG text; see `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modicum.reporting.figures import INK, _figure, _svg, colour
from modicum.reporting.records import Array

SHOWN = 4
"""Targets that are drawn at most."""


def predicted_against_true(arrays: Mapping[str, Array], targets: Sequence[str], index: int) -> str | None:
    """Predictions over true values, a panel for each target; None where the arrays are not there.

    arrays: table_true (n, O) and table_predicted (2, n, O), before adaptation and after it.
    """
    if "table_true" not in arrays or "table_predicted" not in arrays:
        return None
    true, predicted = (np.asarray(arrays[name], float) for name in ("table_true", "table_predicted"))
    count = min(SHOWN, len(targets))
    columns = min(2, count)
    rows = -(-count // columns)
    figure = _figure(4.6 * columns, 0.3 + 3.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, axes in enumerate(grid):
        if place >= count:
            axes.set_visible(False)
            continue
        x, y = true[:, place], predicted[-1, :, place]
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, ":", color=INK, alpha=0.6, linewidth=1.2)
        axes.plot(x, y, ".", color=colour(index), alpha=0.5, markersize=4)
        axes.set(xlabel="true value", ylabel="prediction")
    return _svg(figure, f"Predictions over true values of {len(true)} rows, {count} of the targets")

"""What inner loops did, ready for the template: what was generated, how the loss fell, how far networks travelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modicum.reporting.figures import colour
from modicum.reporting.histograms import distance_histogram
from modicum.reporting.inner_figures import Series, kept_shares, layer_boxes, quantiles, support_losses
from modicum.reporting.modes import differing
from modicum.reporting.records import Array, Inner

OPEN = 12  # layers whose panels are open at once: the last ones, nearest to the output, where most happens
PANELS = 3  # histograms side by side
SYMBOLS = {"alpha": ("α", "step size"), "beta": ("β", "share of the weights that is kept")}


@dataclass(frozen=True)
class Generated:
    """One quantity of the rule: figures of OPEN layers each, step `step` enlarged, and what they say.

    by_task: whether it is made anew for every task (ALFA), or was learned once for all (Meta-SGD, MAML++).
    """

    symbol: str
    meaning: str
    figures: list[str]
    enlarged: list[str]
    step: int
    told: list[str]
    by_task: bool


@dataclass(frozen=True)
class InnerView:
    """What a page shows of the inner loops of a run. legend: (colour, label, tasks) of each evaluation."""

    legend: list[tuple[str, str, int]]
    generated: list[Generated]
    gamma: str | None
    losses: str | None
    fell: list[str]
    distances: list[str]
    medians: list[str]


def inner_view(inner: Sequence[Inner]) -> InnerView | None:
    """Figures and sentences of a run's evaluations, one colour for each; None where nothing was recorded.

    What two files say alike (support, and both modes of batch norm) is drawn once.
    """
    inner = [one for place, one in enumerate(inner) if not any(_alike(one, other) for other in inner[:place])]
    labels = evaluation_labels(inner)
    losses = _series(inner, labels, "losses")
    far = _first_of_each([(i, found.place, found.distances) for i, found in enumerate(inner)])
    view = InnerView(
        legend=[(colour(i), label, _tasks(found)) for i, (label, found) in enumerate(zip(labels, inner, strict=True))],
        generated=[made for name in SYMBOLS if (made := _generated(inner, labels, name)) is not None],
        gamma=kept_shares(_names(inner), _series(inner, labels, "gamma")),
        losses=support_losses(losses),
        fell=[_fell(label, values) for _, label, values in losses],
        distances=distance_figures(far),
        medians=_medians(far),
    )
    return view if any((view.generated, view.gamma, view.losses, view.distances)) else None


def _alike(one: Inner, other: Inner) -> bool:
    if (one.place, one.setup, one.layers) != (other.place, other.setup, other.layers):
        return False
    return one.losses is not None and other.losses is not None and np.array_equal(one.losses, other.losses)


def evaluation_labels(inner: Sequence[Inner]) -> list[str]:
    """The data set of each evaluation, with what tells evaluations on one data set apart."""
    found = []
    for one in inner:
        more = differing(one.setup, [other.setup for other in inner if other.place == one.place])
        found.append(f"{one.place} ({', '.join(more)})" if more else one.place)
    return found


def _tasks(found: Inner) -> int:
    return len(found.losses) if found.losses is not None else max(map(len, found.distances.values()), default=0)


def _series(inner: Sequence[Inner], labels: Sequence[str], name: str) -> Series:
    """(colour index, label, values) of the evaluations that hold it, all of the same layers as the first."""
    kept = []
    for index, (label, found) in enumerate(zip(labels, inner, strict=True)):
        values: Array | None = getattr(found, name)
        if values is not None and values.size and found.layers == inner[0].layers:
            kept.append((index, label, values))
    return kept


def _names(inner: Sequence[Inner]) -> list[str]:
    """Names of the layers, without what all begin with."""
    names = list(inner[0].layers) if inner else []
    parts = [name.split(".") for name in names]
    common = 0
    while len(parts) > 1 and all(len(p) > common + 2 and p[: common + 1] == parts[0][: common + 1] for p in parts):
        common += 1
    short = [".".join(p[common:]).removeprefix("encoder.").removeprefix("backbone.") for p in parts]
    return [name if len(name) <= 30 else "…" + name[-29:] for name in short]


def _generated(inner: Sequence[Inner], labels: Sequence[str], name: str) -> Generated | None:
    series, names = _series(inner, labels, name), _names(inner)
    if not series or not names:
        return None
    symbol, meaning = SYMBOLS[name]
    by_task = any(np.ptp(values, axis=0).max() > 0 for _, _, values in series)
    last = min(values.shape[1] for _, _, values in series)
    figures, enlarged = [], []
    for end in range(len(names), 0, -OPEN):
        chosen = slice(max(0, end - OPEN), end)
        shown, part = names[chosen], [(index, label, values[:, :, chosen]) for index, label, values in series]
        figures.append(layer_boxes(symbol, shown, part) or "")
        if last > 1 and by_task:
            one = [(index, label, values[:, last - 1 : last]) for index, label, values in part]
            enlarged.append(layer_boxes(symbol, shown, one, first=last) or "")
    told = [_spread(label, symbol, names, values) for _, label, values in series]
    return Generated(symbol, meaning, figures, enlarged, last, told, by_task)


def _spread(label: str, symbol: str, names: Sequence[str], values: Array) -> str:
    """How far the quantity moves from step to step, and how far from task to task, in words."""
    tasks, steps, layers = values.shape
    found = quantiles(values.reshape(tasks, steps * layers)).reshape(5, steps, layers)
    moved = found[2].max(0) - found[2].min(0)
    most = int(np.nanargmax(moved)) if np.isfinite(moved).any() else 0
    between = float(np.nanmedian(found[3] - found[1]))
    told = f"{label}: medians of {symbol} lie between {found[2].min():.4g} and {found[2].max():.4g}"
    if steps > 1:
        told += f"; over the steps they move most in {names[most]}, by {moved[most]:.2g}"
    if not between:
        return f"{told}."
    return f"{told}. At one and the same step of a layer, the middle half of the tasks lies {between:.2g} apart (median)."


def _fell(label: str, losses: Array) -> str:
    middle = quantiles(losses)[2]
    last = losses.shape[1]
    if last == 1:
        return f"{label}: {middle[0]:.3g} before the only step"
    return f"{label}: {middle[0]:.3g} before the first step, {middle[-1]:.3g} before step {last}"


Far = Sequence[tuple[int, str, int, Array]]


def _first_of_each(found: Sequence[tuple[int, str, Mapping[int, Array]]]) -> Far:
    """(colour index, label, shots, distances), once for each label and number of shots."""
    kept: dict[tuple[str, int], tuple[int, str, int, Array]] = {}
    for index, label, distances in found:
        for shots, values in distances.items():
            kept.setdefault((label, shots), (index, label, shots, values))
    return list(kept.values())


def distance_figures(far: Far) -> list[str]:
    """Histograms of distances, figure 5.3 of the dissertation: one panel for each number of shots."""
    panels: dict[int, list[Any]] = {}
    for index, label, shots, values in far:
        panels.setdefault(shots, []).append((index, label, values))
    titled = [(f"{shots}-shot", panels[shots]) for shots in sorted(panels)]
    figures = [distance_histogram(titled[first : first + PANELS]) for first in range(0, len(titled), PANELS)]
    return [figure for figure in figures if figure is not None]


def _medians(far: Far) -> list[str]:
    ordered = sorted(far, key=lambda entry: entry[2])
    return [f"{label} {shots}-shot {np.nanmedian(values):.3g}" for _, label, shots, values in ordered if len(values)]


@dataclass(frozen=True)
class Travelled:
    """How far the networks of several runs travelled on the same data set."""

    place: str
    figures: list[str]
    medians: list[str]


def compare_distances(runs: Sequence[tuple[str, Sequence[Inner]]]) -> list[Travelled]:
    """Histograms for every data set on which two runs (label, evaluations) or more were measured, in the runs' colours."""
    places = dict.fromkeys(found.place for _, inner in runs for found in inner if found.distances)
    told = []
    for place in places:
        every = [(i, label, one.distances) for i, (label, inner) in enumerate(runs) for one in inner if one.place == place]
        far = _first_of_each(every)
        if len({index for index, *_ in far}) > 1:
            told.append(Travelled(place, distance_figures(far), _medians(far)))
    return told

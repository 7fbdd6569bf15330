"""What a meta-gradient of Modicum costs: ALFA and L2F against MAML, and cost against tasks, steps and shots as a plot.

    python benchmarks/gradient_cost.py --rows methods --repeats 7 --json methods.json
    python benchmarks/gradient_cost.py --rows cost --png cost.png --json cost.json

conv4-48, 5-way, float32, the strategy that `auto` takes. `methods`: 28x28x1, 4 tasks, 1 and 5 shots, 15 queries a class, 5
inner steps, first and second order; all methods in turn in one process, ratios pairwise. `cost`: second-order MAML and ALFA
from the point 4 tasks, 5 steps, 5 shots, 5 queries, one number changed at a time, all points in turn.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from gradient_step import CLOCKS, seconds
from side_by_side import quartiles, shown, write_rows

METHODS = ("maml", "alfa", "l2f")
CENTRE = {"tasks": 4, "steps": 5, "shots": 5}
POINTS = {"tasks": (1, 2, 4, 8), "steps": (1, 3, 5, 10), "shots": (1, 5, 10, 15)}


def side(method: str, *, tasks: int, steps: int, shots: int, queries: int, first_order: bool = False, size: int = 28) -> Any:
    """A meta-gradient of a published method on noise, without arguments."""
    from modicum.adaptation.gradient.meta import meta_gradients
    from modicum.backbones.encoder import ImageSpec
    from modicum.configs import Train
    from modicum.episodes.types import Episode, LabelledSet
    from modicum.training.runs import build_gradient_learner

    config = Train(
        data="noise", out="unused", method=method, backbone="conv4-48", ways=5, shots=shots, queries=queries, batch=tasks,
        inner_steps=steps, first_order=first_order, batch_norm="batch",
    )  # fmt: skip
    learner = build_gradient_learner(config, ImageSpec(size, 1))
    generator = torch.Generator().manual_seed(0)

    def pictures(count: int) -> LabelledSet:
        x = torch.rand(tasks, 5 * count, 1, size, size, generator=generator)
        return LabelledSet(x, torch.arange(5).repeat_interleave(count).expand(tasks, -1))

    episode = Episode(pictures(shots), pictures(queries), 5)

    def gradient() -> None:
        learner.zero_grad()
        meta_gradients(learner, episode)

    return gradient


def in_turn(sides: dict[str, Any], repeats: int, clock: str) -> dict[str, list[float]]:
    """Seconds of every side, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, one in sides.items():
            taken[name].append(seconds(one, clock))
    return {name: values[1:] for name, values in taken.items()}


def methods(repeats: int, clock: str) -> list[dict[str, Any]]:
    """ALFA and L2F against MAML; prints a Markdown table."""
    rows = []
    columns = ["shots", "order", "threads", *(f"{name} ms" for name in METHODS), "alfa / maml", "l2f / maml"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for shots in (1, 5):
        for first in (True, False):
            sides = {name: side(name, tasks=4, steps=5, shots=shots, queries=15, first_order=first) for name in METHODS}
            taken = in_turn(sides, repeats, clock)
            ratio = {
                name: quartiles([a / b for a, b in zip(taken[name], taken["maml"], strict=True)]) for name in METHODS[1:]
            }
            row = {"shots": shots, "order": 1 if first else 2, "threads": torch.get_num_threads(), "ratio": ratio}
            rows.append({**row, "seconds": {name: quartiles(values) for name, values in taken.items()}})
            cells = [str(shots), str(row["order"]), str(row["threads"])]
            cells += [shown(rows[-1]["seconds"][name]) for name in METHODS]
            print("| " + " | ".join([*cells, *(shown(ratio[name], 1) for name in METHODS[1:])]) + " |", flush=True)
    return rows


def costs(repeats: int, clock: str, png: str | None) -> list[dict[str, Any]]:
    """Every point of `POINTS`; draws them with --png."""
    points = [(name, value) for name, values in POINTS.items() for value in values]
    sides = {
        f"{method} {name} {value}": side(method, **{**CENTRE, name: value}, queries=5)
        for method in METHODS[:2]
        for name, value in points
    }
    taken = {name: quartiles(values) for name, values in in_turn(sides, repeats, clock).items()}
    rows = []
    for name, value in points:
        own = {method: taken[f"{method} {name} {value}"] for method in METHODS[:2]}
        rows.append({"varied": name, "value": value, "threads": torch.get_num_threads(), "seconds": own})
        print(f"{name} {value}: " + ", ".join(f"{method} {shown(own[method])} ms" for method in own), flush=True)
    if png:
        drawn(rows, png)
    return rows


def drawn(rows: list[dict[str, Any]], png: str) -> None:
    """Three panels: milliseconds against tasks, steps and shots, medians with quartiles."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
    for panel, varied in zip(axes, POINTS, strict=True):
        own = [row for row in rows if row["varied"] == varied]
        for method in METHODS[:2]:
            times = [row["seconds"][method] for row in own]
            values, medians = [row["value"] for row in own], [1e3 * time["median"] for time in times]
            low = [1e3 * (time["median"] - time["low"]) for time in times]
            high = [1e3 * (time["high"] - time["median"]) for time in times]
            panel.errorbar(
                values, medians, yerr=[low, high], marker="o", capsize=2, label={"alfa": "ALFA"}.get(method, "MAML")
            )
        panel.set_xlabel({"tasks": "tasks", "steps": "inner steps", "shots": "shots"}[varied])
        panel.set_ylim(bottom=0)
    axes[0].set_ylabel("ms for a meta-gradient")
    axes[0].legend(frameon=False)
    figure.savefig(png, dpi=150)


def main() -> None:
    """Measure one of the two and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", choices=["methods", "cost"], required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time of the process")
    parser.add_argument("--png")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = (
        methods(options.repeats, options.clock)
        if options.rows == "methods"
        else costs(options.repeats, options.clock, options.png)
    )
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()

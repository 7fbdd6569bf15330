"""`modicum demo`: learn on some classes of handwriting, be tested on others, and show the page about it.

Paper: none (digits), or one short run of `omniglot_protonet` (Snell et al. 2017).
Command: modicum demo, or modicum demo --data omniglot --root DIR
Cost: digits under 2 minutes on 2 cores, from nothing, without a network or any data; omniglot under 5 minutes.
Target: none. It shows that the installation works and what a result of this package looks like.

Digits: trained on 0-4, tested on 5-9. There are only five test classes, so each 5-way task holds all of them and the
interval is over draws of pictures from these five classes; it says nothing about other classes. The settings were chosen by
looking at these test digits (`digits_protonet`), which the demo says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modicum.configs import Demo, Evaluate, Train
from modicum.errors import ConfigError
from modicum.files import read_json
from modicum.recipes.digits_protonet import FULL as DIGITS
from modicum.recipes.omniglot_protonet import FULL as OMNIGLOT
from modicum.runtime import Progress

OMNIGLOT_STEPS = 400
TASKS = 1_000
Report = Callable[[Sequence[Path], Path], Path]


def options(config: Demo) -> Train:
    """How the demo trains."""
    if config.data == "digits":
        steps = config.steps or DIGITS.steps
        chosen = replace(DIGITS, steps=steps, validate_every=steps)
    else:
        steps = config.steps or OMNIGLOT_STEPS
        chosen = replace(OMNIGLOT, steps=steps, ways=30, schedule="cosine", validate_every=max(1, steps // 4))
    return replace(chosen, out=str(Path(config.out) / config.data), root=config.root, seed=config.seed)


def run(config: Demo, progress: Progress | None = None, report: Report | None = None) -> Path:
    """Train, test, print what came out; returns the page that `report` wrote, the run's folder without a `report`.

    A demo that was finished before with the same options is not trained again; one that was stopped goes on. Raises
    `ConfigError` where `out` holds a run with other options, `DataError` where omniglot is not found, `WriteError`.
    """
    from modicum.training.evaluate import evaluate
    from modicum.training.trainer import train

    chosen = options(config)
    folder = Path(chosen.out)
    _check(folder, chosen)
    train(replace(chosen, resume=True), progress)
    test = Evaluate(run=str(folder), split="test", ways=5, shots=[1, 5], tasks=TASKS, root=config.root, seed=config.seed)
    measured = evaluate(test, progress)
    print(told(measured), flush=True)
    return report([folder], Path(config.out) / "report.html") if report is not None else folder


def _check(folder: Path, chosen: Train) -> None:
    """Refuse a folder that holds a run of more steps or other data, which resuming would leave as it is."""
    if not (folder / "config.json").is_file():
        return
    before = read_json(folder / "config.json").get("config", {})
    for name in ("data", "steps"):
        if before.get(name) != getattr(chosen, name):
            raise ConfigError(
                f"out: {folder} holds a run with {name} {before.get(name)}, now {getattr(chosen, name)} was asked for; "
                "give another --out or remove the folder"
            )


def told(measured: dict[str, Any]) -> str:
    """The result in plain words."""
    lines = [
        f"{row['ways']} classes, {row['shots']} labelled picture{'s' * (row['shots'] > 1)} of each: "
        f"{100 * row['accuracy']:.1f} % right (95 % interval ± {100 * row['ci95']:.1f}; guessing: {100 / row['ways']:.0f} %)"
        for row in measured["rows"]
    ]
    names = measured["classes"]
    only = f" ({', '.join(names)}): other classes may be easier or harder" if len(names) <= 10 else ""
    lines.append(f"The interval is over {measured['interval_over']}{only}.")
    if measured["data"] == "digits":
        lines.append("A demonstration, no result: its settings were chosen by looking at these test digits.")
    return "\n".join(lines)

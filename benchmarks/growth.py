"""How time and peak memory of a ProtoNet training step grow with ways, shots and tasks (conv4-64, 28x28x1, 15 queries).

    python benchmarks/growth.py --out docs/images/growth.png --json growth.json

Each point is a process of its own (so that its peak resident set is its own): the median of five steps after two.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SWEEPS = {"ways": (2, 5, 10, 20, 40), "shots": (1, 5, 10, 20), "batch": (1, 2, 4, 8)}
LABELS = {"ways": "ways (5 shots, 1 task)", "shots": "shots (5 ways, 1 task)", "batch": "tasks (5 ways, 5 shots)"}
BASE = {"ways": 5, "shots": 5, "batch": 1}


def point(settings: dict[str, int]) -> dict[str, float]:
    """Median seconds of a step, and MiB by which this process grew over the steps."""
    import numpy as np
    from training_step import seconds

    from modicum.configs import Train
    from modicum.data.pictures import PictureSet
    from modicum.training.trainer import Trainer

    labels = np.repeat(np.arange(40), 40)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28, 1), dtype=np.uint8)
    names = tuple(str(i) for i in range(40))
    pictures = PictureSet(pixels, labels, names, tuple(map(str, range(len(labels)))), splits={"train": names}, name="noise")
    trainer = Trainer(Train(data="noise", out="unused", queries=15, **settings), pictures)  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [seconds(trainer.advance) for _ in range(7)][2:]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": statistics.median(times), "mib": grown / 1024}


def figure(rows: list[dict[str, Any]], out: Path) -> None:
    """Two rows of plots, time above and memory below, one column per sweep."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9, 5), layout="constrained")
    axes = fig.subplots(2, len(SWEEPS), sharex="col")
    for column, name in enumerate(SWEEPS):
        points = [row for row in rows if row["sweep"] == name]
        x = [row["settings"][name] for row in points]
        axes[0][column].plot(x, [1e3 * row["seconds"] for row in points], "o-")
        axes[1][column].plot(x, [row["mib"] for row in points], "o-", color="tab:orange")
        axes[1][column].set_xlabel(LABELS[name])
        for axis in axes[:, column]:
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("ms per step")
    axes[1][0].set_ylabel("peak memory of the step, MiB")
    fig.savefig(out, dpi=110)


def main() -> None:
    """Measure every point and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("growth.png"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(point(json.loads(options.child))))
        return
    rows = []
    for name, values in SWEEPS.items():
        for value in values:
            settings = {**BASE, name: value}
            command = [sys.executable, __file__, "--child", json.dumps(settings)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"sweep": name, "settings": settings, **json.loads(done.stdout.splitlines()[-1])})
            print(f"{name}={value}: {1e3 * rows[-1]['seconds']:.1f} ms, {rows[-1]['mib']:.0f} MiB", flush=True)
    figure(rows, options.out)
    if options.json:
        options.json.write_text(json.dumps({"schema": 1, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

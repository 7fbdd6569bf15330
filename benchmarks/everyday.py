"""The waits a user feels: `--help` of every command, quick commands on a memory, the second start on 60,000 pictures, one
prediction, sampling.

    python benchmarks/everyday.py --root DATA --json everyday.json

DATA holds cifar100 (for the second start); without it that row is `-`. Medians of nine with their quartiles.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from training_step import quartiles, seconds, shown

COMMANDS = ["check", "fit", "predict", "extend", "forget", "train", "evaluate", "adapt"]
COMMANDS += ["report", "reproduce", "demo", "cache", "memory"]
REPEATS = 9


def help_times() -> dict[str, dict[str, float]]:
    """Wall time of `modicum COMMAND --help`, process start included."""
    program = str(Path(sys.executable).with_name("modicum"))
    times = {}
    for command in COMMANDS:
        call = [program, command, "--help"]
        taken = [seconds(lambda call=call: subprocess.run(call, capture_output=True, check=True)) for _ in range(REPEATS)]
        times[command] = quartiles(taken)
    return times


def memory_times(folder: Path) -> dict[str, dict[str, float]]:
    """Wall time of `modicum memory list`, `stats` and `remove` on 10,000 items, process start included."""
    import numpy as np

    from modicum.memory.store import Store
    from modicum.memory.types import Batch, MemoryInfo

    store, n = folder / "memory", 10_000
    rows = np.random.default_rng(0).standard_normal((n, 256), np.float32)
    names = [f"{i}.png" for i in range(n)]
    with Store.create(store, MemoryInfo(256)) as made:
        made.add(Batch(np.arange(n), rows, "pictures", names, [f"class {i % 20}" for i in range(n)], [None] * n, [""] * n))
    program = str(Path(sys.executable).with_name("modicum"))
    times = {}
    for action in ("list", "stats", "remove"):
        calls = [[program, "memory", action, str(store), *([str(i)] if action == "remove" else [])] for i in range(REPEATS)]
        taken = [seconds(lambda call=call: subprocess.run(call, capture_output=True, check=True)) for call in calls]
        times[f"memory {action}, 10,000 items"] = quartiles(taken)
    return times


def second_start(root: str | None) -> dict[str, float] | None:
    """Opening CIFAR-FS (60,000 files) when its cache is there."""
    from modicum.data.pictures import open_pictures

    if root is None or not (Path(root) / "cifar100").is_dir():
        return None
    open_pictures("cifar-fs", root=root)
    return quartiles([seconds(lambda: open_pictures("cifar-fs", root=root)) for _ in range(REPEATS)])


def one_prediction(folder: Path) -> dict[str, float]:
    """One picture file to label, probability and neighbours, with the classifier loaded (200 support pictures)."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    from modicum.estimator import FewShotClassifier

    digits = load_digits()
    paths = []
    for i in range(201):
        path = folder / f"{i}.png"
        Image.fromarray(np.uint8(digits.images[i] * 15)).resize((64, 64)).save(path)
        paths.append(str(path))
    classifier = FewShotClassifier(encoder="characters").fit(paths[:200], digits.target[:200])
    return quartiles([seconds(lambda: classifier.predict_proba(paths[200:])) for _ in range(REPEATS + 2)][2:])


def sampling() -> dict[str, float]:
    """Drawing 1,000 5-way 5-shot tasks with 15 queries from 100 classes of 600."""
    import numpy as np

    from modicum.episodes.sampler import EpisodeSampler

    sampler = EpisodeSampler(np.repeat(np.arange(100), 600), 5, 5, 15)
    return quartiles([seconds(lambda: sampler.tasks(range(1_000))) for _ in range(REPEATS)])


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    helps = help_times()
    slowest = max(helps, key=lambda command: helps[command]["median"])
    with tempfile.TemporaryDirectory() as folder:
        rows: dict[str, Any] = {
            f"--help, slowest command ({slowest})": helps[slowest],
            **memory_times(Path(folder)),
            "second start on 60,000 pictures": second_start(options.root),
            "one prediction, classifier loaded": one_prediction(Path(folder)),
            "1,000 tasks drawn": sampling(),
        }
    print("| what | ms, median [quartiles] |\n|---|---|")
    for name, times in rows.items():
        print(f"| {name} | {shown(times)} |")
    if options.json:
        options.json.write_text(json.dumps({"schema": 1, "rows": rows, "help": helps}, indent=1))


if __name__ == "__main__":
    main()

"""`modicum train`: meta-train an encoder and a head."""

from __future__ import annotations

from modicum.commands.output import percent
from modicum.commands.progress import progress
from modicum.configs import Train
from modicum.runtime import ranks


def run(config: Train) -> int:
    """Train, then say which classes were held out, how good it got, and where the run is."""
    from modicum.training.runs import read_run
    from modicum.training.trainer import train

    with progress("training") as tick:
        result = train(config, progress=tick)
    if ranks().rank > 0:
        return 0
    record = read_run(result.run)[2]
    classes = ", ".join(f"{len(names)} {name}" for name, names in record["data"]["splits"].items())
    print(f"data: {record['data']['name']}, {record['data']['pictures']} pictures, classes: {classes}")
    if record.get("split_rule"):
        print(f"splits: {record['split_rule']}")
    if record.get("note"):
        print(f"note: {record['note']}")
    if result.validation is not None:
        print(f"best validation accuracy: {percent(result.validation)}")
    print(f"run: {result.run} ({result.steps} steps)")
    print(f"next: modicum evaluate {result.run}")
    return 0

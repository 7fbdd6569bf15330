"""`modicum train`: meta-train an encoder and a head."""

from __future__ import annotations

from modicum.commands.progress import progress
from modicum.configs import Train


def run(config: Train) -> int:
    """Train, then say where the run is and what to do with it."""
    from modicum.training.episodic import train

    with progress("training") as tick:
        train(config, progress=tick)
    print(f"run: {config.out}")
    print(f"next: modicum evaluate {config.out}")
    return 0

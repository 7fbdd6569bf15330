"""What is usual where a network is trained on the rows of one table; no maths.

Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendix B: batches of 128, a constant rate of
1e-3, S = 1,000, T = 0.1, and an end after 10 epochs without a better validation loss. The bound on epochs is ours.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.configs.neighborhoods import usual_entries
from modicum.configs.options import require
from modicum.configs.training import Train
from modicum.configs.usual import is_usual

EPOCHS, PATIENCE = 200, 10
"""Passes over the training rows at most, and validations (one after each pass) without a better one before the end."""
WITHOUT_STEPS = ("knn", "trees")
"""Baselines that are fitted at once."""


def with_rows(config: Train, n: int) -> Train:
    """The configuration for n training rows: batch, steps, validation, patience and entries where nobody asked."""
    batch = min(config.batch_pictures, n) if is_usual(config.batch_pictures) else config.batch_pictures
    require(batch <= n, f"batch_pictures: {batch} rows asked for, but there are {n} training rows")
    epoch = n // batch
    steps = int(config.steps)
    if config.epochs is not None:
        steps = config.epochs * epoch
    elif is_usual(config.steps):
        steps = EPOCHS * epoch
    return replace(
        config,
        batch_pictures=int(batch),
        steps=steps,
        validate_every=epoch if is_usual(config.validate_every) else int(config.validate_every),
        patience=PATIENCE if config.patience is None else config.patience,
        entries=usual_entries(config, None) if is_usual(config.entries) and has_entries(config) else config.entries,
    )


def has_entries(config: Train) -> bool:
    """Whether a number of entries says anything: of a dictionary, or of a baseline with as many parameters."""
    return config.baseline in ("none", "parameters")

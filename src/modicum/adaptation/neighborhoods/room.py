"""Memory that inner steps need: bytes for a query, what is free, and the error where one query does not fit.

Numbers per query, with S entries, D features, C classes and k steps, a little above what resident sets showed (0.7 to 0.95
of it for 32 to 128 queries, a third for one step of a dot layer). What all queries share comes on top of it: S (3 D + 6 C)
numbers and a few blocks of `sums`. Closed forms keep some rows (S,) and, but for one step of a dot layer, layers (C, D) per
step that derivatives read; explicit gradients keep logits (S, C) per step instead.
"""

from __future__ import annotations

from pathlib import Path

import torch

from modicum.errors import ConfigError

ROWS = 12
"""Rows (S,) of a query: cosines, attention, masks, their products and derivatives."""
LAYERS, LAYERS_WITHOUT = 12, 5
"""Layers (C, D) a step keeps for its derivatives, and those alive at once without any."""
TABLES, TABLES_ALIVE = 5, 16
"""Tables (S, C) an explicit step keeps for its derivatives, and those alive at once in any step."""


def numbers_of_query(steps: int, entries: int, classes: int, features: int, *, explicit: bool, meta: bool) -> int:
    """Numbers that one query needs for so many steps; meta: derivatives are kept."""
    kept = LAYERS * steps + LAYERS if meta else LAYERS_WITHOUT
    total = ROWS * entries + kept * classes * features
    if explicit:
        total += ((TABLES * steps if meta else 0) + TABLES_ALIVE) * entries * classes
    return total


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be had on a device; None where that can not be known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def check_steps(
    steps: int, entries: int, classes: int, features: int, itemsize: int, device: torch.device, *, explicit: bool
) -> None:
    """Raise `ConfigError` where one query's steps and their derivatives need more than is free; says how many would fit."""
    free = free_bytes(device)

    def needed(k: int) -> int:
        return itemsize * numbers_of_query(k, entries, classes, features, explicit=explicit, meta=True)

    if free is None or needed(steps) <= free:
        return
    each = needed(1) - needed(0)
    fit = max(0, (free - needed(0)) // each)
    raise ConfigError(
        f"inner_steps: {steps} steps on {entries} entries, {classes} classes and {features} features need "
        f"{needed(steps) / 2**30:.3g} GiB for one query, and {free / 2**30:.3g} GiB are free; {fit} would fit"
    )

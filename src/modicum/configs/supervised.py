"""Options of the methods that train on pictures of all classes at once, or on the rows of a table: what they share."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from modicum.configs.options import require
from modicum.configs.usual import is_usual

if TYPE_CHECKING:
    from modicum.configs.training import Train

SUPERVISED = ("rac", "meta-neighborhoods")
EPOCHS, FEWEST_STEPS, WARM_UP = 30, 1_000, 5 / 30
"""Passes over the training pictures, the steps there are at least where neither is asked for, and the share of warm-up."""
FEWEST_BETWEEN = 50
"""Steps between two validations at least, where they are not asked for: an epoch of small data is over at once."""
OF_SUPERVISED = ("imbalance", "imbalance_kind", "test_share", "validation_share", "group", "epochs", "neighbours")
OF_TASKS = (
    "splits", "with_val", "support_pool", "query_pool", "task_pool", "support_noise", "augment", "precision", "ways",
    "shots", "queries", "batch", "validation_tasks", "validation_ways", "validation_shots", "batch_norm",
)  # fmt: skip


def with_pictures(config: Train, n: int) -> Train:
    """The configuration for n training items: batch, steps, warm-up and validation where these were not asked for."""
    batch = min(config.batch_pictures, n) if is_usual(config.batch_pictures) else config.batch_pictures
    require(batch <= n, f"batch_pictures: {batch} asked for, but there are {n} training pictures")
    epoch = max(1, n // batch)
    steps = int(config.steps)
    if config.epochs is not None:
        steps = config.epochs * epoch
    elif config.decouple_steps is not None:
        steps = config.decouple_steps
    elif is_usual(config.steps):
        steps = max(EPOCHS * epoch, FEWEST_STEPS)
    warm = round(WARM_UP * steps) if is_usual(config.warmup) and config.schedule == "cosine-warm" else int(config.warmup)
    between = max(epoch, FEWEST_BETWEEN) if is_usual(config.validate_every) else config.validate_every
    return replace(config, batch_pictures=batch, steps=steps, warmup=warm, validate_every=between)


def given_options(config: Train) -> list[str]:
    """Names of the options that differ from the general defaults."""
    return [field.name for field in fields(config) if getattr(config, field.name) != field.default]


def check_supervised(config: Train) -> None:
    """Raise `ConfigError` for options of tasks under a supervised method, and for options of those under another one."""
    given = given_options(config)
    if config.method not in SUPERVISED:
        foreign = [name for name in given if name in OF_SUPERVISED]
        listed = " or ".join(SUPERVISED)
        require(not foreign, f"{', '.join(foreign)}: belongs to --method {listed}, found --method {config.method}")
        return
    few = [name for name in given if name in OF_TASKS]
    hint = "; pictures of a step are --batch_pictures" if "batch" in few else ""
    told = f"not with {config.method}, which trains on pictures of all classes, in float32; leave it out{hint}"
    require(not few, f"{', '.join(few)}: {told}")
    require(config.imbalance >= 1, f"imbalance: expected 1 (as the data is) or more, head to tail, found {config.imbalance}")
    require(
        config.imbalance != 1 or "imbalance_kind" not in given,
        "imbalance_kind: belongs to --imbalance of more than 1, and would change nothing here; leave it out",
    )
    for name in ("test_share", "validation_share"):
        share = getattr(config, name)
        require(0 <= share < 1, f"{name}: expected 0 or more and below 1, found {share}")
    require(config.test_share + config.validation_share < 1, "test_share, validation_share: nothing is left to train on")

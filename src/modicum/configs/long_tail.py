"""Options of `train --method rac`: what is usual there, and what must not be together; no maths.

The usual values are those of Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022,
arXiv 2202.11233, tables S6 and S7 (AdamW, weight decay 0.02, clipping at norm 1, 30 epochs, a cosine after 5 of warm-up),
but for the rate of a network that begins from random weights, and for a least number of steps, which small data needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from modicum.configs.options import require

if TYPE_CHECKING:
    from modicum.configs.training import Train

RAC = "rac"
Branches = Literal["both", "base", "retrieval"]
Loss = Literal["ce", "balanced-ce", "balanced-softmax", "lace", "ldam", "ldam-printed", "focal"]
Weighting = Literal["none", "inverse", "inverse-sqrt", "inverse-log"]
Sampler = Literal["plain", "balanced", "square-root", "progressive"]
Exclude = Literal["identity", "rank", "none"]
Decouple = Literal["none", "crt", "lws"]
Tail = Literal["exponential", "pareto"]
OWN_TEXTS = ("random", "random-sum", "random-printed")
"""Text encoders that need no file."""

EPOCHS, FEWEST_STEPS, WARM_UP = 30, 1_000, 5 / 30
"""Passes over the training pictures, the steps there are at least where neither is asked for, and the share of warm-up."""
FRESH_RATE, TUNED_RATE = 1e-3, 1e-4
"""Learning rates of a base branch that begins from random weights, and from trained ones (table S6: 5e-5 and 1e-4)."""
FIRST = "first"
"""The run of the first stage, in the folder of the second one's."""
FEWEST_BETWEEN = 50
"""Steps between two validations at least, where they are not asked for: an epoch of small data is over at once."""
USUAL: Mapping[str, Any] = {"optimizer": "adamw", "weight_decay": 0.02, "schedule": "cosine-warm"}
"""Defaults of rac that other methods do not share."""
SECOND: Mapping[str, Any] = {"loss": "ce", "sampler": "balanced"}
"""Those of its second stage, in which layers are trained anew on fixed features (Kang et al., arXiv 1910.09217)."""
OF_RAC = (
    "branches", "loss", "weighting", "tau", "label_smoothing", "focal_gamma", "sampler", "memory", "encoder", "neighbours",
    "text", "exclude", "cache_neighbours", "pretrained", "decouple", "decouple_steps", "imbalance", "imbalance_kind",
    "rand_augment", "test_share", "validation_share", "group", "epochs",
)  # fmt: skip
OF_MEMORY = ("memory", "encoder", "neighbours", "text", "exclude", "cache_neighbours")
OF_TASKS = (
    "splits", "with_val", "support_pool", "query_pool", "task_pool", "support_noise", "augment", "precision", "ways",
    "shots", "queries", "batch", "validation_tasks", "validation_ways", "validation_shots", "batch_norm",
)  # fmt: skip
ADJUSTED = ("lace", "balanced-softmax", "ldam", "ldam-printed")
"""Losses that tau weighs."""


class _Text(str):
    __slots__ = ()


class _Count(int):
    pass


class _Number(float):
    pass


_MARKED: Mapping[type, type] = {str: _Text, int: _Count, float: _Number}
_PLAIN: Mapping[type, type] = {marked: plain for plain, marked in _MARKED.items()}


def usual(value: str | int | float) -> Any:
    """A default of `Train` that depends on the method: told from the same value given by a user until `settle`."""
    return _MARKED[type(value)](value)


def is_usual(value: object) -> bool:
    """Whether a value is a default that nobody has given and nothing has settled yet."""
    return type(value) in _PLAIN


def settle(config: Train) -> None:
    """Make defaults plain: those of rac where that is the method, but for what depends on the pictures (`with_pictures`)."""
    values: dict[str, Any] = {}
    rac = config.method == RAC
    if rac:
        second = config.decouple != "none" and config.pretrained is not None
        trained = config.pretrained is not None and not second
        values = {**USUAL, "learning_rate": TUNED_RATE if trained else FRESH_RATE}
        values |= SECOND if second else {"loss": "lace", "sampler": "plain"}
        object.__setattr__(config, "clip_norm", 1.0 if config.clip_norm is None else config.clip_norm)
    for field in fields(config):
        value = getattr(config, field.name)
        if is_usual(value) and (field.name in values or not rac):
            object.__setattr__(config, field.name, values.get(field.name, _PLAIN[type(value)](value)))


def with_pictures(config: Train, n: int) -> Train:
    """The configuration for n training pictures: batch, steps, warm-up and validation where these were not asked for."""
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


def first_stage(config: Train) -> Train | None:
    """What is to be trained in RUN/first before a second stage; None without one, or where `pretrained` is the first."""
    if config.method != RAC or config.decouple == "none" or config.pretrained is not None:
        return None
    return replace(config, out=f"{config.out}/{FIRST}", decouple="none", decouple_steps=None)


def second_stage(config: Train, first_steps: int) -> Train:
    """The second stage behind a first one of so many steps in RUN/first: a third of them unless asked for otherwise."""
    steps = max(1, first_steps // 3) if config.decouple_steps is None else config.decouple_steps
    own = {"epochs": None, "weighting": None, "label_smoothing": None, "tau": 1.0, "focal_gamma": 2.0, **SECOND}
    return replace(config, pretrained=f"{config.out}/{FIRST}", decouple_steps=steps, **own)


def check_long_tail(config: Train) -> None:
    """Raise `ConfigError` for options of rac that contradict each other, and for those of rac under another method."""
    given = [field.name for field in fields(config) if getattr(config, field.name) != field.default]
    if config.method != RAC:
        foreign = [name for name in given if name in OF_RAC]
        require(not foreign, f"{', '.join(foreign)}: belongs to --method {RAC}, found --method {config.method}")
        return
    few = [name for name in given if name in OF_TASKS]
    hint = "; pictures of a step are --batch_pictures" if "batch" in few else ""
    require(
        not few, f"{', '.join(few)}: not with {RAC}, which trains on pictures of all classes, in float32; leave it out{hint}"
    )
    for name, used, by in (
        ("tau", config.loss in ADJUSTED, f"--loss {'|'.join(ADJUSTED)}"),
        ("focal_gamma", config.loss == "focal", "--loss focal"),
        ("imbalance_kind", config.imbalance != 1, "--imbalance of more than 1"),
        ("pretrained", config.branches != "retrieval" or config.decouple != "none", "a base branch"),
    ):
        require(used or name not in given, f"{name}: belongs to {by}, and would change nothing here; leave it out")
    memory = [name for name in given if name in OF_MEMORY]
    require(config.branches != "base" or not memory, f"{', '.join(memory)}: --branches base reads no memory; leave it out")
    for name in ("tau", "focal_gamma"):
        require(getattr(config, name) >= 0, f"{name}: expected 0 or more, found {getattr(config, name)}")
    smoothing = config.label_smoothing
    require(smoothing is None or 0 <= smoothing < 1, f"label_smoothing: expected 0 or more and below 1, found {smoothing}")
    require(config.imbalance >= 1, f"imbalance: expected 1 (as the data is) or more, head to tail, found {config.imbalance}")
    for name in ("test_share", "validation_share"):
        share = getattr(config, name)
        require(0 <= share < 1, f"{name}: expected 0 or more and below 1, found {share}")
    require(config.test_share + config.validation_share < 1, "test_share, validation_share: nothing is left to train on")
    require(
        config.decouple != "none" or config.decouple_steps is None,
        "decouple_steps: without a second stage there are none; give --decouple crt or lws",
    )

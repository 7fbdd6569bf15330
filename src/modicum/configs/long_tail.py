"""Options of `train --method rac`: what is usual there, and what must not be together; no maths.

The usual values are those of Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022,
arXiv 2202.11233, tables S6 and S7 (AdamW, weight decay 0.02, clipping at norm 1, 30 epochs, a cosine after 5 of warm-up),
but for the rate of a network that begins from random weights, and for a least number of steps, which small data needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from modicum.configs.options import require
from modicum.configs.supervised import given_options

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

FRESH_RATE, TUNED_RATE = 1e-3, 1e-4
"""Learning rates of a base branch that begins from random weights, and from trained ones (table S6: 5e-5 and 1e-4)."""
FIRST = "first"
"""The run of the first stage, in the folder of the second one's."""
BACKBONE = "conv4-64"
USUAL: Mapping[str, Any] = {"optimizer": "adamw", "weight_decay": 0.02, "schedule": "cosine-warm"}
"""Defaults of rac that other methods do not share."""
SECOND: Mapping[str, Any] = {"loss": "ce", "sampler": "balanced"}
"""Those of its second stage, in which layers are trained anew on fixed features (Kang et al., arXiv 1910.09217)."""
OF_RAC = (
    "branches", "loss", "weighting", "tau", "focal_gamma", "sampler", "memory", "encoder", "text", "exclude",
    "cache_neighbours", "pretrained", "decouple", "decouple_steps", "rand_augment", "label_smoothing",
)  # fmt: skip
OF_MEMORY = ("memory", "encoder", "neighbours", "text", "exclude", "cache_neighbours")
ADJUSTED = ("lace", "balanced-softmax", "ldam", "ldam-printed")
"""Losses that tau weighs."""


def usual_of_rac(config: Train) -> Mapping[str, Any]:
    """Defaults of rac, but for those that depend on the pictures (`with_pictures`)."""
    second = config.decouple != "none" and config.pretrained is not None
    trained = config.pretrained is not None and not second
    values: dict[str, Any] = {**USUAL, "learning_rate": TUNED_RATE if trained else FRESH_RATE, "backbone": BACKBONE}
    return {**values, **(SECOND if second else {"loss": "lace", "sampler": "plain"})}


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
    given = given_options(config)
    if config.method != RAC:
        foreign = [name for name in given if name in OF_RAC]
        require(not foreign, f"{', '.join(foreign)}: belongs to --method {RAC}, found --method {config.method}")
        return
    for name, used, by in (
        ("tau", config.loss in ADJUSTED, f"--loss {'|'.join(ADJUSTED)}"),
        ("focal_gamma", config.loss == "focal", "--loss focal"),
        ("pretrained", config.branches != "retrieval" or config.decouple != "none", "a base branch"),
    ):
        require(used or name not in given, f"{name}: belongs to {by}, and would change nothing here; leave it out")
    memory = [name for name in given if name in OF_MEMORY]
    require(config.branches != "base" or not memory, f"{', '.join(memory)}: --branches base reads no memory; leave it out")
    for name in ("tau", "focal_gamma"):
        require(getattr(config, name) >= 0, f"{name}: expected 0 or more, found {getattr(config, name)}")
    smoothing = config.label_smoothing
    require(smoothing is None or 0 <= smoothing < 1, f"label_smoothing: expected 0 or more and below 1, found {smoothing}")
    require(
        config.decouple != "none" or config.decouple_steps is None,
        "decouple_steps: without a second stage there are none; give --decouple crt or lws",
    )

"""Options of `train --method meta-neighborhoods`: what is usual there, and what must not be together; no maths.

The usual values are those of Shan, Li and Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendices A.2 and B,
and of the authors' code where the paper says nothing, but for the number of steps: 30 passes over the pictures, at least
1,000 steps, where the paper takes 400 passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from modicum.configs.options import require

if TYPE_CHECKING:
    from modicum.configs.training import Train

NEIGHBORHOODS = "meta-neighborhoods"
Baseline = Literal["none", "vanilla", "parameters", "knn", "trees"]
OutputLayer = Literal["cosine", "dot"]
Rates = Literal["scalar", "diagonal"]
Draw = Literal["query", "shared"]
EntryValues = Literal["learned", "one-hot"]
Modulate = Literal["none", "all", "last", "before-fc"]
DecayForm = Literal["tensorflow", "torch"]
Augmentation = Literal["usual", "auto-augment", "crop-flip", "crop", "none"]

BACKBONE, TABLE_BACKBONE = "conv4-192", "mlp-64-64"
"""Networks that are trained where none is named: on pictures, and on the rows of a table."""
ENTRIES, MANY_CLASSES, MANY_ENTRIES, TABLE_ENTRIES = 5_000, 20, 10_000, 1_000
"""S: of up to so many classes, of more, and of a table."""
USUAL: Mapping[str, Any] = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 7.5e-5, "schedule": "three-quarters", "inner_steps": 1,
    "inner_rate": 0.05,
}  # fmt: skip
USUAL_SGD: Mapping[str, Any] = {"learning_rate": 0.1, "weight_decay": 2e-4}
"""Rate and L2 penalty of a baseline under SGD; the penalty is that of the authors' code, the rate is ours."""
OF_DICTIONARY = (
    "entries", "temperature", "learn_temperature", "inner_rates", "entry_dropout", "dropout_draw", "entry_values",
)  # fmt: skip
OF_STEPS = ("inner_steps", "inner_rate")
OF_NETWORK = ("modulate", "film_entries", "output_layer", "augmentation")
OF_TABLES = ("fold_file", "fold")
OF_NEIGHBORHOODS = ("baseline", "decay_form", *OF_DICTIONARY, *OF_NETWORK, *OF_TABLES)
OF_PICTURES = ("image_size", "channels", "imbalance", "imbalance_kind", "group", "entry_values", *OF_NETWORK)


def is_table(config: Train) -> bool:
    """Whether a training by this method is on the rows of a table: where a target is named."""
    return config.method == NEIGHBORHOODS and config.target is not None


def usual_of_neighborhoods(config: Train) -> Mapping[str, Any]:
    """Defaults of this method, but for those that depend on the data."""
    table = is_table(config)
    values: dict[str, Any] = {
        **USUAL,
        "backbone": TABLE_BACKBONE if table else BACKBONE,
        "temperature": 0.1 if table else 0.2,
        "entry_dropout": 0.0 if table else 0.5,  # appendix A.2 drops entries of classifiers, B says nothing of it
        "schedule": "constant" if table else USUAL["schedule"],
    }
    return {**values, **USUAL_SGD} if config.optimizer == "sgd" else values


def usual_entries(config: Train, classes: int | None) -> int:
    """S where it is not asked for; classes: their number, None for regression."""
    if classes is None:
        return TABLE_ENTRIES
    return ENTRIES if classes <= MANY_CLASSES else MANY_ENTRIES


def torch_weight_decay(config: Train) -> float:
    """What torch's optimisers take as weight decay for what was asked for.

    TensorFlow's AdamW shrinks a weight by the factor 1 - wd in a step, torch's by 1 - rate * wd, so the same is wd / rate:
    0.075 for the published 7.5e-5 at 1e-3. Where the rate falls to a tenth so does the decay, as in the authors' code.
    """
    shrinking = config.decay_form == "tensorflow" and config.optimizer == "adamw"
    return config.weight_decay / config.learning_rate if shrinking else config.weight_decay


def with_backbone(config: Train) -> Train:
    """The configuration with the backbone's full name: modulated layers, and without a last ReLU under a cosine layer."""
    name, plus, modulated = config.backbone.partition("+")
    if config.output_layer == "cosine" and name in SIGNED:
        name = f"{name}-signed"
    if config.modulate != "none":
        plus, modulated = "+", modulation(config)
    return replace(config, backbone=name + plus + modulated)


def modulation(config: Train) -> str:
    """What --modulate and --film_entries put behind a backbone's name, after a plus."""
    return f"ifilm-{config.modulate}-{config.film_entries}"


def entries_left(entries: int, share: float) -> int:
    """Floor of (1 - share) S; what binary fractions lack (1 - 0.9 is below 0.1) does not count."""
    return int((1 - share) * entries + 1e-9)


SIGNED = ("conv4-192", "resnet29", "resnet56", "densenet40-bc")
"""Backbones that exist with and without a ReLU before the last pooling."""


def check_neighborhoods(config: Train) -> None:
    """Raise `ConfigError` for options that contradict each other, and for those of this method under another one."""
    own = usual_of_neighborhoods(config) if config.method == NEIGHBORHOODS else {}
    given = [each.name for each in fields(config) if getattr(config, each.name) != own.get(each.name, each.default)]
    if config.method != NEIGHBORHOODS:
        foreign = [name for name in given if name in OF_NEIGHBORHOODS]
        require(not foreign, f"{', '.join(foreign)}: belongs to --method {NEIGHBORHOODS}, found --method {config.method}")
        return
    _check_dictionary(config, given)
    require(config.film_entries >= 1, f"film_entries: expected at least 1, found {config.film_entries}")
    require(
        "film_entries" not in given or config.modulate != "none",
        "film_entries: entries of the layers that --modulate adds, and it adds none; give --modulate all",
    )
    modulated = config.backbone.partition("+")[2]
    require(
        config.modulate == "none" or modulated in ("", modulation(config)),
        f"modulate: the backbone's name says {modulated}, the options {modulation(config)}; leave one of them out",
    )
    require(
        config.baseline == "knn" or "neighbours" not in given,
        "neighbours: items that vote under --baseline knn; leave it out",
    )
    require(
        config.optimizer != "sgd" or config.baseline != "none",
        "optimizer: sgd is for baselines; a dictionary needs rates of its own for its entries: adamw",
    )
    require(
        config.optimizer == "adamw" or "decay_form" not in given,
        f"decay_form: of --optimizer adamw; the decay of {config.optimizer} is a penalty of the loss; leave it out",
    )
    require(
        config.test_steps is None,
        f"test_steps: {NEIGHBORHOODS} takes --inner_steps; evaluate --inner_steps takes another number of them",
    )
    if is_table(config):
        _check_table(config, given)
        return
    wrong = [name for name in given if name in OF_TABLES]
    require(not wrong, f"{', '.join(wrong)}: for tables with a --target; leave it out")
    require(config.baseline != "trees", "baseline: trees predict columns of a table; give --target, or another baseline")


def _check_dictionary(config: Train, given: Sequence[str]) -> None:
    """Options of the dictionary and of the steps on it; none under a baseline but its size, as which `parameters` takes."""
    entries, dropped, temperature = config.entries, config.entry_dropout, config.temperature
    require(entries >= 1, f"entries: expected at least 1 entry in the dictionary, found {entries}")
    require(0 < temperature < float("inf"), f"temperature: expected more than 0, found {temperature}")
    require(config.inner_steps >= 1, f"inner_steps: expected at least 1, found {config.inner_steps}")
    require(0 <= dropped < 1, f"entry_dropout: expected 0 or more and below 1, found {dropped}")
    require(entries_left(entries, dropped) >= 1, f"entry_dropout: {dropped} of {entries} entries leaves none")
    if config.baseline == "none":
        return
    sized = ("entries",) if config.baseline == "parameters" else ()
    unused = [name for name in given if name in (*OF_DICTIONARY, *OF_STEPS) and name not in sized]
    require(not unused, f"{', '.join(unused)}: --baseline {config.baseline} has no dictionary; leave it out")


def _check_table(config: Train, given: Sequence[str]) -> None:
    """Options that a table has, or has not."""
    wrong = [name for name in given if name in OF_PICTURES]
    require(not wrong, f"{', '.join(wrong)}: for pictures only, and this is a table with a target; leave it out")
    require(
        config.backbone.startswith("mlp-"),
        f"backbone: a table takes mlp-W-W... (widths of hidden layers, as mlp-64-64), found {config.backbone}",
    )
    require(
        (config.fold_file is None) == (config.fold is None), "fold, fold_file: give both, the file and which of its folds"
    )
    require(config.fold is None or config.fold >= 0, f"fold: expected 0 or more, found {config.fold}")

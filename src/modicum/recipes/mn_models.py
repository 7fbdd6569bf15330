"""The models behind the tables and figures of Meta-Neighborhoods on pictures; one training serves them all.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140. A model is called
DATA-BACKBONE-METHOD, as `cifar100-resnet29-mn`; what a method's name says is in `METHODS`.

| scale | data | backbone | training |
|---|---|---|---|
| smoke | digits, 8 pixels | conv4-192, S = 40 | 2 steps of 16: it runs, and no more |
| cpu | CIFAR-10, CIFAR-100: all of training and test set | conv4-192, S = 1,000 | 1,200 steps of 32 |
| cpu, `mn_small` | digits; alphabets of Omniglot | conv4-192, S = 500 | `SMALL`, `CHARACTERS` |
| full | CIFAR-10, CIFAR-100 | as published | 400 epochs of 128, S = 5,000 and 10,000 |

cpu is reduced in everything: the network has half a million weights, the dictionary a fifth or a tenth of the published
entries, and 1,200 steps of 32 pictures are 38,400 of the 50,000, so no picture is seen twice and none is augmented. AdamW at
1e-3 brought to 0 along a cosine; all else as published, entry dropout for each picture and weight decay as printed among
it. Nothing is held out for validation and the last weights count, at full scale too. Seeds change weights, batches and draws
of entries (and of small data which pictures are tested); models of one seed see the same pictures in the same order.
full: AutoAugment with Cutout, crops and flips; SGD at 0.1, where nothing is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modicum.configs import Scale, Train
from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.recipes.models import Options

C10, C100, COARSE, DIGITS = "cifar10", "cifar100", "cifar100-coarse", "digits"
SMALL_NET, DENSE, R29, R56 = "conv4-192", "densenet40-bc", "resnet29", "resnet56"
ALPHABETS = ("Korean", "Tifinagh")
STEPS, ENTRIES = 1_200, 1_000
"""Of every model of CIFAR-10 and CIFAR-100 at cpu scale."""

_ALL: Mapping[str, Any] = {"out": "", "method": NEIGHBORHOODS, "validation_share": 0.0}
_SMALL: Mapping[str, Any] = {**_ALL, "backbone": SMALL_NET, "batch_pictures": 32, "schedule": "cosine"}
SMOKE: Mapping[str, Any] = {
    **_SMALL, "data": DIGITS, "image_size": 8, "entries": 40, "batch_pictures": 16, "steps": 2, "augmentation": "none",
}  # fmt: skip
CPU: Mapping[str, Any] = {**_SMALL, "entries": ENTRIES, "steps": STEPS, "augmentation": "none"}
FULL: Mapping[str, Any] = {**_ALL, "batch_pictures": 128, "epochs": 400}
FULL_ENTRIES: Mapping[str, int] = {C10: 5_000, C100: 10_000, COARSE: 5_000}

SMALL: Mapping[str, Any] = {**_SMALL, "data": DIGITS, "image_size": 16, "entries": 500, "steps": 500}
"""Digits: 1,437 pictures train and 360 test; shifted by up to 4 of 16 + 8 pixels (`crop`)."""
CHARACTERS: Mapping[str, Any] = {
    **_SMALL, "image_size": 28, "channels": 1, "entries": 500, "steps": 350, "test_share": 0.4,
}  # fmt: skip
"""An alphabet of Omniglot: of the 20 drawings of a character 12 train and 8 test."""

METHODS: Mapping[str, Mapping[str, Any]] = {
    "vanilla": {"baseline": "vanilla"},
    "vanilla-sgd": {"baseline": "vanilla", "optimizer": "sgd"},
    "vanilla-dot": {"baseline": "vanilla", "output_layer": "dot"},
    "vanilla-dot-sgd": {"baseline": "vanilla", "output_layer": "dot", "optimizer": "sgd"},
    "knn": {"baseline": "knn"},
    "parameters": {"baseline": "parameters"},
    "mn": {},
    "mn-diagonal": {"inner_rates": "diagonal"},
    "mn-3": {"inner_steps": 3},
    "mn-3-diagonal": {"inner_steps": 3, "inner_rates": "diagonal"},
    "mn-ifilm": {"modulate": "all"},
    "mn-ifilm-last": {"modulate": "last"},
    "mn-ifilm-before-fc": {"modulate": "before-fc"},
    "mn-one-hot": {"entry_values": "one-hot"},
    "mn-shared-draw": {"dropout_draw": "shared"},
    "mn-all-entries": {"entry_dropout": 0.0},
    "mn-decay-torch": {"decay_form": "torch"},
    "mn-learned-t": {"learn_temperature": True},
}
"""Ending of a model's name -> what differs from Meta-Neighborhoods as it is. `knn` is `vanilla` whose features vote too."""
NO_DICTIONARY = ("vanilla", "knn")


def _trained(base: Mapping[str, Any], options: Mapping[str, Any]) -> Train:
    """Options of a training; S is left out where there is no dictionary and no layer in its place."""
    found = {**base, **options}
    if found.get("baseline") in NO_DICTIONARY:
        found = {name: value for name, value in found.items() if name != "entries"}
    return Train(**found)


def reduced(data: str, options: Mapping[str, Any], smoke: Mapping[str, Any] | None = None) -> Options:
    """Smoke and cpu scale of a setting on CIFAR-10 or CIFAR-100; smoke: what differs there, None for the same."""
    less = options if smoke is None else smoke
    return {"smoke": _trained(SMOKE, less), "cpu": _trained({**CPU, "data": data}, options)}


def published(data: str, backbone: str, options: Mapping[str, Any]) -> Options:
    """Full scale of a setting."""
    base = {**FULL, "data": data, "backbone": backbone, "entries": FULL_ENTRIES[data]}
    return {"full": _trained(base, options)}


def small(data: str, options: Mapping[str, Any]) -> Options:
    """Digits or an alphabet of Omniglot, the same at cpu and full scale: the network is the paper's for such pictures."""
    base = SMALL if data == DIGITS else {**CHARACTERS, "data": data}
    smoke = SMOKE if data == DIGITS else {**SMOKE, "data": data, "image_size": 28, "channels": 1}
    whole = _trained(base, options)
    scales: dict[Scale, Train] = {"smoke": _trained(smoke, options), "cpu": whole, "full": whole}
    return scales


def alphabet(name: str) -> str:
    """The folder of an alphabet under the root."""
    return f"omniglot/images_background/{name}"


def model_name(data: str, backbone: str, method: str) -> str:
    """As `cifar100-resnet29-mn`; an alphabet by its last name."""
    return f"{data.rpartition('/')[2]}-{backbone}-{method}"


def models_of(data: str, backbones: tuple[str, ...], methods: tuple[str, ...]) -> dict[str, Options]:
    """The models of methods of `METHODS` on CIFAR-10 or CIFAR-100: of published backbones, and the reduced ones."""
    found: dict[str, Options] = {}
    for method in methods:
        found[model_name(data, SMALL_NET, method)] = reduced(data, METHODS[method])
        for backbone in backbones:
            found[model_name(data, backbone, method)] = published(data, backbone, METHODS[method])
    return found


def small_models(data: str, methods: tuple[str, ...]) -> dict[str, Options]:
    """The models of methods on digits or an alphabet."""
    return {f"small-{model_name(data, SMALL_NET, method)}": small(data, METHODS[method]) for method in methods}

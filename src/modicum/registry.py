"""Names -> "module:Class". Importing this module imports nothing else of the package but its errors."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from modicum.errors import ConfigError

HEADS: Mapping[str, str] = {
    "protonet": "modicum.adaptation.protonet:ProtoNetHead",
    "cosine": "modicum.adaptation.cosine:CosineHead",
    "ridge": "modicum.adaptation.ridge:RidgeHead",
    "r2d2": "modicum.adaptation.r2d2:R2D2Head",
    "metaoptnet-rr": "modicum.adaptation.metaoptnet:MetaOptNetRRHead",
    "metaoptnet-svm": "modicum.adaptation.metaoptnet:MetaOptNetSVMHead",
    "mct": "modicum.adaptation.mct:MCTHead",
    "mct-transductive": "modicum.adaptation.mct:MCTTransductiveHead",
    "linear": "modicum.adaptation.probes:LinearProbeHead",
    "svm": "modicum.adaptation.probes:SVMProbeHead",
}
LEARNERS: Mapping[str, str] = {"fine-tune": "modicum.adaptation.fine_tuning:FineTuningLearner"}
GRADIENT_METHODS: tuple[str, ...] = (
    "maml", "fomaml", "maml++", "meta-sgd", "anil", "boil", "proto-maml", "fo-proto-maml", "l2f", "alfa", "reptile",
    "reptile-wc",
)  # fmt: skip
"""Methods whose learner adapts by gradient steps; `modicum.adaptation.gradient.methods` puts them together."""
METHODS: tuple[str, ...] = (*HEADS, "classical", "rac", "meta-neighborhoods", *GRADIENT_METHODS)
PREDICTORS: Mapping[str, str] = {
    "PrototypeClassifier": "modicum.adaptation.protonet:PrototypeClassifier",
    "CosineClassifier": "modicum.adaptation.cosine:CosineClassifier",
    "LinearClassifier": "modicum.adaptation.ridge:LinearClassifier",
    "MCTClassifier": "modicum.adaptation.mct:MCTClassifier",
}
BACKBONES: Mapping[str, str] = {
    "conv4-64": "modicum.backbones.conv4:conv4_64",
    "conv4-32": "modicum.backbones.conv4:conv4_32",
    "conv4-48": "modicum.backbones.conv4:conv4_48",
    "conv4-r2d2": "modicum.backbones.conv4_r2d2:Conv4R2D2",
    "conv4-r2d2-lee": "modicum.backbones.conv4_r2d2:conv4_r2d2_lee",
    "resnet12": "modicum.backbones.resnet12:resnet12_metaoptnet",
    "resnet12-alfa": "modicum.backbones.resnet12:resnet12_alfa",
    "resnet29": "modicum.backbones.preact_resnet:resnet29",
    "resnet29-signed": "modicum.backbones.preact_resnet:resnet29_signed",
    "resnet56": "modicum.backbones.preact_resnet:resnet56",
    "resnet56-signed": "modicum.backbones.preact_resnet:resnet56_signed",
    "densenet40-bc": "modicum.backbones.densenet:densenet40_bc",
    "densenet40-bc-signed": "modicum.backbones.densenet:densenet40_bc_signed",
    "conv4-192": "modicum.backbones.mn_convnet:conv4_192",
    "conv4-192-signed": "modicum.backbones.mn_convnet:conv4_192_signed",
    "vgg7": "modicum.backbones.vgg7:vgg7",
    "vgg7-32": "modicum.backbones.vgg7:vgg7_32",
    "vgg7-16": "modicum.backbones.vgg7:vgg7_16",
    "resnet20": "modicum.backbones.cifar_resnet:resnet20",
    "resnet20-8": "modicum.backbones.cifar_resnet:resnet20_8",
    "alexnet": "modicum.backbones.alexnet:AlexNet",
    "resnet18": "modicum.backbones.imagenet_resnet:resnet18",
    "resnet50": "modicum.backbones.imagenet_resnet:resnet50",
}


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint " (did you mean 'X'?)" for a mistyped name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def resolve(kind: str, table: Mapping[str, str], name: str) -> Any:
    """The object a registry table names; unknown names raise `ConfigError` with the nearest known one."""
    if name not in table:
        known = ", ".join(sorted(table))
        raise ConfigError(f"unknown {kind} {name!r}{suggest(name, table)}; known: {known}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)

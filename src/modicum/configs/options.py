"""What the options of several commands share: their choices, and how a wrong value is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from modicum.errors import ConfigError
from modicum.registry import suggest

BatchNorm = Literal["running", "support", "batch"]
TestNorm = Literal["running", "support", "batch", "both"]
Precision = Literal["float32", "bfloat16"]
Schedule = Literal[
    "lee", "classical", "halving", "cosine", "cosine-warm", "linear", "three-quarters", "wrapnet", "wrapnet-imagenet",
    "constant",
]  # fmt: skip
Regularizer = Literal[
    "none", "feature-clustering", "hyperplane-variation", "feature-clustering-batch", "hyperplane-variation-printed"
]
Strategy = Literal["auto", "loop", "grouped", "vmap", "compiled"]
Init = Literal["method", "meta", "random", "l2f", "prototypes"]
Moves = Literal["method", "all", "head", "body"]
Adaptivity = Literal["generated", "learned", "fixed"]
Ensemble = Literal["none", "best", "periodic"]
Scale = Literal["smoke", "cpu", "full"]
KNOWN_SETS = ("digits", "omniglot", "cifar10", "cifar100", "cifar100-coarse", "cifar-fs", "fc100", "mini-imagenet")


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with the message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_known(option: str, name: str | None, known: Iterable[str], prefixes: tuple[str, ...] = ()) -> None:
    """Raise `ConfigError` with the nearest known name unless the name is known, begins with a prefix, or is None."""
    names = list(known)
    if name is not None and name not in names and not name.startswith(prefixes or ("\0",)):
        others = [f"{prefix}NAME" for prefix in prefixes]
        raise ConfigError(f"{option}: unknown {name!r}{suggest(name, names)}; known: {', '.join([*names, *others])}")

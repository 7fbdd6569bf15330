"""What a training on regression tasks is, and what its options must not be; no maths."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from modicum.configs.neighborhoods import NEIGHBORHOODS, is_table
from modicum.configs.options import require
from modicum.registry import GRADIENT_METHODS

if TYPE_CHECKING:
    from modicum.configs.training import Train

SINUSOIDS = "sinusoids"
MLP = "mlp-"
METHODS = tuple(name for name in GRADIENT_METHODS if "proto" not in name)
"""Methods that regress: those that need no classes."""
OF_PICTURES = (
    "splits", "augment", "image_size", "channels", "support_pool", "query_pool", "task_pool", "support_noise", "with_val",
)  # fmt: skip


def is_regression(config: Train) -> bool:
    """Whether tasks are (x, y) pairs: the sinusoids, or a table with a target."""
    return config.method != NEIGHBORHOODS and (config.data == SINUSOIDS or config.target is not None)


def check_regression(config: Train) -> None:
    """Raise `ConfigError` for options that make no sense in regression, and for its network on pictures."""
    mlp = config.backbone.startswith(MLP)
    if not is_regression(config):
        require(
            not mlp or is_table(config),
            f"backbone: {config.backbone} reads numbers, not pictures; it goes with --data {SINUSOIDS}, or with a table of "
            "regression tasks and --target",
        )
        return
    require(mlp, f"backbone: regression takes mlp-W-W... (widths of hidden layers, as mlp-40-40), found {config.backbone}")
    require(
        config.method in METHODS,
        f"method: {config.method} does not regress; expected one of {', '.join(METHODS)}",
    )
    require(config.init != "prototypes", "init: prototypes are means of classes, which regression does not have")
    require(
        config.data != SINUSOIDS or config.target is None,
        f"target: {SINUSOIDS} have one target and no columns; leave --target out",
    )
    options = [field for field in fields(config) if field.name in OF_PICTURES]
    given = [field.name for field in options if getattr(config, field.name) != field.default]
    require(not given, f"{', '.join(given)}: for pictures only, and these are regression tasks; leave it out")

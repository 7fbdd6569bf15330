"""What the sweeps of RAC share: rows of CIFAR-100-LT, each a model that differs in one option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modicum.recipes.long_tail_models import LT, E, with_referred
from modicum.recipes.models import Options
from modicum.recipes.rac_tables import NO_NUMBERS, by_bucket, names_of, row_name
from modicum.recipes.recipe import Order, Row

Named = Mapping[str, tuple[str, Options]]
"""Setting as it is printed -> (model, its options)."""
FOREIGN: Mapping[str, Any] = {"branches": "retrieval", "pretrained": None, "encoder": E}


def sweep_rows(settings: Named, branch: str, data: str = LT) -> tuple[Row, ...]:
    """many, medium, few, all of every setting."""
    return tuple(
        row
        for shown, (name, options) in settings.items()
        for row in by_bucket(data, shown, names_of(data, name.removeprefix(f"{data}-"), {name: options}), branch, NO_NUMBERS)
    )


def sweep_models(settings: Named) -> dict[str, Options]:
    """The models of the settings and those that they refer to."""
    return with_referred(dict(settings.values()))


def sweep_orders(pairs: Sequence[tuple[str, str, str, str]], data: str = LT) -> tuple[Order, ...]:
    """Orders from (better setting, worse setting, bucket, claim)."""
    return tuple(Order(row_name(data, a, bucket), row_name(data, b, bucket), claim) for a, b, bucket, claim in pairs)

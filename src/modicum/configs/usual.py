"""Defaults of `Train` that depend on the method: told from the same values given by a user until a method settles them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modicum.configs.training import Train


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


PENDING = ("steps", "batch_pictures", "warmup", "validate_every", "neighbours", "entries")
"""What only the data can say, where a method trains on pictures of all classes or on the rows of a table."""


def settle(config: Train, values: Mapping[str, Any] | None = None) -> None:
    """Make defaults plain: those in `values` the method's own, the others general; with values, PENDING stay marked."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_usual(value) and (values is None or field.name in values or field.name not in PENDING):
            general = _PLAIN[type(value)](value)
            object.__setattr__(config, field.name, (values or {}).get(field.name, general))

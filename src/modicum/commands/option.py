"""One option of a command: a field of its dataclass, with how it is written and what its value has to be."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

_AT_SIGHT: Mapping[Any, Callable[[str], Any]] = {
    str: str,  # text stays as it is: a class may be called "null"
    bool: {"true": True, "false": False}.get,
    int: lambda word: int(word) if re.fullmatch(r"-?(0|[1-9]\d*)", word) else None,
}


@dataclass(frozen=True)
class Option:
    """One option of a command: a field of its dataclass."""

    name: str  # the field, also the key in a YAML file
    hint: Any  # its type
    default: Any  # MISSING where the option is required
    help: str
    metavar: str
    positional: bool
    group: str = ""  # what it is about, "" for the options of a command that has no groups, and for its first

    @property
    def flag(self) -> str:
        """As it is written on the command line; `class` cannot be a field's name."""
        return "--class" if self.name == "class_name" else f"--{self.name}"

    @property
    def shown(self) -> str:
        """As messages name it: `DIR` or `--ways`."""
        return self.metavar if self.positional else self.flag

    @property
    def required(self) -> bool:
        """Whether the command refuses to run without it."""
        return self.default is MISSING

    @property
    def kind(self) -> Any:
        """The type without `| None` and without `list`."""
        hint = self.hint
        if isinstance(hint, types.UnionType):
            hint = next(part for part in typing.get_args(hint) if part is not type(None))
        return typing.get_args(hint)[0] if self.many else hint

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(self.hint) is list

    @property
    def is_switch(self) -> bool:
        """Whether `--name` alone means true."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, or () where any will do."""
        return typing.get_args(self.kind) if typing.get_origin(self.kind) is typing.Literal else ()

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        one, several = {
            int: ("a whole number", "whole numbers, as in `1 5`"),
            float: ("a number", "numbers"),
            bool: ("true or false", ""),
        }.get(self.kind, ("text", "texts"))
        return several if self.many else one

    def at_sight(self, value: Any) -> Any:
        """The value that words mean where that needs no library, which takes longer to import than some commands run; else
        None."""
        words = value if self.many and isinstance(value, list) else [value]
        read = _AT_SIGHT.get(self.kind)
        if read is None or not all(isinstance(word, str) for word in words):
            return None
        values = [read(word) for word in words]
        if any(found is None for found in values):
            return None
        return values if self.many else values[0]

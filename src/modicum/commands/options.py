"""The commands and their options, read from the dataclasses in `modicum.configs`; imports no parser, no numpy, no torch.

Help texts are the comments behind the fields; a comment that stands alone names the group of the fields below it. Help,
parsing and the tables in the documentation are all made from here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any

from modicum import configs

_FIELD = re.compile(r"^    (\w+): .*?  # (.*)$")
_GROUP = re.compile(r"^    # (.*)$")


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


@dataclass(frozen=True)
class Command:
    """One command: its dataclass, which fields are positional, an example, and what an interruption leaves behind."""

    name: str
    config: type[Any]
    positionals: Mapping[str, str]  # field -> how the help calls it
    example: str
    interrupted: str  # format string over the fields

    @property
    def summary(self) -> str:
        """The docstring of the dataclass."""
        return inspect.cleandoc(self.config.__doc__ or "")

    @property
    def options(self) -> tuple[Option, ...]:
        """All options, positional ones first."""
        return _options(self.name)

    @property
    def module(self) -> str:
        """The module whose `run(config)` does it."""
        return f"modicum.commands.{self.name}"


def _command(config: type[Any], positionals: Mapping[str, str], example: str, interrupted: str) -> tuple[str, Command]:
    name = config.__name__.lower()
    return name, Command(name, config, positionals, example, interrupted)


_WHOLE = "the classifier in {out} is whole; without a page, `modicum report` makes one"
_KEPT = "the classifier {classifier} is whole, as it was before or already changed"
COMMANDS: Mapping[str, Command] = dict(
    (
        _command(configs.Check, {"data": "DATA"}, "check pictures/", "nothing was changed"),
        _command(
            configs.Fit,
            {"data": "DIR"},
            "fit pictures/ --out classifier",
            _WHOLE,
        ),
        _command(
            configs.Predict,
            {"classifier": "CLASSIFIER", "images": "IMAGE"},
            "predict classifier new.png --top 5",
            "nothing was changed",
        ),
        _command(configs.Extend, {"classifier": "CLASSIFIER", "data": "DIR"}, "extend classifier more-pictures/", _KEPT),
        _command(configs.Forget, {"classifier": "CLASSIFIER"}, "forget classifier --class cat", _KEPT),
        _command(
            configs.Train,
            {},
            "train --data digits --ways 5 --shots 1 --steps 500 --out run",
            "{out} holds the checkpoints so far; go on with the same command and --resume",
        ),
        _command(
            configs.Evaluate,
            {"run": "RUN"},
            "evaluate run --shots 1 5 --tasks 1000 --json result.json",
            "the run {run} is unchanged; no result was written",
        ),
        _command(
            configs.Compare,
            {"models": "MODEL"},
            "compare run other-run --shots 1 5 --out comparison",
            "the models are unchanged; no comparison was written",
        ),
        _command(
            configs.Adapt,
            {"run": "RUN"},
            "adapt run --support pictures/ --out classifier",
            _WHOLE,
        ),
        _command(
            configs.Report, {"sources": "RUN|CLASSIFIER"}, "report run --out report.html", "no half-written page is left"
        ),
        _command(
            configs.Reproduce,
            {"name": "NAME"},
            "reproduce list",
            "finished rows and seeds are in {results}; the same command goes on from there",
        ),
        _command(configs.Demo, {}, "demo", "{out} holds what was finished; the same command starts again"),
        _command(configs.Cache, {"action": "ls|clear"}, "cache ls", "pictures not yet deleted are still cached"),
    )
)


@cache
def _comments() -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Class name -> field -> the comment behind it and its group, from the sources of `modicum.configs`."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    current: dict[str, tuple[str, str]] = {}
    group = ""
    modules = dict.fromkeys(command.config.__module__ for command in COMMANDS.values())
    for line in "\n".join(inspect.getsource(sys.modules[name]) for name in modules).splitlines():
        if line.startswith("class "):
            current, group = found.setdefault(line[len("class ") :].rstrip(":").partition("(")[0], {}), ""
        elif match := _FIELD.match(line):
            current[match[1]] = match[2].strip(), group
        elif title := _GROUP.match(line):
            group = title[1].strip()
    return found


def _metavar(name: str, hint: Any, positional: str | None) -> str:
    if positional:
        return positional
    kinds = {"int": "N", "float": "X"}
    words = [kinds[word] for word in kinds if re.search(rf"\b{word}\b", str(hint))]
    return words[0] if words else {"json": "FILE", "out": "FOLDER", "class_name": "NAME"}.get(name, name.upper())


@cache
def _options(command: str) -> tuple[Option, ...]:
    spec = COMMANDS[command]
    hints = typing.get_type_hints(spec.config)
    comments = _comments().get(spec.config.__name__, {})
    made = []
    for field in dataclasses.fields(spec.config):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        positional = spec.positionals.get(field.name)
        metavar = _metavar(field.name, hints[field.name], positional)
        text, group = comments.get(field.name, ("", ""))
        made.append(Option(field.name, hints[field.name], default, text, metavar, positional is not None, group))
    return tuple(sorted(made, key=lambda option: not option.positional))

"""From the words of a command line and a YAML file to a configuration: a thin layer over jsonargparse.

jsonargparse reads YAML and checks and converts values by the type hints of the dataclass. The words are cut up here,
because it does not take `--shots 1 5` beside positional arguments, a bare `--resume` beside `--resume false`, `--batch-norm`
for `batch_norm`, or suggest a name, and because its messages speak of types and not of options.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from modicum.commands.help import command_help, usage
from modicum.commands.option import Option
from modicum.commands.options import COMMANDS, GROUPS, Command
from modicum.configs.usual import is_usual
from modicum.errors import ConfigError
from modicum.registry import suggest

_ANSWERS = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


class Request(NamedTuple):
    """What a command line asks for: a configuration, or a text to print."""

    config: Any = None
    text: str = ""


class _Words:
    """Cuts the words of one command up into field -> value or values, all still text."""

    def __init__(self, command: Command, words: Sequence[str]) -> None:
        self.command = command
        self.words = list(words)
        self.known = {option.name: option for option in command.options}
        self.known |= {option.flag[2:]: option for option in command.options}
        self.values: dict[str, Any] = {}
        self.loose: list[str] = []
        self.files: list[str] = []
        self.print_config = False

    def read(self) -> None:
        """Sort all words into values and loose ones, then give the loose ones to the positionals; `ConfigError`."""
        while self.words:
            word = self.words.pop(0)
            if word == "--":
                self.loose += self.words
                self.words = []
            elif word.startswith("--"):
                self._flag(word)
            elif word.startswith("-") and len(word) > 1 and not _is_number(word):
                raise ConfigError(f"unknown option {word}; options begin with two dashes, a file of this name is ./{word}")
            else:
                self.loose.append(word)
        self._place()

    def _flag(self, word: str) -> None:
        written, joined, value = word[2:].partition("=")
        name = written.replace("-", "_")
        if name == "config":
            self.files.append(value if joined else self._next("--config", "a YAML file"))
        elif name == "print_config" and not joined:
            self.print_config = True
        elif name in self.known:
            self._take(self.known[name], [value] if joined else [])
        elif (option := self.known.get(name.removeprefix("no_"))) and option.is_switch and not joined:
            self.values[option.name] = "false"
        else:
            known = [*sorted({option.flag for option in self.command.options}), "--config", "--print_config", "--help"]
            hint = suggest(f"--{name}", known)
            raise ConfigError(
                f"modicum {self.command.name} has no option --{written}{hint}; all: modicum {self.command.name} --help"
            )

    def _next(self, flag: str, expected: str) -> str:
        if not self.words or self.words[0].startswith("--"):
            raise ConfigError(f"{flag}: expected {expected} behind it, found nothing")
        return self.words.pop(0)

    def _take(self, option: Option, given: list[str]) -> None:
        if option.is_switch:
            if not given and self.words and self._is_answer(self.words[0]):
                given = [self.words.pop(0)]
            word = given[0] if given else "true"
            self.values[option.name] = _ANSWERS.get(word.lower(), word)
        elif not option.many:
            self.values[option.name] = given[0] if given else self._next(option.flag, option.expected)
        else:
            given = given or [self._next(option.flag, option.expected)]
            while self.words and not self.words[0].startswith("--") and not self._ends(option, self.words[0]):
                given.append(self.words.pop(0))
            self.values[option.name] = self.values.get(option.name, []) + given

    def _is_answer(self, word: str) -> bool:
        """Whether a word behind a switch belongs to it; a command without positional arguments has no other use for it."""
        if word.startswith("--"):
            return False
        return word.lower() in _ANSWERS or not any(option.positional for option in self.command.options)

    def _ends(self, option: Option, word: str) -> bool:
        """Whether a word behind `--shots 1 5` is no number, so the positional argument that is still missing."""
        missing = sum(o.positional for o in self.command.options) > len(self.loose)
        return option.kind is int and missing and not _is_number(word)

    def _place(self) -> None:
        """Give the loose words to the positional options in order."""
        for option in (o for o in self.command.options if o.positional and o.name not in self.values):
            if option.many and self.loose:
                self.values[option.name], self.loose = self.loose, []
            elif self.loose:
                self.values[option.name] = self.loose.pop(0)
        if self.loose:
            hint = " (quote a name with spaces in it)" if len(self.loose) > 1 else ""
            raise ConfigError(
                f"modicum {self.command.name}: nothing to do with {' '.join(map(repr, self.loose))}{hint}; "
                f"usage: {usage(self.command)}"
            )


def _is_number(word: str) -> bool:
    with contextlib.suppress(ValueError):
        float(word)
        return True
    return False


def _read_yaml(path: str, known: Mapping[str, Option]) -> dict[str, Any]:
    from jsonargparse import get_loader
    from yaml import YAMLError

    try:
        content = get_loader("yaml")(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--config: cannot read {path}: {getattr(error, 'strerror', None) or 'not a text file'}"
        ) from error
    except YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise ConfigError(f"--config: {path} is not valid YAML{line}: {getattr(error, 'problem', error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"--config: {path}: expected lines `option: value`, found {type(content).__name__}")
    values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            hint = suggest(name, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"--config: {path}: unknown key {key!r}{hint}")
        values[known[name].name] = value
    return values


def _typed(command: Command) -> Callable[[Option, Any, str], Any]:
    """A function that converts a value to an option's type or raises `ConfigError` in the option's own words."""

    @cache
    def parser() -> Any:
        """One parser of all options, made when a value is first not told at sight."""
        from jsonargparse import ArgumentParser

        made = ArgumentParser(exit_on_error=False)
        for option in command.options:
            made.add_argument(f"--{option.name}", type=option.hint, default=None)
        return made

    def convert(option: Option, value: Any, origin: str) -> Any:
        """The value in the option's type; origin: where it was given, for the message."""
        if value is None and option.default is None:
            return None
        if (found := option.at_sight(value)) is not None:
            return found
        if option.many and not isinstance(value, list):
            value = [value]
        from jsonargparse import ArgumentError

        try:
            if value is None:
                raise TypeError("null")
            return parser().parse_object({option.name: value})[option.name]
        except (ArgumentError, TypeError) as error:
            found = " ".join(map(str, value)) if option.many and isinstance(value, list) else value
            near = suggest(str(found), option.choices)
            hint = '; put it in quotes: "..."' if option.kind is str and not isinstance(found, str) else near
            raise ConfigError(f"{origin}{option.shown}: expected {option.expected}, found {found!r}{hint}") from error

    return convert


def _as_yaml(command: Command, values: Mapping[str, Any]) -> str:
    """All options as YAML with their help as comments; feeding it to --config gives the same values.

    A default that depends on another option stands behind a mark: a value without one counts as asked for.
    """
    lines = [f"# modicum {command.name} --config FILE"]
    for option in command.options:
        if option.required and option.name not in values:
            lines.append(f"# {option.name}:  # required: {option.help}")
            continue
        value = values.get(option.name, option.default)
        mark = "# " if is_usual(value) else ""
        lines.append(f"{mark}{option.name}: {json.dumps(value, ensure_ascii=False)}  # {option.help}")
    return "\n".join(lines) + "\n"


def _missing(command: Command, missing: Sequence[Option]) -> ConfigError:
    names = ", ".join(f"{option.shown} ({option.help})" for option in missing)
    return ConfigError(f"modicum {command.name}: missing {names}; usage: {usage(command)}")


def parse(name: str, words: Sequence[str]) -> Request:
    """Read the words behind a command's name; `ConfigError` where they make no sense."""
    if name not in COMMANDS:
        group = name.partition(" ")[0]
        near = [known for known in COMMANDS if known.startswith(f"{group} ")]
        known = near or [*(name for name in COMMANDS if " " not in name), *GROUPS]
        raise ConfigError(f"unknown command {name!r}{suggest(name, known)}; commands: {', '.join(known)}")
    command = COMMANDS[name]
    own = list(words[: words.index("--")]) if "--" in words else list(words)
    if "--help" in own or "-h" in own:
        return Request(text=command_help(command))
    cut = _Words(command, words)
    cut.read()
    convert = _typed(command)
    values: dict[str, Any] = {}
    by_name = {option.name: option for option in command.options}
    for path in cut.files:
        read = _read_yaml(path, cut.known)
        values |= {key: convert(by_name[key], value, f"{path}: ") for key, value in read.items()}
    values |= {key: convert(by_name[key], value, "") for key, value in cut.values.items()}
    missing = [option for option in command.options if option.required and option.name not in values]
    if cut.print_config:
        return Request(text=_as_yaml(command, values))
    if missing:
        raise _missing(command, missing)
    return Request(config=command.config(**values))

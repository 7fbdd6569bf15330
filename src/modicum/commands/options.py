"""The commands and their options, read from the dataclasses in `modicum.configs`; imports no parser, no numpy, no torch.

Help texts are the comments behind the fields; a comment that stands alone names the group of the fields below it. Help,
parsing and the tables in the documentation are all made from here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any

from modicum import configs
from modicum.commands.option import Option

_FIELD = re.compile(r"^    (\w+): .*?  # (.*)$")
_GROUP = re.compile(r"^    # (.*)$")


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
        return f"modicum.commands.{self.name.replace(' ', '.')}"


def _command(config: type[Any], positionals: Mapping[str, str], example: str, interrupted: str) -> tuple[str, Command]:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", config.__name__).lower()  # MemoryAdd is `memory add`
    return name, Command(name, config, positionals, example, interrupted)


GROUPS: Mapping[str, str] = {"memory": "An external memory of embedded pictures that can be edited at any time."}
"""First words of the commands of two words, and what these are about."""
_STORE = {"store": "STORE"}
_UNCHANGED = "the items of {store} are all changed or all as they were"
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
            configs.Quantize,
            {"run": "RUN"},
            "quantize run --weights binary --accumulator 8 --out low-bit",
            "{out} holds the finished stages and the last checkpoint; go on with the same command and --resume",
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
        _command(
            configs.MemoryCreate,
            _STORE,
            "memory create things --encoder pictures",
            "{store} is an empty memory, or none yet",
        ),
        _command(
            configs.MemoryAdd,
            {**_STORE, "data": "DIR"},
            "memory add things pictures/",
            "what was added so far is in {store} for good; the same command goes on from there",
        ),
        _command(configs.MemoryRemove, {**_STORE, "ids": "ID"}, "memory remove things --source pictures", _UNCHANGED),
        _command(configs.MemoryRelabel, {**_STORE, "ids": "ID"}, "memory relabel things 5243 --label shirt", _UNCHANGED),
        _command(configs.MemoryList, _STORE, "memory list things --json items.json", "nothing was changed"),
        _command(configs.MemorySearch, {**_STORE, "images": "IMAGE"}, "memory search things new.png", "nothing was changed"),
        _command(configs.MemoryStats, _STORE, "memory stats things", "nothing was changed"),
        _command(configs.MemoryVerify, _STORE, "memory verify things", "nothing was changed"),
        _command(configs.MemoryRebuild, _STORE, "memory rebuild things", "the index in {store} is the old one"),
        _command(
            configs.MemoryMove,
            {**_STORE, "target": "TARGET"},
            "memory move things things-2",
            "{store} is unchanged, {target} is not there",
        ),
    )
)


def named(words: Sequence[str]) -> tuple[str, list[str]]:
    """(name of the command, the words behind it): one word, or two where the first is one of GROUPS."""
    size = 2 if words[0] in GROUPS and len(words) > 1 else 1
    return " ".join(words[:size]), list(words[size:])


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
    return (
        words[0]
        if words
        else {"json": "FILE", "texts": "FILE", "out": "FOLDER", "class_name": "NAME", "names": "NAME"}.get(
            name, name.upper()
        )
    )


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

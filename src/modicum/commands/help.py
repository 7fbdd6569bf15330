"""`modicum --help` and `modicum COMMAND --help`, without importing jsonargparse, numpy or torch.

Importing jsonargparse alone takes 0.13 s of the 0.2 s in which help has to be there, so help is rendered by the standard
library's argparse from the same table of options that the parser uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from modicum.commands.option import Option
from modicum.commands.options import COMMANDS, GROUPS, Command

GENERAL = (
    ("--config FILE", "YAML file with options as keys; options on the command line win"),
    ("--print_config", "print all options as YAML, to be edited and given to --config, and stop"),
    ("--debug", "show where in the code an error came up"),
    ("-h, --help", "show this and stop"),
)


def value_of(option: Option) -> str:
    """How the value is written in help: `N`, `{a,b}`, `N [N ...]`; nothing for a switch."""
    if option.is_switch:
        return ""
    one = "{" + ",".join(option.choices) + "}" if option.choices and not option.positional else option.metavar
    return f"{one} [{one} ...]" if option.many else one


def default_of(option: Option) -> str:
    """The default as it would be written, or "" where there is none worth a word."""
    if option.required or option.default is None or option.default == []:
        return ""
    if isinstance(option.default, bool):
        return "on" if option.default else ""
    return " ".join(map(str, option.default)) if option.many else str(option.default)


def usage(command: Command) -> str:
    """`modicum fit DIR --out FOLDER [options]`: what must be given."""
    words = []
    for option in command.options:
        if option.positional:
            words.append(value_of(option) if option.required else f"[{option.metavar} ...]")
        elif option.required:
            words.append(f"{option.flag} {value_of(option)}")
    return " ".join(["modicum", command.name, *words, "[options]"])


def _explained(option: Option) -> str:
    default = default_of(option)
    notes = [f"default: {default}"] if default else []
    if option.is_switch and option.default:
        notes = [f"on; --no_{option.name} turns it off"]
    if option.required and not option.positional:
        notes = ["required"]
    return option.help + (f" ({'; '.join(notes)})" if notes else "")


def _rows(formatter: argparse.HelpFormatter, title: str, rows: Iterable[tuple[str, str]]) -> None:
    formatter.start_section(title)
    for name, text in rows:
        formatter.add_argument(argparse.Action([], name, metavar=name, help=text.replace("%", "%%")))
    formatter.end_section()


def _formatter() -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog="modicum", max_help_position=30)


def command_help(command: Command) -> str:
    """The help of one command."""
    formatter = _formatter()
    formatter.add_text(command.summary)
    given = [option for option in command.options if option.positional]
    flags = sorted((option for option in command.options if not option.positional), key=lambda o: not o.required)
    if given:
        _rows(formatter, "arguments", [(option.metavar, _explained(option)) for option in given])
    for group in dict.fromkeys(option.group for option in flags):
        mine = [(f"{o.flag} {value_of(o)}".strip(), _explained(o)) for o in flags if o.group == group]
        _rows(formatter, group or "options", mine)
    _rows(formatter, "general", GENERAL)
    example = f"example:\n  modicum {command.example}\n"
    return f"usage: {usage(command)}\n\n{formatter.format_help()}\n{example}"


def overview() -> str:
    """The help of `modicum` itself."""
    formatter = _formatter()
    formatter.add_text("Learns image classifiers from little data and runs them on little hardware.")
    groups = {
        "your own pictures": ("check", "fit", "predict", "extend", "forget"),
        "research": ("train", "quantize", "evaluate", "compare", "adapt", "reproduce"),
        "more": ("memory", "report", "demo", "cache"),
    }
    for title, names in groups.items():
        _rows(formatter, title, [(name, GROUPS.get(name) or COMMANDS[name].summary) for name in names])
    _rows(formatter, "general", [("--version", "print the version"), GENERAL[-1]])
    end = "modicum COMMAND --help explains one command. Start with: modicum demo\n"
    return f"usage: modicum COMMAND ...\n\n{formatter.format_help()}\n{end}"


def group_overview(group: str) -> str:
    """The help of the first word of commands of two words: its actions."""
    formatter = _formatter()
    formatter.add_text(GROUPS[group])
    own = [command for name, command in COMMANDS.items() if name.startswith(f"{group} ")]
    _rows(formatter, "actions", [(command.name.partition(" ")[2], command.summary) for command in own])
    end = f"modicum {group} ACTION --help explains one action. Start with: modicum {own[0].example}\n"
    return f"usage: modicum {group} ACTION ...\n\n{formatter.format_help()}\n{end}"

"""Writes the tables of options in docs/commands.md from the dataclasses in modicum.configs.

python docs/write_options.py          rewrite the tables
python docs/write_options.py --check  exit code 1 where a table is stale
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from modicum.commands.help import default_of, usage, value_of
from modicum.commands.option import Option
from modicum.commands.options import COMMANDS, Command

PAGE = Path(__file__).with_name("commands.md")
BLOCK = re.compile(r"<!-- options of ([\w ]+) -->\n.*?<!-- end -->\n", re.DOTALL)


def cell(text: str) -> str:
    """Text that can stand in a table."""
    return text.replace("|", r"\|").replace("<", "&lt;")


def row(option: Option) -> str:
    """One option as a row of the table."""
    written = option.metavar if option.positional else f"{option.flag} {value_of(option)}".strip()
    default = "required" if option.required else default_of(option)
    return f"| `{cell(written)}` | {cell(option.help)} | {cell(default)} |"


def block(command: Command) -> str:
    """The generated part of a command's section."""
    lines = ["```text", usage(command), "```"]
    for group in dict.fromkeys(option.group for option in command.options):
        lines += ["", f"{cell(group)[:1].upper()}{cell(group)[1:]}"] if group else []
        lines += ["", "| option | what it is | default |", "|---|---|---|"]
        lines += [row(option) for option in command.options if option.group == group]
    return "\n".join([f"<!-- options of {command.name} -->", "", *lines, "", "<!-- end -->\n"])


def rewritten(page: str) -> str:
    """The page with fresh tables."""
    return BLOCK.sub(lambda match: block(COMMANDS[match[1]]), page)


def main() -> int:
    """Rewrite or check the page."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = rewritten(page)
    if "--check" in sys.argv[1:]:
        return int(page != fresh)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""docs/commands.md: its tables are those of the program, and its examples are accepted."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from modicum.commands.options import COMMANDS, named
from modicum.commands.parsing import parse

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "commands.md").read_text(encoding="utf-8")
EXAMPLES = [line for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_options", DOCS / "write_options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_options_are_fresh() -> None:
    assert writer().rewritten(PAGE) == PAGE, "run: python docs/write_options.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_with_its_table_and_an_example(name: str) -> None:
    section = re.search(rf"^### {name}\n(.*?)(?=^##)", PAGE + "\n## ", re.DOTALL | re.MULTILINE)
    assert section is not None
    assert f"<!-- options of {name} -->" in section[1]
    assert f"\nmodicum {COMMANDS[name].example}\n" in section[1] or f"\nmodicum {name} " in section[1]


@pytest.mark.parametrize("line", [line for line in EXAMPLES if "[options]" not in line and "--config" not in line])
def test_every_example_of_the_page_and_of_the_help_is_accepted(line: str) -> None:
    program, *rest = shlex.split(line)
    assert program == "modicum"
    name, words = named(rest)
    assert isinstance(parse(name, words).config, COMMANDS[name].config)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_the_help_is_accepted(name: str) -> None:
    command = COMMANDS[name]
    first, words = named(shlex.split(command.example))
    assert first == name
    assert isinstance(parse(name, words).config, command.config)

"""What README and documents tell a reader to type is what the program accepts; their pages and pictures exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modicum import configs
from modicum.commands.options import COMMANDS
from modicum.commands.parsing import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def command_lines() -> list[tuple[str, str]]:
    """(page, `modicum ...` line) of every fenced block that is not a form with [options] or NAME..."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```(?:sh|text|console)?\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in re.split(r"\n|&&|\|", block.replace("\\\n", " ")):
                command = line.strip().removeprefix("$ ")
                if command.startswith("modicum ") and not re.search(r"\[options\]|[A-Z]{3,} ?\.\.\.", command):
                    found.append((page.relative_to(ROOT).as_posix(), command))
    return found


LINES = command_lines()


def test_there_are_examples_of_every_command():
    shown = {shlex.split(line)[1] for _, line in LINES}
    assert set(COMMANDS) - shown == set()


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}:{line}"[:80] for page, line in LINES])
def test_every_command_line_shown_is_accepted(page, line):
    """Names of commands and options, numbers of values and their types; no file is touched."""
    words = shlex.split(line, comments=True)
    if words[1].startswith("-"):
        assert words[1] in ("--help", "--version")
        return
    assert words[1] in COMMANDS
    if "--help" not in words and "--config" not in words:
        request = parse(words[1], words[2:])
        assert request.text or type(request.config).__module__ == configs.__name__


def test_every_link_between_documents_leads_somewhere():
    lost = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT).as_posix()}: {target}")
    assert lost == []


def test_every_module_has_its_place_in_the_api_pages():
    """Every public module below the commands stands on a page of docs/api."""
    source = ROOT / "src" / "modicum"
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    listed = set(re.findall(r"automodule:: (modicum[\w.]*)", pages))
    there = {
        "modicum." + path.relative_to(source).with_suffix("").as_posix().replace("/", ".")
        for path in source.rglob("*.py")
        if path.name != "__init__.py" and not path.relative_to(source).as_posix().startswith(("commands", "cli"))
    }
    assert there ^ listed == set()

"""What README and documents tell a reader to type is what the program accepts; their pages and pictures exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modicum import configs
from modicum.commands.options import COMMANDS, named
from modicum.commands.parsing import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = "commands.md"  # its examples have tests of their own in tests/commands/test_page.py


def command_lines() -> list[tuple[str, str]]:
    """(page, `modicum ...` line) of every fenced block that is not a form with [options] or NAME..."""
    found = []
    for page in (page for page in PAGES if page.name != ELSEWHERE):
        for block in re.findall(r"^```(?:sh|text|console)?\n(.*?)^```", page.read_text(), re.M | re.S):
            for line in re.split(r"\n|&&|\|", block.replace("\\\n", " ")):
                command = line.strip().removeprefix("$ ")
                if command.startswith("modicum ") and not re.search(r"\[options\]|[A-Z]{3,} ?\.\.\.", command):
                    found.append((page.relative_to(ROOT).as_posix(), command))
    return found


LINES = command_lines()


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}:{line}"[:80] for page, line in LINES])
def test_every_command_line_shown_is_accepted(page, line):
    """Names of commands and options, numbers of values and their types; no file is touched."""
    words = shlex.split(line, comments=True)
    if words[1].startswith("-"):
        assert words[1] in ("--help", "--version")
        return
    name, rest = named(words[1:])
    assert name in COMMANDS
    if "--help" not in words and "--config" not in words:
        request = parse(name, rest)
        assert request.text or type(request.config).__module__.startswith(configs.__name__)


def test_every_link_between_documents_leads_somewhere():
    lost = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT).as_posix()}: {target}")
    assert lost == []


def test_every_package_has_its_place_in_the_api_pages():
    """Every package and module below the commands stands on exactly one page of docs/api."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    listed = [name for names in re.findall(r"<!-- modules: (.*?) -->", pages) for name in names.split()]
    there = {path.stem for path in (ROOT / "src" / "modicum").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert sorted(listed) == sorted(there - {"__init__", "__main__", "__pycache__", "cli", "commands", "pretrained"})

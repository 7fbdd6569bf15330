"""`modicum reproduce`: the table of a recipe, or the list of recipes."""

from __future__ import annotations

import sys
from dataclasses import asdict

from modicum.commands.output import show_table, write_result
from modicum.commands.progress import progress
from modicum.configs import Reproduce
from modicum.runtime import require_one_process

LIST = "list"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_recipes(config: Reproduce) -> None:
    from modicum.recipes.runner import listing

    columns = ("recipe", "title", "source", "cost")
    recipes = listing()
    show_table("", columns, recipes)
    write_result(config.json, {"rows": [dict(zip(columns, recipe, strict=True)) for recipe in recipes]})


def run(config: Reproduce) -> int:
    """Run what is not finished yet, print the table, write the JSON; the name `list` lists the recipes."""
    if config.name == LIST:
        _show_recipes(config)
        return 0
    require_one_process("reproduce")
    from modicum.recipes.runner import reproduce
    from modicum.recipes.table import as_text

    with progress(config.name) as tick:
        table = reproduce(config, progress=tick, say=_say)
    print(as_text(table))
    write_result(config.json, asdict(table))
    return 0

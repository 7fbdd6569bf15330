"""`modicum reproduce`: the list of recipes, and the table with its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import modicum.recipes.runner
from modicum.cli import main
from modicum.configs import Reproduce
from modicum.recipes.orders import FoundOrder
from modicum.recipes.runner import RECIPES
from modicum.recipes.table import Table, TableRow


def test_list_names_every_recipe_with_its_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "list", "--json", str(tmp_path / "list.json")]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in RECIPES)
    record = json.loads((tmp_path / "list.json").read_text())
    assert [row["recipe"] for row in record["rows"]] == list(RECIPES)
    costs = [row["cost"] for row in record["rows"]]
    small = (  # a table of forty trainings takes a few minutes
        "under", "half a minute", "a minute", "about a minute", "about two minutes", "a few minutes", "nothing", "seconds",
        "a second",
    )  # fmt: skip
    assert all(cost.startswith(tuple(f"smoke: {words}" for words in small)) for cost in costs)


def test_a_table_shows_paper_ours_seeds_scale_and_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = TableRow(
        "r",
        "5-way",
        0.98,
        0.01,
        0.97,
        0.02,
        "draws of 9 tasks",
        (0, 1),
        "smoke",
        "reduced scale",
        "small",
        setting="conv4-64, omniglot",
    )
    absent = TableRow("r", "20-way", 0.96, None, None, None, "-", (), "smoke", "not run", "omniglot is not here")
    order = FoundOrder("r", "5-way", "20-way", "fewer is easier", None, None, (0, 1), "undecided", "undecided")
    asked: list[Reproduce] = []

    def reproduce(config: Reproduce, progress: object = None, say: object = None) -> Table:
        asked.append(config)
        return Table((done, absent), (order,), absent='rows "+ X"')

    monkeypatch.setattr(modicum.recipes.runner, "reproduce", reproduce)
    file = tmp_path / "table.json"
    assert main(["reproduce", "any", "--seeds", "0", "1", "--results", str(tmp_path), "--json", str(file)]) == 0
    assert (asked[0].seeds, asked[0].scale) == ([0, 1], "smoke")
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[1].split()) == "5-way 98.00 % ± 1.00 97.00 % ± 2.00 conv4-64, omniglot 0, 1 smoke reduced scale"
    assert "not run: omniglot is not here" in lines
    assert 'left out: rows "+ X"' in lines
    assert "undecided: fewer is easier [5-way above 20-way]; 2 common seed(s), an order needs 3" in lines
    record = json.loads(file.read_text())
    assert record["orders"][0]["outcome"] == "undecided"
    rows = record["rows"]
    assert (rows[0]["ours"], rows[1]["ours"], rows[1]["status"]) == (0.97, None, "not run")

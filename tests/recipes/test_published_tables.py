"""The numbers of the dissertation: what a recipe's docstring prints is what its rows hold, and some are pinned here."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from modicum.recipes.runner import RECIPES, recipe_named

TABLES = [name for name in RECIPES if name.startswith("table_") and not name.startswith("table_2_")]
SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0}


def printed(name: str) -> list[float]:
    """Numbers of the docstring's table in reading order; a time as seconds."""
    text = inspect.getdoc(importlib.import_module(f"modicum.recipes.{name}")) or ""
    found = []
    for line in text.splitlines():
        if line.startswith("| ") and re.search(r"\d+(\.\d+)?( \d+\.\d+| [smh])? ?\|?", line):
            for cell in line.strip("|").split("|")[1:]:
                if match := re.fullmatch(r"([\d.]+) (\d\.\d+)", cell.strip()):
                    found += [float(match[1]), float(match[2])]
                elif match := re.fullmatch(r"([\d.]+) ([smh]) / ([\d.]+) ([smh])", cell.strip()):
                    found += [float(match[1]) * SECONDS[match[2]], float(match[3]) * SECONDS[match[4]]]
                elif re.fullmatch(r"\d+\.\d+", cell.strip()):
                    found.append(float(cell))
    return found


@pytest.mark.parametrize("name", TABLES)
def test_rows_hold_the_numbers_the_docstring_prints(name: str) -> None:
    held = []
    for row in recipe_named(name)[1].rows:
        if row.paper is not None:
            held.append(row.paper * 100 if row.kind == "accuracy" else row.paper)
        if row.paper_ci95 is not None:
            held.append(row.paper_ci95 / 1.96 * 100)
    assert held
    assert sorted(held) == pytest.approx(sorted(printed(name)))


@pytest.mark.parametrize(
    ("name", "row", "paper"),
    [
        ("table_5_1", "R2-D2-C, ProtoNet", 0.2877),
        ("table_5_1", "MetaOptNet-M, SVM", 0.6264),
        ("table_5_2", "MetaOptNet-C, mini-ImageNet, R_FC", 3.13),
        ("table_5_2", "R2-D2-M, CIFAR-FS, R_HV", 0.95),
        ("table_5_3", "R2-D2-C w/ R_FC, CIFAR-FS, 1-shot", 0.655),
        ("table_5_3", "MetaOptNet-C w/ R_HV, mini-ImageNet, 5-shot", 0.7705),
        ("table_5_4", "MetaOptNet, CIFAR-FS, R_FC", 0.89),
        ("table_5_5", "MAML-C, R_HV", 1.8113),
        ("table_5_7", "MetaOptNet-C, MAML", 0.7132),
        ("table_5_8", "MetaOptNet-M, mini-ImageNet, in all", 88 * 3_600),
        ("table_5_8", "R2-D2-C, CIFAR-FS, an epoch", 4),
        ("table_6_1", "query 5, 5-shot", 0.7705),
        ("table_6_5", "MCT ResNet-12, CIFAR-FS, 5-shot", 0.8910),
        ("table_6_5", "ProtoNet 64-64-64-64, mini-ImageNet, 1-shot", 0.4797),
        ("table_6_8", "ProtoNet ResNet-12, support 5 noise, 5-shot", 0.5720),
        ("table_6_8", "R2-D2 CNN-4, 13 tasks, 1-shot", 0.5334),
    ],
)
def test_numbers_in_their_places(name: str, row: str, paper: float) -> None:
    found = {entry.name: entry.paper for entry in recipe_named(name)[1].rows}
    assert found[row] == pytest.approx(paper)


def test_published_orders_follow_the_published_numbers() -> None:
    """An order says that the number of its upper row lies above; so it does in the paper, where the paper has both."""
    wrong = []
    for name in TABLES:
        recipe = recipe_named(name)[1]
        paper = {row.name: row.paper for row in recipe.rows}
        for order in recipe.orders:
            upper, lower = paper[order.upper], paper[order.lower]
            if upper is not None and lower is not None and upper <= lower:
                wrong.append((name, order.upper, order.lower))
    assert wrong == []

"""`modicum compare`: models on the same tasks, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modicum.commands.output import percent, show_table
from modicum.commands.progress import progress
from modicum.configs import Compare
from modicum.runtime import require_one_process

VERDICTS = {"later": "{later} better", "first": "{first} better", "undecided": "undecided"}
PAGE = "report.html"


def _accuracies(record: Mapping[str, Any]) -> None:
    rows = []
    for row in record["rows"]:
        mode = row["batch_norm"] + (" (transductive)" if row["transductive"] else "")
        accuracy = [percent(row[key]) for key in ("accuracy", "ci95", "stderr")]
        rows.append([row["model"], row["ways"], row["shots"], *accuracy, row["tasks"], mode])
    columns = ("model", "ways", "shots", "accuracy", "95 % interval ±", "standard error ±", "tasks", "batch norm")
    show_table("", columns, rows)


def _differences(record: Mapping[str, Any]) -> None:
    rows = []
    for row in record["differences"]:
        gap = f"{100 * row['difference']:+.2f} %"
        told = VERDICTS[row["verdict"]].format_map(row)
        rows.append([row["later"], row["first"], row["shots"], gap, percent(row["ci95"]), told])
    show_table("on the same tasks", ("model", "minus", "shots", "difference", "95 % interval ±", "verdict"), rows)


def _features(record: Mapping[str, Any]) -> None:
    rows = []
    for place, model in enumerate(record["models"]):
        separation, shot = model["separation"], model["one_shot"]
        figures = [separation["clustering_pairs"]["value"], separation["variation_squared"]["value"]]
        likeness = [record["cka"][name][place][0] for name in ("linear", "debiased")]
        rows.append([model["name"], *(f"{value:.3f}" for value in (*figures, *likeness, shot["ratio"])),
                     percent(shot["bound"]), percent(shot["accuracy"]["value"])])  # fmt: skip
    columns = ("model", "R_FC pairs", "4 R_HV²", "CKA to first", "debiased", "eps", "bound", "one-shot rule")
    show_table(f"features of {record['figure_pictures']} pictures", columns, rows)


def show(record: Mapping[str, Any]) -> None:
    """Print the tables of a result of `compare` and what the intervals are over."""
    _accuracies(record)
    _differences(record)
    _features(record)
    print(f"Intervals of accuracies and differences are over {record['interval_over']};")
    print("they compare these trained models. Which METHOD is better takes several trainings of each.")


def run(config: Compare) -> int:
    """Compare, print the tables, and write the page where a folder was asked for."""
    require_one_process("compare")
    from modicum.files import check_writable
    from modicum.training.comparison import compare

    if config.out:
        check_writable(config.out)
    with progress("comparing") as tick:
        record = compare(config, progress=tick)
    show(record)
    if config.out:
        from modicum.reporting.page import write_report

        print(f"report: {write_report([Path(config.out)], Path(config.out) / PAGE)}")
    if config.json:
        print(f"result: {config.json}")
    return 0

"""What `train`, `evaluate` and `predict` say of runs on the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modicum.commands.output import counted, percent, show_table, write_result
from modicum.configs import Predict
from modicum.errors import ConfigError

if TYPE_CHECKING:
    from modicum.training.tables.predicting import TableAnswers

SHOWN = 20
"""Rows that `predict` prints at most; the JSON has all."""


def show_trained(record: Mapping[str, Any]) -> None:
    """Say what was read, and what there is to learn or was chosen."""
    data, columns = record["data"], record["table"]
    parts = ", ".join(f"{count:,} {name}" for name, count in data["parts"].items())
    print(f"data: {data['name']}, {data['rows']:,} rows: {parts}")
    print(f"inputs: {counted(len(columns['inputs']), 'column')}, target: {', '.join(columns['targets'])}")
    if "parameters" in record:
        print(f"parameters: {record['parameters']:,}")
    for name, value in record.get("choice", {}).items():
        told = ", ".join(f"{each:,}" for each in value) if isinstance(value, list) else value
        print(f"{name}: {told} (chosen by the validation rows{', or asked for' if name == 'neighbours' else ''})")


def show_validation(mse: float) -> None:
    """Say how good the best validation was."""
    print(f"best validation error: {math.sqrt(mse):.4f} standard deviations of the target (root mean square)")


def show_roots(record: Mapping[str, Any]) -> None:
    """Print the rows of a result on a table: the error in the target's units and in standard deviations."""
    columns = ("branch", "target", "RMSE", "95 % interval ±", "in standard deviations")
    lines = []
    for row in [record["mean_of_training"], *record["rows"]]:
        several = len(row["targets"]) > 1
        name = "all" if several else row["targets"][0]["name"]
        whole = [f"{row['rmse']:.5g}", f"{row['ci95']:.2g}", f"{row['standardised']:.4f}"]
        told = "mean of training rows" if row["branch"] == "mean" else row["branch"]
        lines.append([told, name, *whole])
        for each in row["targets"] if several else ():
            lines.append([told, each["name"], f"{each['rmse']:.5g}", f"{each['ci95']:.2g}", f"{each['standardised']:.4f}"])
    show_table("", columns, lines)
    print(f"Intervals are over {record['interval_over']};")
    print("what another training would change is not in them.")


def record_of(answers: TableAnswers) -> dict[str, Any]:
    """The answers as a record: predictions by name of the target, and the entries (k-NN: rows) each rests on most."""
    rows = []
    for number, (values, before, near) in enumerate(answers.rows):
        shown = [
            {"entry": each.number, "weight": each.weight, "values": dict(zip(answers.targets, each.values, strict=True))}
            for each in near
        ]
        told = dict(zip(answers.targets, values, strict=True))
        own = None if before is None else dict(zip(answers.targets, before, strict=True))
        rows.append({"row": number, "prediction": told, "before": own, "neighbours": shown})
    return {"targets": list(answers.targets), "rows": rows}


def show_predictions(answers: TableAnswers) -> None:
    """Print a line for each of the first rows."""
    rests = any(near for _, _, near in answers.rows)
    columns = ("row", *answers.targets, *(["rests on (number: value, weight)"] if rests else []))
    lines: list[list[object]] = []
    for number, (values, _, near) in enumerate(answers.rows[:SHOWN]):
        told = "; ".join(
            f"{each.number}: {', '.join(f'{value:.4g}' for value in each.values)}, {percent(each.weight, 1)}"
            for each in near
        )
        lines.append([number, *(f"{value:.6g}" for value in values), *([told or "-"] if rests else [])])
    show_table("", columns, lines)
    if len(answers.rows) > SHOWN:
        print(f"the first {SHOWN} of {len(answers.rows):,} rows; --json FILE has all of them")


def is_table_run(folder: str) -> bool:
    """Whether a folder holds a run on the rows of a table."""
    if not (Path(folder) / "config.json").is_file():
        return False
    from modicum.training.tables import runs

    return runs.is_table_run(folder)


def run_predict(config: Predict) -> int:
    """Predict the rows of a table and print them."""
    from modicum.training.tables.predicting import predict_table

    for name in ("reject", "memory"):
        if getattr(config, name) is not None:
            raise ConfigError(f"{name}: not for a run on the rows of a table, as {config.classifier} is; leave it out")
    if len(config.images) != 1:
        raise ConfigError(f"images: a run on a table predicts the rows of one CSV file, found {len(config.images)} files")
    answers = predict_table(config.classifier, config.images[0], config.neighbours)
    show_predictions(answers)
    write_result(config.json, record_of(answers))
    return 0

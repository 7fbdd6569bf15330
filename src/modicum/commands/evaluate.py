"""`modicum evaluate`: accuracy, or for regression the squared error, of a run over many tasks; of rac on pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modicum.commands.output import percent, show_table
from modicum.commands.progress import progress
from modicum.commands.tables import show_roots
from modicum.configs import Evaluate
from modicum.runtime import ranks


def _cells(row: Mapping[str, Any]) -> list[object]:
    mode = row["batch_norm"] + (" (transductive)" if row["transductive"] else "")
    accuracy = [percent(row[key]) for key in ("accuracy", "ci95", "stderr")]
    return [row["ways"], row["shots"], *accuracy, row["tasks"], mode]


def _show_difference(gap: Mapping[str, Any]) -> None:
    """Say what seeing the other queries of a task changes, one number of shots a line."""
    told = "" if gap["excludes_zero"] else " (undecided)"
    print(
        f"{gap['later']} minus {gap['first']}, {gap['shots']} shots, on the same tasks: {100 * gap['difference']:+.2f} % "
        f"± {percent(gap['ci95'])}{told}"
    )


def show(record: Mapping[str, Any]) -> None:
    """Print the rows of a result of `evaluate` as a table that says what the interval is over."""
    columns = ("ways", "shots", "accuracy", "95 % interval ±", "standard error ±", "tasks", "batch norm")
    show_table("", columns, [_cells(row) for row in record["rows"]])
    for gap in record.get("differences", ()):
        _show_difference(gap)
    print(f"The interval is over {record['interval_over']};")
    print("what other classes or another training would change is not in it.")
    if record.get("ensemble"):
        print(f"mean output of {len(record['ensemble']['steps'])} checkpoints ({record['ensemble']['rule']})")
    steps = {row["inner_steps"] for row in record["rows"] if "inner_steps" in row}
    if steps:
        print(f"inner steps on each support set: {max(steps)}")
    residuals = [row["solver_residual"] for row in record["rows"] if "solver_residual" in row]
    if residuals:
        print(f"largest relative residual of the head's solver: {max(residuals):.1e}")


def show_errors(record: Mapping[str, Any]) -> None:
    """Print the rows of a result on regression tasks: the error after the last inner step, and before the first."""
    columns = ("shots", "squared error", "95 % interval ±", "standard error ±", "before adaptation", "inner steps", "tasks")
    rows = []
    for row in record["rows"]:
        numbers = [f"{row[key]:.4f}" for key in ("mse", "ci95", "stderr")]
        rows.append([row["shots"], *numbers, f"{row['per_step'][0]['mse']:.4f}", row["inner_steps"], row["tasks"]])
    show_table("", columns, rows)
    print(f"The interval is over {record['interval_over']};")
    print("what another training would change is not in it.")


def show_branches(record: Mapping[str, Any]) -> None:
    """Print the rows of a result on held-out pictures: accuracies of each branch, and by training pictures of a class."""
    columns = ("branch", "accuracy", "95 % interval ±", "balanced", "95 % interval ±", "many", "medium", "few")
    keys = ("accuracy", "ci95", "balanced_accuracy", "balanced_ci95", "many", "medium", "few")
    names = {"vanilla": "vanilla + parameters"} if record.get("baseline") == "parameters" else {}
    rows = [[names.get(row["branch"], row["branch"]), *(percent(row[key]) for key in keys)] for row in record["rows"]]
    show_table("", columns, rows)
    first = record["rows"][0]
    many, medium, few = first["classes"]
    print(f"{first['pictures']:,} {record['tested']}")
    print(f"many, medium, few: {many}, {medium} and {few} classes of more than 100, 20 to 100 and fewer training pictures")
    print(f"Intervals are over {record['interval_over']};")
    print("what another training would change is not in them.")
    for gap in record.get("differences", ()):
        sure = "" if gap["ci95"] is None else f" ± {100 * gap['ci95']:.2f}"
        told = f"{gap['gained']:,} pictures became right and {gap['lost']:,} wrong"
        undecided = "" if gap["excludes_zero"] else " (undecided)"
        print(f"{gap['later']} minus {gap['first']}: {100 * gap['difference']:+.2f}{sure} points, {told}{undecided}")
    if "baseline" in record:
        _show_adaptation(record)
        return
    memory = record["memory"]
    if memory is not None:
        print(f"memory: {memory['items']:,} items in {memory['store']}, {record['neighbours']} of them for each picture")
    if record["in_memory"]:
        print(f"{record['in_memory']:,} of these pictures are in the memory; each was left out of its own neighbours")
    for name, told in (("base branch", "base"), ("memory's encoder", "encoder")):
        if record["pretraining"][told] is not None:
            print(f"pre-training of the {name}: {record['pretraining'][told]}")


def _show_adaptation(record: Mapping[str, Any]) -> None:
    """Say what a run of Meta-Neighborhoods adapts by, or which neighbours of a baseline vote."""
    found = record["learned"]
    if record["entries"] is not None:
        rate = f"at a rate of {found['rate']:.3g} (learned, {record['rates']})"
        print(f"inner steps: {record['inner_steps']} on {record['entries']:,} entries, T {found['temperature']:.3g}, {rate}")
    if record["neighbours"] is not None:
        print(f"knn: votes of {record['neighbours']} training pictures, by cosines of features")


def show_edit(record: Mapping[str, Any]) -> None:
    """Print what taking a source out of the memory changed: each branch before and after, and pictures named otherwise."""
    columns = ("branch", "memory", "accuracy", "balanced", "many", "medium", "few")
    keys = ("accuracy", "balanced_accuracy", "many", "medium", "few")
    earlier = {row["branch"]: row for row in record["before"]["rows"]}
    pairs = [(when, row) for late in record["rows"] for when, row in (("before", earlier[late["branch"]]), ("after", late))]
    show_table("", columns, [[row["branch"], when, *(percent(row[key]) for key in keys)] for when, row in pairs])
    held, left = record["edit"]["items"]
    print(f"memory: {held:,} items, {left:,} without the source {record['edit']['removed_source']!r}; no weight was touched")
    for found in record["changed"]:
        gained, lost, points = found["gained"], found["lost"], 100 * found["difference"]
        sure = "" if found["ci95"] is None else f" ± {100 * found['ci95']:.2f}"
        told = f"of {found['pictures']:,} pictures {gained:,} became right and {lost:,} wrong, {points:+.2f}{sure} points"
        print(f"{found['branch']}: {told}")
    print(f"Intervals are over {record['interval_over']}.")


def show_subcategories(record: Mapping[str, Any]) -> None:
    """Print what votes of training pictures with finer labels get right, by what they were found and how many vote."""
    columns = ("vector", "votes", "fine", "95 % interval ±", "coarse", "95 % interval ±")
    rows = []
    for row in record["rows"]:
        measured = [row[what][key] for what in ("fine", "coarse") for key in ("accuracy", "ci95")]
        rows.append([row["vector"], row["neighbours"], *map(percent, measured)])
    show_table("", columns, rows)
    print(f"{record['pictures']:,} {record['tested']}; {record['voters']:,} training pictures vote")
    print(f"{record['classes']} coarse classes were trained, the {record['fine_classes']} of {record['fine']} were not")
    for gap in record["differences"]:
        if gap["neighbours"] == record["usual"] and gap["labels"] == "fine":
            sure = "" if gap["ci95"] is None else f" ± {100 * gap['ci95']:.2f}"
            undecided = "" if gap["excludes_zero"] else " (undecided)"
            told = f"{100 * gap['difference']:+.2f}{sure} points on fine labels, {gap['neighbours']} votes{undecided}"
            print(f"{gap['later']} minus features: {told}")
    print(f"Intervals are over {record['rows'][0]['interval_over']};")
    print("what another training would change is not in them.")


SHOWN = {
    "mse": show_errors,
    "rmse": show_roots,
    "branches": show_branches,
    "edit": show_edit,
    "subcategories": show_subcategories,
}
"""What a result measures -> how it is shown, where not as accuracy over tasks."""


def run(config: Evaluate) -> int:
    """Evaluate and print a table; the library writes the JSON."""
    from modicum.training.evaluate import evaluate

    with progress("evaluating") as tick:
        record = evaluate(config, progress=tick)
    if ranks().rank > 0:
        return 0
    SHOWN.get(record.get("measure", ""), show)(record)
    if config.json:
        print(f"result: {config.json}")
    return 0

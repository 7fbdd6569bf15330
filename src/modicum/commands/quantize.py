"""`modicum quantize`: a run again with low-bit weights, few-bit activations and accumulators that wrap."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from modicum.commands.output import percent, readable, show_table
from modicum.commands.progress import progress
from modicum.configs import Quantize


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _layer(row: Mapping[str, Any]) -> list[object]:
    """One layer as a row of the table; what it has not is None."""
    carries = None if row["carry_mean"] is None else f"{row['carry_mean']:.1f} ± {row['carry_deviation']:.1f}"
    step, penalty = row["step"], row["penalty"]
    return [
        row["name"], "x".join(map(str, row["shape"])), row["fan_in"], row["stage"], row["activation_bits"],
        None if step is None else f"{step:.4g}", None if row["overflow"] is None else percent(row["overflow"]),
        None if penalty is None else f"{penalty:.3g}", carries, None if row["energy"] is None else f"{row['energy']:.3g}",
    ]  # fmt: skip


def show_layers(record: Mapping[str, Any]) -> None:
    """Print the layers in order of execution."""
    columns = ("layer", "weights", "sums of", "runs on", "bits", "step", "overflow", "penalty", "carries", "nJ")
    show_table("", columns, [_layer(row) for row in record["layers"]])
    if any(row["overflow"] is not None for row in record["layers"]):
        bits = next(row["overflow_of_bits"] for row in record["layers"] if row["overflow"] is not None)
        print(
            f"bits: of activations; overflow: sums outside {bits} bits, on {record['pictures']:,} training pictures; "
            "carries: mean ± deviation of a neuron"
        )


def _accuracy(found: Mapping[str, Any] | None) -> str | None:
    if found is None:
        return None
    return percent(found["accuracy"]) + ("" if found["ci95"] is None else f" ± {100 * found['ci95']:.2f}")


def show_accuracies(record: Mapping[str, Any]) -> None:
    """Print what every stage gets right, and the last one under other accumulators; nothing where it was not measured."""
    stages = [row for row in record["stages"] if row["test"] is not None]
    if not stages:
        return
    rows = [[row["name"], row["steps"], _accuracy(row["val"]), _accuracy(row["test"])] for row in stages]
    show_table("", ("stage", "steps", "validation", "test"), rows)
    if record["accumulators"]:
        found = [[row["name"], _accuracy(row["val"]), _accuracy(row["test"])] for row in record["accumulators"]]
        show_table("", ("the last stage under", "validation", "test"), found)
    print(f"95 % intervals are over {stages[0]['test']['over']};")
    print("what another training would change is not in them.")


def show_cost(record: Mapping[str, Any]) -> None:
    """Print what the network would cost in hardware."""
    cost, whole = record["cost"]["network"], record["cost"]["reference"]
    if not cost["macs"]:
        return
    how = "units as laid out" if cost["published"] else "units partly estimated"
    print(
        f"arithmetic of a picture: {cost['energy']:.4g} nJ against {whole['energy']:.4g} nJ of 8 x 8-bit multipliers and "
        f"32-bit accumulators, {cost['area']:.0f} against {whole['area']:.0f} um2/Gops (28 nm, {how})"
    )
    if cost["unknown"]:
        print(f"not counted: {cost['unknown']:,} multiply-accumulates whose unit nobody laid out")


def run(config: Quantize) -> int:
    """Quantise a run, then say what its layers and its accuracy became."""
    from modicum.training.low_bit.pipeline import quantize

    with progress("quantizing") as tick:
        result = quantize(config, tick, _say)
    record = result.record
    show_layers(record)
    show_accuracies(record)
    show_cost(record)
    if record["export"] is not None:
        small, large = record["export"]["bytes"], record["export"]["float_bytes"]
        print(f"integer network: {config.export} ({readable(small)}, its weights as float32 {readable(large)})")
    if config.json:
        print(f"result: {config.json}")
    print(f"run: {result.run}")
    print(f"next: modicum evaluate {result.run}")
    return 0

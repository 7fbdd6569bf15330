"""Runs of `quantize` -> what their part of a page shows, from RUN/results/low_bit.json alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from modicum.errors import FileFormatError
from modicum.files import read_json
from modicum.reporting.figures import colour
from modicum.reporting.low_bit_figures import PARTS, accuracy_bars, cost_bars, layer_panels, sum_histograms
from modicum.reporting.story import Sentences, counted, percent
from modicum.reporting.views import letter

RESULT, KIND = "results/low_bit.json", "low_bit"
Row = Mapping[str, Any]


class Right(NamedTuple):
    """An accuracy in words: a name, validation, test; "-" where it was not measured."""

    name: str
    steps: str
    val: str
    test: str


@dataclass(frozen=True)
class LowBitRun:
    """One run as the template reads it; figures are None where there is nothing to draw."""

    letter: str
    colour: str
    name: str
    sentences: Sentences
    layers: list[tuple[int, Row]]
    carries: bool
    enlarged: bool
    pictures: int
    stages: list[Right]
    accumulators: list[Right]
    over: str
    accuracy: str | None
    panels: str | None
    sums: str | None
    cost: str | None
    estimated: bool
    unknown: int


def read_low_bit(folder: Path | str, index: int, name: str) -> LowBitRun | None:
    """What `quantize` left in a folder, None where it left nothing; `FileFormatError` for a damaged file."""
    path = Path(folder) / RESULT
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        return _view(record, index, name)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FileFormatError(f"{path}: incomplete or of another version ({error!r}); quantise anew") from error


def read_low_bits(folders: Sequence[Path | str], names: Sequence[str]) -> list[LowBitRun]:
    """Those of the folders that `quantize` made."""
    found = [read_low_bit(folder, index, name) for index, (folder, name) in enumerate(zip(folders, names, strict=True))]
    return [one for one in found if one is not None]


def _view(record: Row, index: int, name: str) -> LowBitRun:
    layers = list(enumerate(record["layers"], 1))
    coded = [(number, row) for number, row in layers if row["overflow"] is not None]
    form, cost = record["form"], record["cost"]
    measured = [*record["accumulators"]] or [row for row in record["stages"] if row["test"] is not None]
    bars = [(row["name"], row["test"]["accuracy"], row["test"]["ci95"]) for row in measured if row["test"] is not None]
    return LowBitRun(
        letter=letter(index),
        colour=colour(index),
        name=name,
        sentences=_told(record, coded),
        layers=layers,
        carries=any(row["carry_mean"] is not None for _, row in layers),
        enlarged=any(row["enlarged"] for _, row in layers),
        pictures=int(record["pictures"]),
        stages=[_right(row) for row in record["stages"]],
        accumulators=[_right(row) for row in record["accumulators"]],
        over=next((row["test"]["over"] for row in measured if row["test"] is not None), ""),
        accuracy=accuracy_bars(bars),
        panels=layer_panels(coded),
        sums=sum_histograms(coded, form["cyclic"], float(form["slope"])),
        cost=_cost_figure(record) if coded else None,
        estimated=not cost["network"]["published"],
        unknown=int(cost["network"]["unknown"]),
    )


def _right(row: Row) -> Right:
    steps = f"{row['steps']:,}" if "steps" in row else ""
    return Right(str(row["name"]), steps, _accuracy(row["val"]), _accuracy(row["test"]))


def _accuracy(found: Row | None) -> str:
    if found is None:
        return "-"
    return percent(found["accuracy"]) + ("" if found["ci95"] is None else f" ± {100 * found['ci95']:.1f}")


def _what(form: Row) -> str:
    weights = form["weights"] if form["weights"] in ("float", "binary", "ternary") else f"{form['weights']}-bit"
    if form["weights"] == "float":
        return "Its layers stayed in floating point; trained on for as many steps, to compare with."
    if form["accumulator"] is None:
        sums = "sums are exact"
    else:
        after = {"smooth": f"the smooth cyclic function of slope {form['slope']:g}", "absolute": "their absolute value",
                 "relu": f"the ReLU-like function of slope {form['slope']:g}"}  # fmt: skip
        sums = f"sums have {form['accumulator']} bits, wrap around and go through {after.get(form['cyclic'], 'nothing')}"
    first = "has 8 bits" if form["ends"] == "8" else "stays in floating point"
    return f"Its layers have {weights} weights, and their {sums}. The first layer {first}."


def _told(record: Row, coded: Sequence[tuple[int, Row]]) -> Sentences:
    told = [("What is quantised?", f"{_what(record['form'])} It was begun from the run “{record['from']}”.")]
    if coded:
        bits = [row["activation_bits"] for _, row in coded]
        overflow = sum(row["overflow"] * row["outputs"] for _, row in coded) / sum(row["outputs"] for _, row in coded)
        width = coded[0][1]["overflow_of_bits"]
        alike = len(set(bits)) == 1
        spread = f"{bits[0]} bits" if alike else f"{min(bits)} to {max(bits)} bits, {median(bits):g} in the median layer"
        told.append((
            "How much overflows?",
            f"{percent(overflow)} of the sums do not fit {width} bits, on {record['pictures']:,} training pictures. "
            f"Activations have {spread}.",
        ))  # fmt: skip
    network, whole = record["cost"]["network"], record["cost"]["reference"]
    if coded and network["energy"]:
        part = "" if network["published"] else ", in part an estimate between published units"
        told.append((
            "What would it cost in hardware?",
            f"{network['energy']:.3g} nJ of arithmetic for a picture where 8 x 8-bit multipliers with 32-bit accumulators "
            f"take {whole['energy']:.3g} nJ, in 28 nm CMOS{part}.",
        ))  # fmt: skip
    export = record.get("export")
    if export:
        small, large = export["bytes"], export["float_bytes"]
        told.append(("How small is it?", f"{small:,} bytes as an integer network; its weights as float32 are {large:,}."))
    stages = counted(len(record["stages"]), "stage", "stages")
    told.append(("How was it trained?", f"In {stages}: {', '.join(str(row['name']) for row in record['stages'])}."))
    return told


def _cost_figure(record: Row) -> str | None:
    """Energy and area of this network and of the reference, by part; layers without a unit are in neither."""
    known = [row for row in record["layers"] if row["unit"] is not None]
    macs = sum(row["macs"] for row in known)
    if not macs:
        return None
    keys = [key for key, _ in PARTS]
    energy = {key: sum(2 * row["macs"] * row["unit"]["energy"][key] for row in known) * 1e-6 for key in keys}
    area = {key: sum(row["macs"] * row["unit"]["area"][key] for row in known) / macs for key in keys}
    whole = record["cost"]["unit"]
    first = ({key: 2 * macs * whole["energy"][key] * 1e-6 for key in keys}, {key: whole["area"][key] for key in keys})
    names = ("8 x 8 bits, 32-bit sums", "this network")
    return cost_bars(list(zip(names, (first[0], energy), strict=True)), list(zip(names, (first[1], area), strict=True)))

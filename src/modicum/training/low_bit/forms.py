"""A finished run under other arithmetic: the same tensors in layers of another form, and how often they are right.

A copy of the run with another ending behind its backbone's name is written into a temporary folder and evaluated as any run
is, on the run's own held-out classes or pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from modicum.backbones.encoder import Encoder, build_encoder
from modicum.configs import Evaluate, Quantize, Train
from modicum.configs.long_tail import RAC
from modicum.configs.low_bit import LowBit
from modicum.configs.neighborhoods import NEIGHBORHOODS
from modicum.errors import ConfigError, DataError
from modicum.files import write_json, write_tensors
from modicum.quantization.layers import ALONE, BUFFER, low_bit_layers, number, simulate_carries
from modicum.training.checkpoints import BEST, read_checkpoint
from modicum.training.evaluate import evaluate
from modicum.training.low_bit.beginning import CalibrationPictures
from modicum.training.low_bit.begun import Begun
from modicum.training.neighborhoods.runs import checkpoint_of
from modicum.training.runs import read_record

Change = Callable[[Encoder], None]
SPLITS = ("val", "test")


class Form(NamedTuple):
    """Another arithmetic for the same tensors: a name, the layers' form, a change of their buffers."""

    name: str
    form: LowBit
    change: Change | None = None


def other_forms(asked: Quantize, encoder: Encoder, pictures: CalibrationPictures) -> list[Form]:
    """What the last network is tried under beside its own arithmetic; empty where it has no codes.

    encoder: of the last stage. (v), (c): without and with carries of neighbours, as table 2.5 calls them.
    """
    if asked.is_float or asked.activations == "float":
        return []
    form, bits = asked.form, asked.chosen_for
    naked = replace(form, accumulator=form.accumulator or bits, cyclic="none", slope=LowBit.slope)
    if form.accumulator is None:
        return [Form(f"{bits}-bit sums that wrap, no cyclic function", naked)]
    exact = LowBit(form.weights, None, relu=form.relu, ends=form.ends)
    left = form.accumulator - 1 if asked.carries == "buffer" else form.accumulator  # the copy keeps its buffer bits
    forms = [Form("exact 32-bit sums", exact), Form(f"{left}-bit sums that wrap, no cyclic function", naked)]
    if form.weights not in ("binary", "ternary") or asked.carries == "buffer":
        return forms
    if asked.counts_carries:
        return [*forms, Form("(v) no carries of neighbours", form, _alone)]
    return [*forms, Form("(c) carries of neighbours, their means taken away", form, _through(pictures))]


def _alone(encoder: Encoder) -> None:
    for layer in low_bit_layers(encoder).values():
        if number(layer.carry) != BUFFER:
            layer.carry.fill_(ALONE)
            layer.carry_mean = layer.carry_mean.new_zeros(0)


def _through(pictures: CalibrationPictures) -> Change:
    def change(encoder: Encoder) -> None:
        """Carries of all layers, whose means are those of some calibration pictures."""
        simulate_carries(encoder, next(iter(pictures)).cpu())

    return change


def write_copy(run: Path, begin: Begun, out: Path, form: Form | None = None) -> Path:
    """A copy of a run's configuration and best weights in the folder `out`; with `form` in layers of that form."""
    config, record = read_record(run)
    name = config.backbone if form is None else begin.backbone + form.form.ending
    tensors, said = read_checkpoint(checkpoint_of(run))
    own = {key: value for key, value in tensors.items() if key.startswith("learner.")}
    if form is not None and form.change is not None:
        encoder, prefix = build_encoder(name, begin.spec), f"learner.{begin.part}"
        encoder.load_state_dict({key.removeprefix(prefix): value for key, value in own.items() if key.startswith(prefix)})
        with torch.no_grad():
            form.change(encoder.eval())
        own |= {prefix + key: value for key, value in encoder.state_dict().items()}
    told = {key: value for key, value in record.items() if key != "schema"}
    told["encoder"] = {**record["encoder"], "backbone": name}
    told["config"] = asdict(_plain(replace(config, backbone=name, out=str(out), resume=False)))
    write_json(out / "config.json", told)
    write_tensors(out / BEST, own, {key: value for key, value in said.items() if key != "schema"})
    return out


def _plain(config: Train) -> Train:
    """Without k-NN, whose voters a copy of a run does not have; a memory is found by its whole path."""
    if config.method == NEIGHBORHOODS and config.baseline == "knn":
        return replace(config, baseline="vanilla", neighbours=30)
    return config if config.memory is None else replace(config, memory=str(Path(config.memory).resolve()))


def accuracies(run: Path, begin: Begun, asked: Quantize, form: Form | None = None) -> dict[str, dict[str, Any] | None]:
    """Split -> accuracy in [0, 1], its 95 % radius and what that is over; None where the run holds too little out there.

    form: another one than the run's. The run gets no result of it: a copy is measured, which is gone afterwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        copied = write_copy(run, begin, Path(folder) / run.resolve().name, form)
        return {split: _accuracy(copied, split, asked) for split in SPLITS}


def _accuracy(run: Path, split: str, asked: Quantize) -> dict[str, Any] | None:
    config, record = read_record(run)
    found = Evaluate(str(run), split=split, pictures=False, device=asked.device)
    if config.method not in (RAC, NEIGHBORHOODS):
        classes = len(record["data"]["splits"].get(split, ()))
        if classes < 2 or (split == "val" and config.with_val):
            return None
        ways, shots, tasks = min(config.validation_ways, classes), config.validation_shots, max(2, config.validation_tasks)
        found = replace(found, ways=ways, shots=[shots], tasks=tasks)
    try:
        result = evaluate(found)
    except (DataError, ConfigError):
        if split == "test":
            raise
        return None  # nothing is held out for validation
    rows = result["rows"]
    row = next((row for row in rows if row.get("branch") in ("both", "adapted")), rows[0])
    over = result.get("interval_over", row.get("interval_over"))
    return {"accuracy": row["accuracy"], "ci95": row["ci95"], "over": over}

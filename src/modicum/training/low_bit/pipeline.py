"""`quantize`: a run again, in stages, with layers of few bits and sums that wrap; and what its layers do then.

Renkun Ni, Hong-min Chu, Oscar Castaneda, Ping-yeh Chiang, Christoph Studer, Tom Goldstein: WrapNet: Neural Net Inference
with Ultra-Low-Precision Arithmetic, ICLR 2021, arXiv 2007.13242; section 2.4.1 of the dissertation's chapter for the order
of stages, 2.6.1.2 for carries layer by layer.

*Deviations*. Steps of a stage are by default half of the run's, not 200 epochs. A stage begins with the best validated
weights of the one before it. Under hybrid, accuracy has fallen where it is more than `--hybrid_drop` points below that
before any carries; the layer that did it and those behind it take the buffer bit, with the step sizes they had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modicum.configs import Quantize, require
from modicum.errors import ConfigError
from modicum.files import make_folder, read_json, write_json
from modicum.models import save_encoder
from modicum.quantization.statistics import layer_statistics
from modicum.runtime import Progress, require_one_process
from modicum.training.low_bit.begun import START, Begun, begun, stage_steps
from modicum.training.low_bit.results import RESULT, result_of
from modicum.training.low_bit.stages import Arithmetic, Stage, Stages, encoder_of, letting_through, to_weights
from modicum.training.low_bit.subject import Penalties

ASKED = "quantize.json"
"""What was asked for, in OUT."""
FREE = ("resume", "out", "root", "data", "splits", "device", "threads", "json", "export", "measure", "run")
"""Options that may differ between a command and the one that goes on with it."""


@dataclass(frozen=True)
class QuantizeResult:
    """run: OUT; record: what OUT/results/low_bit.json says."""

    run: Path
    record: dict[str, Any]


def quantize(asked: Quantize, progress: Progress | None = None, say: Callable[[str], None] | None = None) -> QuantizeResult:
    """Train all stages that are not finished, measure, write OUT/results/low_bit.json and the integer network.

    say: hears of every finished stage. `ConfigError`: a run or layers that cannot be quantised, OUT in use, several
    processes; `DataError`: calibration pictures that say nothing; `FileFormatError`, `WriteError`, `TrainingError`.
    """
    require_one_process("quantize")
    out = Path(asked.out)
    begin = begun(asked)
    _claim(asked, begin, out)
    pre, warm, last, each = stage_steps(asked, begin.config)
    layered = asked.counts_carries
    whole = pre + warm + last + (len(begin.layers) + 1) * each * layered
    stages = Stages(asked, begin, whole, progress)
    told = say or (lambda _: None)
    wraps = asked.form.accumulator is not None
    change = Arithmetic(asked, begin, wraps and warm > 0)
    over = Penalties(asked.penalty)
    if pre:
        _tell(told, stages.train("weights", out / "weights", pre, to_weights, Penalties()))
    if warm:
        early = over if asked.penalty_in_warmup else Penalties()
        _tell(told, stages.train("warm-up", out / "warm-up", warm, change.to_warm_up, early))
    codes = stages.train("codes", out / "codes" if layered else out, last, change.to_codes, over)
    _tell(told, codes)
    if layered:
        _carry(asked, begin, stages, each, told)
    record = result_of(asked, stages)
    write_json(out / RESULT, record)
    if asked.json:
        write_json(asked.json, record)
    return QuantizeResult(out, {"schema": 1, **record})


def _tell(say: Callable[[str], None], stage: Stage) -> None:
    best = "not validated" if stage.validation is None else f"best validation {100 * stage.validation:.2f} %"
    say(f"stage {stage.name}: {stage.steps:,} steps, {best}")


def _claim(asked: Quantize, begin: Begun, out: Path) -> None:
    """Take OUT, or go on in it; `ConfigError` where another run lies there or other options were asked for."""
    own = {key: value for key, value in asdict(asked).items() if key not in FREE}
    mine = out / ASKED
    require(out.resolve() != Path(asked.run).resolve(), "out: the run itself; give another folder")
    stages = [found for found in out.rglob("config.json") if found.parent.name != START]
    if not mine.is_file() or not (stages or asked.resume):  # what was refused before its first stage has left no run
        require(not (out / "config.json").exists(), f"out: {out} already holds a run; give another --out")
        make_folder(out)
        if begin.config.pretrained is not None:  # rac builds its encoder from a folder then
            _save_start(asked, begin, out)
        write_json(mine, {"kind": "quantize", "run": Path(asked.run).resolve().name, "asked": own})
        return
    require(asked.resume, f"out: {out} already holds a quantisation; give --resume to go on with it, or another --out")
    before = read_json(mine).get("asked", {})
    differing = [key for key in own if before.get(key) != own[key]]
    if differing:
        listed = ", ".join(f"{key} (then: {before.get(key)}, now: {own[key]})" for key in differing)
        raise ConfigError(f"resume: {out} was begun with other options: {listed}; give the same ones or another --out")


def _save_start(asked: Quantize, begin: Begun, out: Path) -> None:
    from modicum.backbones.encoder import build_encoder

    encoder = build_encoder(begin.backbone + ("" if asked.is_float else asked.form.ending), begin.spec)
    save_encoder(encoder, out / START, f"# Form of {begin.backbone} in low-bit layers; its weights are not trained.\n")


def _carry(asked: Quantize, begin: Begun, stages: Stages, each: int, say: Callable[[str], None]) -> None:
    """Let carries through layer by layer, in ascending order of their variance, then train on with all as they are to be."""
    out, codes = Path(asked.out), stages.done[-1]
    hybrid = asked.carries == "hybrid"
    assert codes.validation is not None or not hybrid  # `begun` has asked for it
    order = _order(begin, stages, out)
    every = Penalties(asked.penalty, asked.carry_penalty)
    through: list[str] = []
    for place, name in enumerate(order):
        weights = every if not hybrid else Penalties(asked.penalty, asked.carry_penalty, frozenset([*through, name]))
        folder = out / "carries" / f"{place + 1:02d}-{name}"
        stage = stages.train(f"carries of {name}", folder, each, letting_through([name]), weights)
        _tell(say, stage)
        if hybrid and (codes.validation or 0.0) - (stage.validation or 0.0) > asked.hybrid_drop / 100:
            stages.done.pop()  # the layers go on from before this one
            stages.tried.append(stage)
            break
        through.append(name)
    rest = [name for name in order if name not in through]
    if rest:
        say(f"buffer bit: {', '.join(rest)}")
    last = Penalties(asked.penalty, asked.carry_penalty, frozenset(through)) if hybrid else every
    _tell(say, stages.train("final", out, each, letting_through([], rest), last))


def _order(begin: Begun, stages: Stages, out: Path) -> list[str]:
    """Names of the layers that wrap, in ascending order of the deviation of their carries; found once for an OUT."""
    record = read_json(out / ASKED)
    if "order" not in record:
        pictures = stages.pictures
        encoder = encoder_of(stages.done[-1].folder, begin, pictures.device)
        rows = layer_statistics(encoder.backbone, pictures.normalised(encoder))
        found = [(row.carry_deviation, row.name) for row in rows if row.bits is not None and row.carry_deviation is not None]
        record["order"] = [name for _, name in sorted(found)]
        write_json(out / ASKED, {key: value for key, value in record.items() if key != "schema"})
    return [str(name) for name in record["order"]]

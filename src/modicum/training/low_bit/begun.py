"""The run that `quantize` begins from: read back, checked, and as the configuration of a stage."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.configs import Quantize, Train, require
from modicum.configs.long_tail import RAC
from modicum.configs.low_bit import LowBit, split_low_bit
from modicum.configs.neighborhoods import NEIGHBORHOODS, is_table
from modicum.configs.regression import is_regression
from modicum.configs.usual import is_usual
from modicum.errors import ConfigError
from modicum.files import check_writable
from modicum.quantization.choosing import wanted
from modicum.quantization.conversion import convert
from modicum.quantization.integer.lowering import Lowering
from modicum.quantization.integer.tracing import trace
from modicum.quantization.layers import CODES, set_stage
from modicum.registry import GRADIENT_METHODS
from modicum.training.checkpoints import OF_ALL_CLASSES, read_checkpoint
from modicum.training.neighborhoods.runs import checkpoint_of
from modicum.training.runs import read_record

START = "start"
"""Folder in OUT of the encoder that a run of rac is built from."""
FEWEST = 200
"""Steps of a stage at least, where they are not asked for."""
FEWEST_OF_LAYER = 20
"""Steps at least for each layer whose carries are let through, where they are not asked for."""


class Begun(NamedTuple):
    """A run: its configuration with `out` where it is now, record, tensors of its best checkpoint, form of its pictures.

    backbone: its encoder's whole name. layers: names of the layers that become low-bit, in order of execution.
    """

    config: Train
    record: dict[str, Any]
    tensors: dict[str, Tensor]
    spec: ImageSpec
    backbone: str
    layers: tuple[str, ...]

    @property
    def part(self) -> str:
        """What the names of the encoder's tensors begin with, in the trained module."""
        return OF_ALL_CLASSES.get(self.config.method, "encoder.")


def _check_kind(run: str, config: Train) -> None:
    """Raise `ConfigError` for a run whose training has no low-bit form, and say why."""
    require(
        not (is_table(config) or is_regression(config)),
        f"run: {run} predicts numbers or columns of a table, and takes no pictures; quantise a run on pictures",
    )
    require(
        config.method not in GRADIENT_METHODS,
        f"run: {run} was trained by {config.method}, which adapts all weights by gradient steps to every task; steps that "
        "small change few signs, so low-bit weights cannot follow. Quantise a run of a head (protonet, r2d2, ...)",
    )
    if config.method == RAC:
        require(config.branches != "retrieval", f"run: {run} trained a retrieval branch alone, and no encoder to quantise")
        require(config.decouple == "none", f"run: {run} is a second stage; quantise the run it went on from")
    require(
        config.modulate == "none", f"run: {run} has modulated batch norms (iFiLM), whose scales follow every input; they "
        "cannot be folded into integers. Quantise a run without --modulate"
    )  # fmt: skip
    require(config.backbone != "pixels", f"run: {run} has no layers to quantise (backbone pixels)")


def begun(asked: Quantize) -> Begun:
    """Read the run back; `ConfigError` for one that cannot be quantised or a layer that cannot be converted.

    `FileFormatError` for a damaged run, or one without a checkpoint.
    """
    config, record = read_record(asked.run)
    config = replace(config, out=asked.run)
    _check_kind(asked.run, config)
    whole, spec = str(record["encoder"]["backbone"]), ImageSpec(**record["encoder"]["spec"])
    backbone, form = split_low_bit(whole)
    tensors, found = read_checkpoint(checkpoint_of(asked.run))
    require(
        asked.carries != "hybrid" or found["best"] is not None,
        f"carries: hybrid stops where validation falls, and {asked.run} validates nothing; take simulate or buffer",
    )
    require(
        form is None or _only_weights(asked, form, tensors),
        f"run: {asked.run} is of low-bit layers already ({whole}); begin with the run that it was made from, or with one of "
        "the same --weights, --activations float and the same layers, which is then the first stage",
    )
    _check_written(asked)
    layers = () if asked.is_float else _layers(asked, build_encoder(backbone, spec))
    return Begun(config, record, tensors, spec, backbone, layers)


def _check_written(asked: Quantize) -> None:
    """Raise `ConfigError` for what would stop the command only after hours, where its files are written."""
    for option, path in (("export", asked.export), ("json", asked.json)):
        require(path is None or not Path(path).is_dir(), f"{option}: {path} is a folder; give the name of a file")
    if asked.export is not None:
        check_writable(Path(asked.export).parent)
        wanted()


def _only_weights(asked: Quantize, form: LowBit, tensors: dict[str, Tensor]) -> bool:
    """Whether a run of a form has nothing but the weights that are asked for, so that others may share its training."""
    plain = replace(asked.form, accumulator=None, cyclic=LowBit.cyclic, slope=LowBit.slope)
    return form == plain and not any(value.any() for name, value in tensors.items() if name.endswith(".stage"))


def _layers(asked: Quantize, encoder: Encoder) -> tuple[str, ...]:
    """Names of the layers that become low-bit; `ConfigError` names those that cannot and are not kept in float."""
    spec, trial = encoder.spec, copy.deepcopy(encoder.backbone)
    example = torch.zeros(1, spec.channels, spec.size, spec.size)
    layers = tuple(convert(trial, asked.form, example, asked.keep_float))
    if asked.export is not None:
        _check_exported(trial, spec)
    return layers


def _check_exported(trial: nn.Module, spec: ImageSpec) -> None:
    """Raise `ConfigError` where no integer network could be made of a converted backbone, whatever its weights become."""
    set_stage(trial, CODES)
    try:
        with torch.no_grad():
            Lowering(trace(trial.eval(), (spec.channels, spec.size, spec.size))).run()
    except ConfigError as error:
        raise ConfigError(f"export: {str(error).removeprefix('integer network: ')}; or leave --export out") from error


def stage_steps(asked: Quantize, trained: Train) -> tuple[int, int, int, int]:
    """Steps of the pre-training, the warm-up, the last stage, and of each layer whose carries are let through."""
    last = asked.steps or max(trained.steps // 2, FEWEST)
    pre = last if asked.pretrain_steps is None else asked.pretrain_steps
    warm = last if asked.warmup_steps is None else asked.warmup_steps
    return pre, warm, last, asked.layer_steps or max(last // 10, FEWEST_OF_LAYER)


def one_step(asked: Quantize, backbone: str) -> bool:
    """Whether all layers share a step size: as asked for, else those of networks called resnet, as published."""
    return "resnet" in backbone if asked.one_step is None else asked.one_step


def stage_config(asked: Quantize, begin: Begun, out: Path, steps: int) -> Train:
    """The configuration of one training: the run's, with the low-bit backbone and what `quantize` says of optimisation.

    Seed and splits stay the run's, so that what it held out stays held out.
    """
    old = begin.config
    assert not is_usual(old.steps)
    memory = old.memory
    if old.method == RAC and old.branches != "base" and memory is None:
        memory = str(Path(old.out) / "memory")
    return replace(
        old,
        out=str(out),
        data=asked.data or old.data,
        root=asked.root or old.root,
        splits=asked.splits or old.splits,
        backbone=begin.backbone + ("" if asked.is_float else asked.form.ending),
        optimizer=asked.optimizer,
        learning_rate=asked.learning_rate,
        weight_decay=asked.weight_decay,
        decay_form="torch" if asked.optimizer == "adamw" and old.method == NEIGHBORHOODS else "tensorflow",
        schedule=asked.schedule,
        steps=steps,
        warmup=0,
        epochs=None,
        patience=None,
        keep_best=0,
        keep_every=None,
        validate_every=min(old.validate_every, steps),
        pretrained=str(Path(asked.out) / START) if old.pretrained is not None else None,
        memory=memory,
        resume=asked.resume,
        device=asked.device,
        threads=asked.threads,
    )

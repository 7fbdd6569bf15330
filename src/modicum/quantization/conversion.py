"""Any module with low-bit layers in the place of its convolutions and linear layers, in place.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242: all but the first and the last layer have weights of few bits. Here

| layer | becomes |
|---|---|
| `nn.Conv2d` padded with zeros, `nn.Linear` | `LowBitConv2d`, `LowBitLinear` with the very same parameters |
| the first of them that runs | stays; ends "8": 8-bit weights and inputs with exact sums |
| `nn.BatchNorm1d`, `nn.BatchNorm2d` with running statistics | `FoldableNorm1d`, `FoldableNorm2d` |
| `nn.ReLU`, where the form has none | `nn.Identity` |
| other layers with weights (subclasses too), layers that run twice or never | stay, see `strict` |

The last layer is the classifier behind the module; one inside it is for the caller to keep in float. Weights that are bare
parameters of a module are not seen. Weights "float" change nothing at all.

What order layers run in is found by a pass over an example in evaluation mode, which changes nothing. A network can be made
again from its form alone: layers that were kept in float are low-bit ones in the stage `FLOAT`, which is a buffer, or could
not have been converted.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modicum.configs.low_bit import LowBit
from modicum.errors import ConfigError
from modicum.quantization.layers import FLOAT, Arithmetic, LowBitConv2d, LowBitLayer, LowBitLinear, set_stage
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d

WEIGHTY = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase)
"""Layers whose weights a user expects to be converted."""


class _Ran(NamedTuple):
    """Names of the layers with weights in the order of their first run, and how often each ran (not at all: 0)."""

    order: list[str]
    times: dict[str, int]


def _run(module: nn.Module, example: Tensor) -> None:
    was = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            module.eval()(example)
    finally:
        for part, training in was.items():
            part.training = training


def _ran(module: nn.Module, example: Tensor) -> _Ran:
    order: list[str] = []
    weighty = {name: part for name, part in module.named_modules() if isinstance(part, WEIGHTY)}
    times = dict.fromkeys(weighty, 0)

    def note(name: str) -> Any:
        """A hook that counts the runs of a layer."""

        def hook(part: nn.Module, given: Any) -> None:
            times[name] += 1
            if times[name] == 1:
                order.append(name)

        return hook

    handles = [part.register_forward_pre_hook(note(name)) for name, part in weighty.items()]
    try:
        _run(module, example)
    finally:
        for handle in handles:
            handle.remove()
    return _Ran(order, times)


def _objection(part: nn.Module, times: int) -> str:
    """Why a layer with weights cannot be converted, or ""."""
    if type(part) not in (nn.Conv2d, nn.Linear):
        return f"is a {type(part).__name__}, and only nn.Conv2d and nn.Linear themselves are converted"
    if isinstance(part, nn.Conv2d) and part.padding_mode != "zeros":
        return f"pads with {part.padding_mode!r}, and low-bit convolutions pad with zeros"
    if times != 1:
        return "never runs" if not times else f"runs {times} times in one pass, and each would need a step size of its own"
    return ""


class _FunctionalReLU(TorchFunctionMode):
    """Notes a ReLU that is a function call."""

    called = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        relus = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)
        self.called |= func in relus
        return func(*args, **(kwargs or {}))


def _replace(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for place in [name for name, part in module.named_modules(remove_duplicate=False) if part is old]:
        module.set_submodule(place, new)


def _without_relu(module: nn.Module, example: Tensor) -> None:
    if not any(type(part) is nn.ReLU for part in module.modules()):
        raise ConfigError("relu: the module has no nn.ReLU layer to take out; keep them, or choose vgg7 or alexnet")
    trial = copy.deepcopy(module)
    for target in (trial, module):
        for part in [part for part in target.modules() if type(part) is nn.ReLU]:
            _replace(target, part, nn.Identity())
        if target is trial:
            _fold_norms(trial)  # fused blocks run layer by layer then, and show what they call
            with _FunctionalReLU() as mode:
                _run(trial, example)
            if mode.called:
                raise ConfigError(
                    "relu: the module calls ReLU as a function, which cannot be taken out; keep them, or "
                    "choose a backbone with nn.ReLU layers only (vgg7, alexnet)"
                )


def _low_bit(part: nn.Module, name: str, arithmetic: Arithmetic) -> LowBitLayer:
    if isinstance(part, nn.Conv2d):
        return LowBitConv2d.of(part, name, arithmetic)
    assert isinstance(part, nn.Linear)
    return LowBitLinear.of(part, name, arithmetic)


def _fold_norms(module: nn.Module) -> None:
    for part in [part for part in module.modules() if type(part) in (nn.BatchNorm1d, nn.BatchNorm2d)]:
        assert isinstance(part, nn.modules.batchnorm._BatchNorm)
        if part.running_mean is not None:
            kind: Any = FoldableNorm1d if type(part) is nn.BatchNorm1d else FoldableNorm2d
            _replace(module, part, kind.of(part))


def _check(module: nn.Module, ran: _Ran, keep_float: Sequence[str], strict: bool) -> dict[str, nn.Module]:
    """The layers to convert, in order of execution."""
    weighty = {name: part for name, part in module.named_modules() if isinstance(part, WEIGHTY)}
    unknown = [name for name in keep_float if name not in weighty]
    if unknown:
        raise ConfigError(f"keep_float: expected names of layers ({', '.join(weighty)}); found {unknown[0]!r}")
    objections = {name: _objection(part, ran.times[name]) for name, part in weighty.items()}
    bad = [name for name, why in objections.items() if why and name not in keep_float]
    if bad and strict:
        raise ConfigError(
            f"layer {bad[0]!r} {objections[bad[0]]}; keep it in float (--keep_float {bad[0]})"
            + (f", and {len(bad) - 1} more: {', '.join(bad[1:])}" if len(bad) > 1 else "")
        )
    return {name: weighty[name] for name in ran.order if not objections[name]}


def convert(
    module: nn.Module, form: LowBit, example: Tensor, keep_float: Sequence[str] = (), *, strict: bool = True
) -> list[str]:
    """Put low-bit layers into a module, in place; names of those that are not in float, in order of execution.

    example: one input as the module takes it. keep_float: names of layers that stay in float. strict: `ConfigError` for
    layers with weights that cannot be converted and are not named there, else they stay as they are. `ConfigError` too:
    names of no layer, nothing to convert, converted already, ReLUs that cannot be taken out. The module is as it was then.
    """
    if any(isinstance(part, LowBitLayer) for part in module.modules()):
        raise ConfigError("quantize: the module is of low-bit layers already; begin with one in float")
    if form.weights == "float":
        return []
    ran = _ran(module, example)
    if not ran.order:
        raise ConfigError("quantize: the module has no nn.Conv2d or nn.Linear that runs")
    first = ran.order[0]
    ends = (first,) if form.ends == "float" else ()
    chosen = _check(module, ran, (*keep_float, *ends), strict)
    for name in ends:
        chosen.pop(name, None)
    if not set(chosen) - set(keep_float):
        raise ConfigError("quantize: no layer is left to convert; the first one, and those kept in float, are not")
    if not form.relu:
        _without_relu(module, example)
    names: list[str] = []
    for name, part in chosen.items():
        bits = None if name == first else form.accumulator
        arithmetic = Arithmetic("8" if name == first else form.weights, bits, form.cyclic, form.slope)
        made = _low_bit(part, name, arithmetic)
        made.place = len(names)
        _replace(module, part, made)
        names.append(name)
    _fold_norms(module)
    set_stage(module, FLOAT, [name for name in names if name in keep_float])
    return [name for name in names if name not in keep_float]

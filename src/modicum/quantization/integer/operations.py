"""The float operations a program may hold beside its layers, each written once: tracing names them, networks run them.

Values are (B, ...) with the batch first and pictures (B, C, H, W); options are numbers and lists, so that a file can hold
them. Every function is torch's own, so a program run on the same layout in memory gives the same bits as the module did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.errors import ConfigError

Options = Mapping[str, Any]
Operation = Callable[[Sequence[Tensor], Options], Tensor]


def _relu(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.relu(x[0])


def _leaky_relu(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.leaky_relu(x[0], o["slope"])


def _hardtanh(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.hardtanh(x[0], o["low"], o["high"])


def _unary(function: Callable[[Tensor], Tensor]) -> Operation:
    return lambda x, o: function(x[0])


def _max_pool(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.max_pool2d(x[0], o["kernel"], o["stride"], o["padding"], o["dilation"], o["ceil"])


def _avg_pool(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.avg_pool2d(x[0], o["kernel"], o["stride"], o["padding"], o["ceil"], o["padded"], o["divisor"])


def _adaptive_avg_pool(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.adaptive_avg_pool2d(x[0], o["size"])


def _mean(x: Sequence[Tensor], o: Options) -> Tensor:
    return x[0].mean(o["axes"], o["keep"])


def _reshape(x: Sequence[Tensor], o: Options) -> Tensor:
    return x[0].reshape(len(x[0]), *o["shape"])


def _permute(x: Sequence[Tensor], o: Options) -> Tensor:
    return x[0].permute(o["axes"])


def _cat(x: Sequence[Tensor], o: Options) -> Tensor:
    return torch.cat(list(x), o["axis"])


def _slice(x: Sequence[Tensor], o: Options) -> Tensor:
    places = [slice(None)] * x[0].dim()
    places[o["axis"]] = slice(o["start"], o["stop"], o["step"])
    return x[0][tuple(places)]


def _pad(x: Sequence[Tensor], o: Options) -> Tensor:
    return F.pad(x[0], o["pad"], value=o["value"])


def _expand(x: Sequence[Tensor], o: Options) -> Tensor:
    return x[0].expand(-1, *o["shape"])


def _binary(function: Callable[[Any, Any], Tensor]) -> Operation:
    def run(x: Sequence[Tensor], o: Options) -> Tensor:
        other = x[1] if len(x) == 2 else o["number"]
        return function(other, x[0]) if o.get("reversed") else function(x[0], other)

    return run


OPERATIONS: Mapping[str, Operation] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(F.silu),
    "hardswish": _unary(F.hardswish),
    "hardsigmoid": _unary(F.hardsigmoid),
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "mean": _mean,
    "reshape": _reshape,
    "permute": _permute,
    "cat": _cat,
    "slice": _slice,
    "pad": _pad,
    "expand": _expand,
    "add": _binary(lambda a, b: a + b),
    "sub": _binary(lambda a, b: a - b),
    "mul": _binary(lambda a, b: a * b),
    "div": _binary(lambda a, b: a / b),
}


def rises(op: str, options: Options) -> bool:
    """Whether an operation on one operand never turns two values around."""
    return op in ("relu", "hardtanh") or (op == "leaky_relu" and options["slope"] >= 0)


def operate(op: str, inputs: Sequence[Tensor], options: Options) -> Tensor:
    """The value of an operation; `ConfigError` for a name that is not in the table."""
    if op not in OPERATIONS:
        raise ConfigError(f"integer network: there is no operation {op!r}")
    return OPERATIONS[op](inputs, options)

"""Steps as functions: numbers are torch tensors with the channels last in memory, codes numpy arrays with the channels last.

Each step is bound once, when a network is made: weights are packed for a kernel, constants laid out. What remains for a
picture is a list of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from modicum.errors import ConfigError
from modicum.quantization.carries import carries_of_sums, count_negatives
from modicum.quantization.cyclic import cyclic, wrap
from modicum.quantization.integer.buffers import empty
from modicum.quantization.integer.operations import OPERATIONS, operate
from modicum.quantization.integer.pointwise import Pointwise, Range, max_pool
from modicum.quantization.integer.steps import Step
from modicum.quantization.kernels import EXACT, SIGNED, Finish, Kind, Packed, Shape, convolve, pack

Call = Callable[..., Any]
Codes = npt.NDArray[np.uint8]


class Bound(NamedTuple):
    """A step to call with its operands' values. packed: the weights of a low-bit layer."""

    step: Step
    call: Call
    packed: Packed | None = None


def channels_last(x: Tensor) -> Tensor:
    """Numbers (B, ...) laid out with the channels last, densely."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.contiguous()


def as_numpy(x: Tensor) -> npt.NDArray[np.float32]:
    """Numbers (B, C, H, W) as an array (B, H, W, C), (B, D) as it is; shares memory where it can."""
    x = channels_last(x)
    array: npt.NDArray[np.float32] = (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).numpy()
    return array


def as_numbers(x: npt.NDArray[Any]) -> Tensor:
    """The reverse."""
    found = torch.from_numpy(x)
    return found.permute(0, 3, 1, 2) if found.dim() == 4 else found


def per_channel(values: npt.NDArray[Any], x: Tensor) -> Tensor:
    """Values (C,) as they broadcast against numbers x (B, C, ...)."""
    return torch.from_numpy(values).reshape(-1, *(1,) * (x.dim() - 2))


def low_bit_kind(weights: str) -> Kind:
    """How kernels call a kind of weights."""
    return "binary" if weights == "binary" else "ternary" if weights == "ternary" else "int8"


def packed_weights(step: Step, codes: tuple[int, ...]) -> Packed:
    """Weights of a low-bit step for input codes of that shape, (1, H, W, C), packed for the kernel chosen here."""
    o = step.options
    kind, bits = low_bit_kind(o["weights"]), o["bits"] or EXACT
    wide = 0
    if bits > 8 or kind == "int8":
        wide = SIGNED if o["low"] < 0 else max(1, int(o["largest"]).bit_length())
    weight = step.arrays["weight"]
    weight = weight.reshape(*weight.shape, 1, 1) if weight.ndim == 2 else weight
    if weight.ndim != 4:
        raise ConfigError(f"integer network: weights of shape {weight.shape}")
    weight = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    geometry = (o.get("stride", 1), o.get("padding", 0), o.get("dilation", 1), o.get("groups", 1))
    return pack(weight, kind, Shape.of(codes, weight.shape, *geometry), wide, bits=bits)


def finish_of(step: Step) -> Finish:
    """What a low-bit step does with its sums."""
    o, arrays = step.options, {name: step.arrays[name] for name in ("unit", "scale", "shift") if name in step.arrays}
    fold: Any = "none" if o["cyclic"] in ("none", "modulo") or o["output"] == "sums" else o["cyclic"]
    constants = (arrays.get("unit"), arrays.get("scale"), arrays.get("shift"))
    return Finish(o["output"], o["bits"] or EXACT, fold, o["slope"], o.get("top", 255), o.get("relu", False), *constants)


def run_kernel(x: Codes, packed: Packed, finish: Finish, threads: int) -> npt.NDArray[Any]:
    """A low-bit layer on codes (B, H, W, C), or (B, D) for a linear one."""
    if x.ndim == 2:
        return convolve(x[:, None, None, :], packed, finish, threads)[:, 0, 0, :]
    shape, _ = packed.resized(x.shape)
    out = empty((shape.batch, shape.out_height, shape.out_width, shape.out_channels), finish.dtype)
    return convolve(x, packed, finish, threads, out)


def _low_bit(step: Step, codes: tuple[int, ...], threads: int) -> Bound:
    packed, finish = packed_weights(step, codes), finish_of(step)
    if step.options["output"] == "numbers":
        return Bound(step, lambda x: as_numbers(run_kernel(x, packed, finish, threads)), packed)
    return Bound(step, lambda x: run_kernel(x, packed, finish, threads), packed)


def _float_layer(step: Step) -> Call:
    o = step.options
    weight = torch.from_numpy(step.arrays["weight"])
    bias = torch.from_numpy(step.arrays["bias"]) if "bias" in step.arrays else None
    if step.op == "linear":
        return lambda x: F.linear(x, weight, bias)
    weight = weight.contiguous(memory_format=torch.channels_last)
    stride, padding, dilation, groups = o["stride"], o["padding"], o["dilation"], o["groups"]
    return lambda x: F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _norm(step: Step) -> Call:
    mean, variance, weight, bias = (
        torch.from_numpy(step.arrays[name]) if name in step.arrays else None
        for name in ("mean", "variance", "weight", "bias")
    )
    return lambda x: F.batch_norm(x, mean, variance, weight, bias, False, 0.0, step.options["eps"])


def _cyclic(step: Step) -> Call:
    bits, kind, slope = (step.options[name] for name in ("bits", "cyclic", "slope"))
    unit, shift = step.arrays["unit"], step.arrays["shift"]

    def call(m: npt.NDArray[Any]) -> Tensor:
        c = cyclic(as_numbers(m.astype(np.float32)), bits, kind, slope)
        return c * per_channel(unit, c) + per_channel(shift, c)

    return call


def _code_numbers(x: Codes, low: int) -> Tensor:
    return as_numbers((x.view(np.int8) if low < 0 else x).astype(np.float32))


def carried_sums(step: Step, x: Codes) -> Tensor:
    """Wrapped sums with their carries in them, by Algorithm 1 in float arithmetic that is exact for them."""
    o, weight = step.options, torch.from_numpy(step.arrays["weight"].astype(np.float32))

    def products(q: Tensor, w: Tensor) -> Tensor:
        return (
            F.linear(q, w) if w.dim() == 2 else F.conv2d(q, w, None, o["stride"], o["padding"], o["dilation"], o["groups"])
        )

    q = _code_numbers(x, o["low"]).double()
    z, ternary = products(q, weight.double()), o["weights"] == "ternary"
    n = count_negatives(q, weight.double(), products, signed=o["low"] < 0, ternary=ternary)
    counts = carries_of_sums(z, n, o["bits"])
    return wrap(z + (counts - torch.from_numpy(step.arrays["mean"]).double()), o["bits"])


def _carried(step: Step) -> Call:
    bits, kind, slope = (step.options[name] for name in ("bits", "cyclic", "slope"))
    unit, shift = step.arrays["unit"], step.arrays["shift"]

    def call(x: Codes) -> Tensor:
        c = cyclic(carried_sums(step, x).float(), bits, kind, slope)
        return c * per_channel(unit, c) + per_channel(shift, c)

    return call


def _pool(step: Step) -> Call:
    return lambda x: as_numbers(max_pool(as_numpy(x), step.options))


def _pad(step: Step) -> Call:
    """Padding that keeps the channels last, which torch's does not for channels."""
    pad, value = [int(side) for side in step.options["pad"]], step.options["value"]

    def call(x: Tensor) -> Tensor:
        if x.dim() != 4 or len(pad) > 6 or min(pad) < 0:
            return operate("pad", [x], step.options)
        left, right, above, below, before, behind = (pad + [0] * 6)[:6]
        source = as_numpy(x)
        batch, height, width, channels = source.shape
        size = (batch, above + height + below, left + width + right, before + channels + behind)
        out = empty(size, np.float32)
        out.fill(value)
        out[:, above : above + height, left : left + width, before : before + channels] = source
        return as_numbers(out)

    return call


def _code_reshape(x: Codes) -> Codes:
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1) if x.ndim == 4 else x


def _operation(step: Step) -> Call:
    if "other" not in step.arrays:
        return lambda *x: operate(step.op, x, step.options)
    other = torch.from_numpy(step.arrays["other"])
    return lambda x: operate(step.op, [x, other], step.options)


def _codes(step: Step) -> Call:
    run = Pointwise(None, None, "", 0.0, False, Range(**step.options))
    return lambda x: run(as_numpy(x))[1]


def _pointwise(step: Step) -> Call:
    o, codes = step.options, step.options["codes"]
    scale, shift = step.arrays.get("scale"), step.arrays.get("shift")
    run = Pointwise(scale, shift, o["act"], o["slope"], o["numbers"], None if codes is None else Range(**codes))

    def call(x: Tensor, y: Tensor | None = None) -> Any:
        if y is not None and y.shape != x.shape:
            x, y = (part.contiguous(memory_format=torch.channels_last) for part in torch.broadcast_tensors(x, y))  # type: ignore[no-untyped-call]
        numbers, found = run(as_numpy(x), None if y is None else as_numpy(y))
        if numbers is None:
            return found
        return as_numbers(numbers) if found is None else (as_numbers(numbers), found)

    return call


def _shift(step: Step) -> Call:
    by = np.uint8(step.options["by"] % 256)
    return lambda x: x + by


_SIMPLE: Mapping[str, Callable[[Step], Call]] = {
    "convolution": _float_layer,
    "linear": _float_layer,
    "norm": _norm,
    "codes": _codes,
    "cyclic": _cyclic,
    "carried": _carried,
    "pointwise": _pointwise,
    "code-pool": lambda step: lambda x: max_pool(x, step.options),
    "code-reshape": lambda step: _code_reshape,
    "code-shift": _shift,
    **{**dict.fromkeys(OPERATIONS, _operation), "max_pool": _pool, "pad": _pad},
}


def bind(step: Step, operand: Any, threads: int) -> Bound:
    """A step ready to be called; operand: an example of its first operand's value. `ConfigError` for an unknown step."""
    if step.op == "low-bit":
        shape = (1, *operand.shape[1:]) if operand.ndim == 4 else (1, 1, 1, operand.shape[1])
        return _low_bit(step, shape, threads)
    if step.op not in _SIMPLE:
        raise ConfigError(f"integer network: there is no step {step.op!r}; the file was written by another version")
    return Bound(step, _SIMPLE[step.op](step))

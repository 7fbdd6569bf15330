"""Torch's primitive operations in the vocabulary of `operations`: which there are, and which options they carry over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.quantization.integer.program import Node

if TYPE_CHECKING:
    from modicum.quantization.integer.tracing import Recording

Handler = Callable[["Recording", Mapping[str, Any], Tensor], None]


def _same(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    """The same value elsewhere in memory."""
    source = next(iter(given.values()))
    if x.dtype != source.dtype:
        raise ConfigError(f"integer network: {recording.where or 'the network'} changes the precision to {x.dtype}")
    place = recording.place(source)
    assert place is not None
    recording.name(x, place)


def _reshaped(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    source = given["self"]
    if source.shape == x.shape:
        return _same(recording, given, x)
    if source.dim() == 4 == x.dim() and source.shape[1] == 1 == x.shape[3] and source.shape[2:] == x.shape[1:3]:
        return recording.operation("permute", x, [source], {"axes": [0, 2, 3, 1]})  # one channel: both are the same
    return recording.operation("reshape", x, [source], {"shape": list(x.shape[1:])})


def _permuted(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    source = given["self"]
    if "dims" in given:
        axes = [axis % source.dim() for axis in given["dims"]]
    else:
        axes = list(range(source.dim()))
        first, second = given["dim0"] % source.dim(), given["dim1"] % source.dim()
        axes[first], axes[second] = second, first
    place = recording.place(source)
    assert place is not None
    node = recording.nodes[place]
    if node.op == "permute":
        axes, place = [node.options["axes"][axis] for axis in axes], node.inputs[0]
    if axes == sorted(axes):
        return recording.name(x, place)
    node = Node("permute", (place,), {"axes": axes}, tuple(x.shape[1:]), recording.where)
    return recording.add(node, x)


def _binary(op: str, turned: bool = False) -> Handler:
    def handle(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
        """Record a sum, product or the like, of two values or of one and a constant."""
        if given.get("alpha", 1) != 1 or given.get("rounding_mode") is not None:
            raise ConfigError(f"integer network: {op!r} with a factor or rounding, in {recording.where or 'the network'}")
        first, second = given["self"], given["other"]
        if isinstance(second, Tensor):
            recording.operation(op, x, [second, first] if turned else [first, second], {})
        else:
            recording.operation(op, x, [first], {"number": second} | ({"reversed": True} if turned else {}))

    return handle


def _one(op: str, names: Mapping[str, str] | None = None) -> Handler:
    """One operand and options: ours by their names in torch."""

    def handle(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
        options = {ours: given[theirs] for ours, theirs in (names or {}).items()}
        recording.operation(op, x, [next(iter(given.values()))], options)

    return handle


def _max_pooled(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    kernel = list(given["kernel_size"])
    options = {
        "kernel": kernel,
        "stride": list(given["stride"]) or kernel,
        "padding": list(given["padding"]),
        "dilation": list(given["dilation"]),
        "ceil": given["ceil_mode"],
    }
    recording.operation("max_pool", x, [given["self"]], options)


def _avg_pooled(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    kernel = list(given["kernel_size"])
    options = {
        "kernel": kernel,
        "stride": list(given["stride"]) or kernel,
        "padding": list(given["padding"]),
        "ceil": given["ceil_mode"],
        "padded": given["count_include_pad"],
        "divisor": given["divisor_override"],
    }
    recording.operation("avg_pool", x, [given["self"]], options)


def _mean(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    axes = sorted(axis % given["self"].dim() for axis in given["dim"])
    if 0 in axes:
        raise ConfigError(f"integer network: a mean over pictures of a batch in {recording.where or 'the network'}")
    recording.operation("mean", x, [given["self"]], {"axes": axes, "keep": given["keepdim"]})


def _cat(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    parts = [part for part in given["tensors"] if part.numel()]
    if any(recording.place(part) is None for part in parts):
        raise ConfigError(f"integer network: joins pictures with a constant in {recording.where or 'the network'}")
    recording.operation("cat", x, parts, {"axis": given["dim"] % x.dim()})


def _slice(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    source, axis = given["self"], given["dim"] % x.dim()
    if source.shape == x.shape:
        return _same(recording, given, x)
    size = source.shape[axis]
    start, stop = (given[name] for name in ("start", "end"))
    start = 0 if start is None else max(start + size, 0) if start < 0 else min(start, size)
    stop = size if stop is None else stop + size if stop < 0 else min(stop, size)
    options = {"axis": axis, "start": start, "stop": stop, "step": given["step"]}
    return recording.operation("slice", x, [source], options)


def _expand(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    if given["self"].shape == x.shape:
        return _same(recording, given, x)
    return recording.operation("expand", x, [given["self"]], {"shape": list(x.shape[1:])})


def _strided(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    if x.shape != given["self"].shape or not torch.equal(x, given["self"]):
        raise ConfigError(f"integer network: a view with strides of its own in {recording.where or 'the network'}")
    _same(recording, given, x)


def split(recording: Recording, given: Mapping[str, Any], parts: Sequence[Tensor]) -> None:
    """Record every part of a tensor that was split along one axis, as a slice."""
    axis, start = given["dim"] % parts[0].dim(), 0
    for part in parts:
        stop = start + part.shape[axis]
        recording.operation("slice", part, [given["self"]], {"axis": axis, "start": start, "stop": stop, "step": 1})
        start = stop


def _batch_norm(recording: Recording, given: Mapping[str, Any], x: Tensor) -> None:
    """One that is no layer of torch's own, but part of another: as a layer."""
    if given.get("training"):
        raise ConfigError(f"integer network: batch norm by the batch's own statistics in {recording.where or 'the network'}")
    norm = nn.BatchNorm2d(x.shape[1], given["eps"], affine=given["weight"] is not None).eval()
    norm.running_mean, norm.running_var = given["running_mean"], given["running_var"]
    if given["weight"] is not None:
        norm.weight, norm.bias = nn.Parameter(given["weight"]), nn.Parameter(given["bias"])
    recording.layer(norm, given["input"], x)


KNOWN: Mapping[str, Handler] = {
    **dict.fromkeys(("clone", "detach", "alias", "_to_copy", "lift_fresh", "contiguous"), _same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten"), _reshaped),
    **dict.fromkeys(("permute", "transpose"), _permuted),
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    "rsub": _binary("sub", turned=True),
    **{name: _one(name) for name in ("relu", "sigmoid", "silu", "hardswish", "hardsigmoid")},
    "leaky_relu": _one("leaky_relu", {"slope": "negative_slope"}),
    "hardtanh": _one("hardtanh", {"low": "min_val", "high": "max_val"}),
    "_adaptive_avg_pool2d": _one("adaptive_avg_pool", {"size": "output_size"}),
    "constant_pad_nd": _one("pad", {"pad": "pad", "value": "value"}),
    "max_pool2d_with_indices": _max_pooled,
    "avg_pool2d": _avg_pooled,
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    "as_strided": _strided,
    "mean": _mean,
    "cat": _cat,
    "slice": _slice,
    "expand": _expand,
}
"""Names of torch's operations, without their forms in place, which are recorded as these."""

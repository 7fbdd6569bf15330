"""From a traced program to the steps of an integer network: layers become kernel calls, and what can be folded is.

A low-bit layer is one step. Its options: `weights` (kind), `bits` (None: exact), `cyclic`, `slope`, of the input codes `low`
and `largest` (the largest code); stride, padding, dilation, groups; `output`:

| output | when | constants |
|---|---|---|
| codes | only low-bit layers with one step read it, behind batch norm, ReLU, maxima (`chains`) | scale, shift, top |
| numbers | else: ((f(m) unit) scale) + shift, with a batch norm, then ReLU, that alone read it | unit, scale, shift, relu |
| sums | the slope is no exact number: `cyclic` follows in float | |

Codes with signs leave the kernel raised by -low, so that they are 0 and more, and are lowered behind the maxima.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from modicum.errors import ConfigError
from modicum.quantization.integer.chains import Folded, by_kernel, folded, on_codes
from modicum.quantization.integer.program import Node, Program
from modicum.quantization.integer.steps import Array, Step, Steps, as_array
from modicum.quantization.layers import CODES, FLOAT, LET_THROUGH, LowBitLayer, number
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d
from modicum.quantization.norms import fold as affine_of
from modicum.quantization.weights import integer_weights


def check_ready(module: nn.Module) -> None:
    """`ConfigError` where a module has no low-bit layers, or some that do not run on codes yet."""
    layers = [part for part in module.modules() if isinstance(part, LowBitLayer)]
    if not layers:
        raise ConfigError("integer network: the network has no low-bit layers; make some with `modicum quantize`")
    early = [layer.name for layer in layers if number(layer.stage) not in (CODES, FLOAT)]
    if early:
        raise ConfigError(
            f"integer network: {len(early)} of {len(layers)} low-bit layers still compute with real numbers, the first is "
            f"{early[0]!r}; finish the training (its last stage has activations of few bits), then export"
        )


def pair(value: Any, name: str) -> list[int]:
    """Two sizes from one or two; `ConfigError` for padding that is not the same on both sides."""
    if isinstance(value, str) and value != "valid":
        raise ConfigError(f"integer network: layer {name!r} pads by {value!r}; give the padding as numbers")
    value = 0 if isinstance(value, str) else value
    return [int(value), int(value)] if isinstance(value, int) else [int(part) for part in value]


def _geometry(layer: nn.Module, name: str) -> dict[str, Any]:
    if not isinstance(layer, nn.Conv2d):
        return {}
    return {
        "stride": pair(layer.stride, name),
        "padding": pair(layer.padding, name),
        "dilation": pair(layer.dilation, name),
        "groups": layer.groups,
    }


class Lowering:
    """Builds the steps of one program. reasons: for each layer that gives no codes, why."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.users = program.users()
        self.steps: list[Step] = []
        self.places = 1
        self.numbers: dict[int, int] = {0: 0}  # operation -> place of its value
        self.codes: dict[tuple[Any, ...], int] = {}  # (operation, range of codes) -> place
        self.folded: dict[int, Folded] = {}
        self.gone: set[int] = set()
        self.reasons: dict[str, str] = {}

    def run(self) -> Steps:
        """The steps; `ConfigError` names a layer that cannot be run."""
        self._fold()
        for index, node in enumerate(self.program.nodes):
            if index in self.gone or node.op == "input":
                continue
            layer = on_codes(node)
            if layer is not None:
                self._low_bit(index, node, layer)
            elif node.layer is not None:
                self._layer(index, node)
            else:
                self._operation(index, node)
        c, h, w = self.program.nodes[0].shape
        return Steps(tuple(self.steps), self.numbers[self.program.output], self.places, (c, h, w))

    def add(self, op: str, inputs: list[int], options: dict[str, Any], arrays: dict[str, Array], where: str) -> int:
        """Append a step; the place of its value."""
        place = self.places
        self.places += 1
        self.steps.append(Step(op, tuple(inputs), (place,), options, arrays, where))
        return place

    def _fold(self) -> None:
        for target, readers in enumerate(self.users):
            if not any(on_codes(self.program.nodes[reader]) for reader in readers):
                continue
            found = folded(self.program, self.users, target)
            if isinstance(found, Folded):
                self.folded[found.inside[0]] = found
                self.gone.update(found.inside[1:])
            elif (first := self._behind(target)) is not None:
                self.reasons[first] = found

    def _behind(self, place: int) -> str | None:
        """The low-bit layer that leads to a value along single operands."""
        while on_codes(self.program.nodes[place]) is None:
            if len(self.program.nodes[place].inputs) != 1:
                return None
            place = self.program.nodes[place].inputs[0]
        return self.program.nodes[place].where

    def input_codes(self, source: int, layer: LowBitLayer) -> int:
        """The place of a layer's input codes, made from numbers where nothing else makes them."""
        low, top, inverse = layer.low, number(layer.top), float(layer.inverse)
        key = (source, low, top, inverse)
        if key not in self.codes:
            options = {"inverse": inverse, "low": low, "top": top}
            self.codes[key] = self.add("codes", [self.numbers[source]], options, {}, self.program.nodes[source].where)
        return self.codes[key]

    def _low_bit(self, index: int, node: Node, layer: LowBitLayer) -> None:
        weights, scale = integer_weights(layer.weight, layer.arithmetic.weights)
        kind, slope = layer.arithmetic.cyclic, layer.arithmetic.slope
        options: dict[str, Any] = {
            "weights": layer.arithmetic.weights,
            "bits": layer.bits,
            "cyclic": "none" if layer.bits is None else kind,
            "slope": slope,
            "low": layer.low,
            "largest": number(layer.top),
            **_geometry(layer, node.where),
        }
        if len(node.shape) not in (1, 3):
            raise ConfigError(f"integer network: layer {node.where!r} reads sequences; keep it in float")
        arrays = {"weight": as_array(weights), "unit": as_array(layer.unit(scale.float()))}
        source = self.input_codes(node.inputs[0], layer)
        if index in self.folded:
            return self._to_codes(index, source, options, arrays["weight"], node.where)
        if by_kernel(layer):
            return self._to_numbers(index, layer, source, options, arrays)
        bias = self._bias(layer)
        if number(layer.carry) == LET_THROUGH:
            arrays |= {"shift": bias, "mean": as_array(layer.carry_mean.round())}
            place = self.add("carried", [source], options, arrays, node.where)
        else:
            weight, unit = arrays["weight"], arrays["unit"]
            sums = self.add("low-bit", [source], {**options, "output": "sums"}, {"weight": weight}, node.where)
            kept = {name: options[name] for name in ("bits", "cyclic", "slope")}
            place = self.add("cyclic", [sums], kept, {"unit": unit, "shift": bias}, node.where)
        self.numbers[index] = place
        return None

    @staticmethod
    def _bias(layer: LowBitLayer) -> Array:
        bias = layer.bias
        return np.zeros(len(layer.weight), np.float32) if bias is None else as_array(bias).astype(np.float32)

    def _to_codes(self, index: int, source: int, options: dict[str, Any], weight: Array, where: str) -> None:
        found = self.folded[index]
        options = {**options, "output": "codes", "top": found.top - found.low}
        place = self.add("low-bit", [source], options, {"weight": weight, "scale": found.scale, "shift": found.shift}, where)
        for move in found.moves:
            given = dict(move.options) if move.op == "max_pool" else {}
            place = self.add("code-pool" if move.op == "max_pool" else "code-reshape", [place], given, {}, where)
        if found.low:
            place = self.add("code-shift", [place], {"by": found.low}, {}, where)
        for reader in self.users[found.target]:
            layer = on_codes(self.program.nodes[reader])
            assert layer is not None
            self.codes[found.target, layer.low, number(layer.top), float(layer.inverse)] = place

    def _to_numbers(
        self, index: int, layer: LowBitLayer, source: int, options: dict[str, Any], arrays: dict[str, Array]
    ) -> None:
        node, last, relu = self.program.nodes[index], index, False
        scale, shift = np.ones(len(layer.weight), np.float32), self._bias(layer)
        after = self._only_reader(index)
        if after is not None and layer.bias is None and isinstance(norm := self.program.nodes[after].layer, NORMS):
            scale, shift = norm_arrays(norm)
            last, after = after, self._only_reader(after)
        if after is not None and self.program.nodes[after].op == "relu":
            last, relu = after, True
        options = {**options, "output": "numbers", "relu": relu}
        place = self.add("low-bit", [source], options, {**arrays, "scale": scale, "shift": shift}, node.where)
        place_of_last = last
        self.gone.update(self._between(index, last))
        self.numbers[place_of_last] = place

    def _only_reader(self, place: int) -> int | None:
        readers = self.users[place]
        return readers[0] if len(readers) == 1 and place != self.program.output else None

    def _between(self, first: int, last: int) -> list[int]:
        found = []
        while last != first:
            found.append(last)
            last = self.program.nodes[last].inputs[0]
        return found

    def _layer(self, index: int, node: Node) -> None:
        layer, source = node.layer, [self.numbers[node.inputs[0]]]
        assert layer is not None
        if isinstance(layer, NORMS):
            scale, shift = norm_arrays(layer)
            self.numbers[index] = self.add("affine", source, {}, {"scale": scale, "shift": shift}, node.where)
            return
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            self.numbers[index] = self.add("norm", source, {"eps": layer.eps}, _norm_state(layer, node.where), node.where)
            return
        if getattr(layer, "padding_mode", "zeros") != "zeros":
            raise ConfigError(f"integer network: layer {node.where!r} pads with something else than zeros")
        weight, bias = layer.weight, layer.bias
        arrays = {"weight": as_array(weight)} | ({} if bias is None else {"bias": as_array(bias)})
        op = "convolution" if isinstance(layer, nn.Conv2d) else "linear"
        self.numbers[index] = self.add(op, source, _geometry(layer, node.where), arrays, node.where)

    def _operation(self, index: int, node: Node) -> None:
        arrays = {} if node.constant is None else {"other": as_array(node.constant)}
        inputs = [self.numbers[place] for place in node.inputs]
        self.numbers[index] = self.add(node.op, inputs, dict(node.options), arrays, node.where)


NORMS = (FoldableNorm1d, FoldableNorm2d)


def norm_arrays(norm: FoldableNorm1d | FoldableNorm2d) -> tuple[Array, Array]:
    """Scale and shift (C,) of a norm."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    found = affine_of(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
    return as_array(found.scale), as_array(found.shift)


def _norm_state(layer: nn.modules.batchnorm._BatchNorm, name: str) -> dict[str, Array]:
    if layer.running_mean is None or layer.running_var is None:
        raise ConfigError(f"integer network: batch norm {name!r} keeps no running statistics")
    found = {"mean": layer.running_mean, "variance": layer.running_var}
    found |= {} if layer.weight is None else {"weight": layer.weight, "bias": layer.bias}
    return {key: as_array(value) for key, value in found.items()}

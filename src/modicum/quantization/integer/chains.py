"""What stands between a low-bit layer and the codes of the next one, where it can be folded into the first one's kernel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modicum.quantization.integer.folding import Codes, Doubles, Floats, fold, possible, steps
from modicum.quantization.integer.operations import operate, rises
from modicum.quantization.integer.program import Node, Program
from modicum.quantization.layers import CODES, LET_THROUGH, LowBitLayer, number
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d
from modicum.quantization.norms import fold as affine_of

MOVING = ("max_pool", "reshape")
"""Operations that only choose or move values, and so may be done on codes."""
MOST = 2**22
"""Different sums above which nothing is folded: float32 could not tell their products apart."""


class Folded(NamedTuple):
    """A low-bit layer whose kernel gives codes: its scale and shift (O,), and what is left to do on codes.

    target: the operation whose value the codes stand for; inside: those that are gone.
    """

    scale: Floats
    shift: Floats
    low: int
    top: int
    moves: tuple[Node, ...]
    target: int
    inside: tuple[int, ...]


def on_codes(node: Node) -> LowBitLayer | None:
    """The low-bit layer of an operation, if it is one that runs on codes."""
    layer = node.layer
    return layer if isinstance(layer, LowBitLayer) and number(layer.stage) == CODES else None


def exact_slope(layer: LowBitLayer) -> bool:
    """Whether a kernel's f, in float32, is training's: its slope has few binary digits, or is not used."""
    kind, slope = layer.arithmetic.cyclic, layer.arithmetic.slope
    return kind not in ("smooth", "relu") or (slope < 16 and float(slope * 16).is_integer())


def by_kernel(layer: LowBitLayer) -> bool:
    """Whether a kernel makes the layer's numbers: not where carries are counted, nor with odd slopes."""
    return number(layer.carry) != LET_THROUGH and exact_slope(layer)


def same_codes(layers: list[LowBitLayer]) -> bool:
    """Whether layers make the same codes of the same input."""
    return len({(float(layer.inverse), layer.low, number(layer.top)) for layer in layers}) == 1


def chain_to(program: Program, users: list[list[int]], target: int) -> list[int] | None:
    """Operations from a low-bit layer to `target`, both included, each read by the next alone; None where there are none.

    Behind a reshape channels are no longer told apart, so no batch norm may stand there.
    """
    found = [target]
    while on_codes(node := program.nodes[found[0]]) is None:
        if not (_is_norm(node) or rises(node.op, node.options) or node.op in MOVING) or (
            node.op == "reshape" and len(node.shape) != 1
        ):
            return None
        source = node.inputs[0]
        if len(users[source]) != 1 or source == program.output:
            return None
        found.insert(0, source)
    flat = [program.nodes[place].op == "reshape" for place in found]
    if any(_is_norm(program.nodes[place]) and any(flat[:index]) for index, place in enumerate(found)):
        return None
    return found


def _is_norm(node: Node) -> bool:
    return isinstance(node.layer, FoldableNorm1d | FoldableNorm2d)


def _unit(layer: LowBitLayer) -> Tensor:
    return layer.unit(layer.low_bit_weights().scale)


def trained(nodes: list[Node], unit: Tensor, consumer: LowBitLayer) -> Codes:
    """What training makes of values c of f(m): through the layers of a chain to the codes of the layer behind it."""
    layer = nodes[0].layer
    assert isinstance(layer, LowBitLayer)

    def run(c: Floats) -> npt.NDArray[np.int64]:
        """Codes of values c (n, O) of the cyclic function, by the modules of training themselves."""
        x = torch.from_numpy(np.ascontiguousarray(c))
        x = x.reshape(*x.shape, *(1,) * (layer.weight.dim() - 2)) * layer.per_channel(unit)
        if layer.bias is not None:
            x = x + layer.per_channel(layer.bias)  # type: ignore[arg-type]
        for node in nodes[1:]:
            if node.layer is not None:
                x = node.layer(x)
            elif node.op not in MOVING:
                x = operate(node.op, [x], node.options)
        return consumer.codes(x).flatten(1).long().numpy()

    return run


def _guess(nodes: list[Node], unit: Tensor, inverse: float) -> Doubles:
    slope = unit.double()
    for node in nodes[1:]:
        if isinstance(norm := node.layer, FoldableNorm1d | FoldableNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            slope = slope * affine_of(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps).scale.double()
    out: Doubles = (slope * inverse).numpy()
    return out


def folded(program: Program, users: list[list[int]], target: int) -> Folded | str:
    """The low-bit layer before `target` with everything up to there folded in, or why this is not done.

    All who read the value of `target` must be low-bit layers with the same codes.
    """
    readers = [on_codes(program.nodes[place]) for place in users[target]]
    layers = [layer for layer in readers if layer is not None]
    if len(layers) != len(readers) or not layers or target == program.output:
        return "its numbers are read by others than low-bit layers"
    if not same_codes(layers):
        return "layers behind it have different steps"
    places = chain_to(program, users, target)
    if places is None:
        return "something else than batch norm, ReLU and maxima stands behind it"
    nodes = [program.nodes[place] for place in places]
    layer, consumer = nodes[0].layer, layers[0]
    assert isinstance(layer, LowBitLayer)
    if not by_kernel(layer):
        return "carries are counted into its sums, or its slope is an odd number"
    if min(layer.largest_sum, 2 ** (layer.bits or 62)) > MOST:
        return "its sums are too many to tell apart in float32"
    unit = _unit(layer)
    codes = trained(nodes, unit, consumer)
    values = possible(layer.bits, layer.arithmetic.cyclic, layer.arithmetic.slope, layer.largest_sum)
    low, top = consumer.low, number(consumer.top)
    found = steps(codes, values, len(layer.weight), low, top)
    constants = fold(found._replace(code=found.code - low), _guess(nodes, unit, float(consumer.inverse)))
    if constants is None:
        return "no single scale and shift gives the same codes for all its sums"
    if not _pools_commute(nodes):
        return "a batch norm with a negative scale stands behind its maxima"
    moves = tuple(node for node in nodes if node.op in MOVING)
    return Folded(*constants, low, top, moves, target, tuple(places))


def _pools_commute(nodes: list[Node]) -> bool:
    """Whether maxima of codes are the codes of maxima: a batch norm behind a pool must not turn values around."""
    pools = [index for index, node in enumerate(nodes) if node.op == "max_pool"]
    if not pools:
        return True
    for node in nodes[pools[0] :]:
        norm = node.layer
        if isinstance(norm, FoldableNorm1d | FoldableNorm2d) and norm.weight is not None and bool((norm.weight < 0).any()):
            return False
    return True

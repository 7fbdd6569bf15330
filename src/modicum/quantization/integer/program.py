"""A network as a list of operations: what tracing writes down and integer networks are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from modicum.quantization.integer.operations import operate


class Node(NamedTuple):
    """One operation. op: "input", "layer", or a name of `operations`; inputs: places of its operands in the program.

    shape: of its value, without the batch. where: qualified name of the layer, else of the module it happened in.
    constant: a tensor the program holds in place of a second operand.
    """

    op: str
    inputs: tuple[int, ...]
    options: Mapping[str, Any]
    shape: tuple[int, ...]
    where: str
    layer: nn.Module | None = None
    constant: Tensor | None = None


@dataclass(frozen=True)
class Program:
    """Operations in the order they ran; the value of number `output` is the result."""

    nodes: tuple[Node, ...]
    output: int

    def users(self) -> list[list[int]]:
        """For every operation, the places of those that read its value."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for place, node in enumerate(self.nodes):
            for source in node.inputs:
                found[source].append(place)
        return found

    def __call__(self, x: Tensor) -> Tensor:
        """The result for pictures x (B, C, H, W), computed operation by operation."""
        values: list[Tensor] = []
        for node in self.nodes:
            inputs = [values[place] for place in node.inputs]
            if node.op == "input":
                values.append(x)
            elif node.layer is not None:
                values.append(node.layer(inputs[0]))
            else:
                values.append(operate(node.op, [*inputs, *([] if node.constant is None else [node.constant])], node.options))
        return values[self.output]

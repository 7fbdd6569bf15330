"""What a module computes on pictures, as a list of operations, found by running it once.

Layers with weights (convolutions, linear layers, batch norms) are single operations; what stands between them is recorded
as torch's primitive operations and named in the vocabulary of `operations`. Because the module really runs, its Python
(choices by shapes, loops, functions of its own) needs no reading; because shapes are those of the example, a program holds
for one size of pictures, but for any number of them. Moving values about in memory is left out, as is what nobody uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from modicum.errors import ConfigError
from modicum.quantization.integer.program import Node, Program
from modicum.quantization.integer.vocabulary import KNOWN, split
from modicum.quantization.layers import LowBitConv2d, LowBitLinear
from modicum.quantization.norms import FoldableNorm1d, FoldableNorm2d

LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, LowBitConv2d, LowBitLinear, FoldableNorm1d, FoldableNorm2d)
"""Layers that are one operation; layers made from these may do something more, and are looked into."""
PICTURES = 2
"""In the example: one might be taken for a dimension that is not there."""


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records operations on values that depend on the pictures."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch = len(pictures)
        self.nodes: list[Node] = []
        self.values: dict[int, int] = {}
        self.alive: list[Tensor] = []  # or another tensor might get the identity of one that is gone
        self.stale: dict[int, str] = {}
        self.modules: list[str] = []
        self.inside = 0
        self.add(Node("input", (), {}, tuple(pictures.shape[1:]), ""), pictures)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.inside:
            self._saw(func, args, kwargs or {}, out)
        return out

    @property
    def where(self) -> str:
        """Qualified name of the innermost module that runs."""
        return self.modules[-1] if self.modules else ""

    def place(self, x: Any) -> int | None:
        """Where the program made a tensor, None for what does not depend on the pictures."""
        if not isinstance(x, Tensor):
            return None
        if id(x) in self.stale:
            raise ConfigError(f"integer network: {self.stale[id(x)]} overwrites a value that is read again another way")
        return self.values.get(id(x))

    def name(self, x: Tensor, place: int) -> None:
        """A tensor is the value of an operation."""
        self.values[id(x)] = place
        self.alive.append(x)

    def add(self, node: Node, x: Tensor) -> None:
        """Append an operation whose value is x."""
        self.nodes.append(node)
        self.name(x, len(self.nodes) - 1)

    def _saw(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        flat = [part for value in (*args, *kwargs.values()) for part in (value if isinstance(value, list) else [value])]
        if all(self.place(part) is None for part in flat):
            return None
        schema = func._schema
        given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | dict(kwargs)
        given = {argument.name: argument.default_value for argument in schema.arguments} | given
        name = schema.name.removeprefix("aten::")
        if name in ("split", "split_with_sizes") and given["dim"] % given["self"].dim() > 0:
            return split(self, given, out)
        x = out[0] if isinstance(out, tuple) else out
        written = schema.is_mutable
        name = name.rstrip("_") if written else name
        if not isinstance(x, Tensor) or name not in KNOWN:
            raise ConfigError(
                f"integer network: cannot run {name!r}, found in {self.where or 'the network'}; leave such layers out of "
                "the backbone, or predict with the run itself"
            )
        if (x.dim() < 1 or x.shape[0] != self.batch) and name not in ("permute", "transpose"):
            raise ConfigError(f"integer network: {name!r} in {self.where or 'the network'} mixes the pictures of a batch")
        KNOWN[name](self, given, x)
        return self._overwritten(x, name) if written else None

    def _overwritten(self, x: Tensor, name: str) -> None:
        memory = x.untyped_storage().data_ptr()
        for other in self.alive:
            if other is not x and other.untyped_storage().data_ptr() == memory:
                self.stale[id(other)] = f"{name!r} in {self.where or 'the network'}"

    def operation(self, op: str, x: Tensor, operands: Sequence[Tensor], options: Mapping[str, Any]) -> None:
        """Record op on operands, at most the second of which does not depend on the pictures."""
        places = [self.place(operand) for operand in operands]
        constant = None
        if None in places:
            constant = operands[places.index(None)].detach().clone()
            options = {**options, **({"reversed": True} if places[0] is None else {})}
        inputs = tuple(place for place in places if place is not None)
        self.add(Node(op, inputs, options, tuple(x.shape[1:]), self.where, None, constant), x)

    def layer(self, module: nn.Module, source: Tensor, x: Tensor) -> None:
        """Record a layer with weights as one operation."""
        place = self.place(source)
        if place is not None:
            self.add(Node("layer", (place,), {}, tuple(x.shape[1:]), self.where, module), x)


@contextmanager
def _watched(module: nn.Module, recording: Recording) -> Iterator[None]:
    handles = []
    for name, part in module.named_modules():
        single = type(part) in LAYERS

        def before(part: nn.Module, args: Any, name: str = name, single: bool = single) -> None:
            recording.modules.append(name)
            recording.inside += single

        def after(part: nn.Module, args: Any, out: Any, single: bool = single) -> None:
            """A layer has run: one that is a single operation is recorded as that."""
            recording.inside -= single
            if single and not recording.inside:
                recording.layer(part, args[0], out)
            recording.modules.pop()

        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _used(program: Program) -> Program:
    """Without operations whose values nobody reads."""
    needed = {program.output}
    for place in range(len(program.nodes) - 1, -1, -1):
        if place in needed:
            needed.update(program.nodes[place].inputs)
    needed.add(0)
    kept = sorted(needed)
    new = {place: index for index, place in enumerate(kept)}
    nodes = [program.nodes[place] for place in kept]
    moved = tuple(node._replace(inputs=tuple(new[source] for source in node.inputs)) for node in nodes)
    return Program(moved, new[program.output])


def _check(module: nn.Module, program: Program, x: Tensor) -> None:
    """Refuse a program that computes something else than the module."""
    wanted: Tensor = module(x)
    try:
        found = program(x)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"integer network: the network does other things with {len(x)} pictures ({reason})") from error
    near = 1e-2 * float(wanted.abs().amax()) if wanted.numel() else 0.0
    if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-2, atol=near):
        raise ConfigError(
            "integer network: what was recorded does not give the network's own output; something in it depends on the "
            "batch or happens outside of torch's operations"
        )


def trace(module: nn.Module, shape: Sequence[int]) -> Program:
    """The program of a module in evaluation mode for pictures (C, H, W) = shape, checked on 1 and 3 random ones.

    `ConfigError` names an operation that is not in the vocabulary and the module it happens in. The module is left as it
    was; random numbers come from a generator of this function's own.
    """
    own = torch.Generator().manual_seed(0)
    x = torch.rand(PICTURES, *shape, generator=own)
    training = {part: part.training for part in module.modules()}
    recording = Recording(x)
    try:
        module.eval()
        with torch.no_grad():
            with _watched(module, recording), recording:
                out = module(x)
            place = recording.place(out)
            if place is None:
                raise ConfigError("integer network: the network's output does not depend on the pictures")
            program = _used(Program(tuple(recording.nodes), place))
            for pictures in (1, 3):
                _check(module, program, torch.rand(pictures, *shape, generator=own))
    finally:
        for part, was in training.items():
            part.training = was
    return program

"""A low-bit network that computes with integers: made from a trained one, kept in a small file, run by compiled kernels.

Renkun Ni et al.: WrapNet, ICLR 2021, arXiv 2007.13242. Every sum m is the training network's to the bit, on any machine and
with any kernel, for equal inputs of its layer; codes are made by the same rounded operations, or by folded ones that were
proven to step where those do (`folding`). Float layers (the first one, unless it was quantised too) are torch's, whose last
bits may differ between machines as ever.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn

from modicum.errors import ConfigError, DataError, FileFormatError, ModicumError
from modicum.quantization.choosing import compiled, wanted
from modicum.quantization.integer.engine import Bound, as_numbers, bind, carried_sums, finish_of, run_kernel
from modicum.quantization.integer.file import read_network, write_network
from modicum.quantization.integer.fusing import fused
from modicum.quantization.integer.lowering import Lowering, check_ready
from modicum.quantization.integer.packing import packed_size
from modicum.quantization.integer.sizes import check_picture, check_size
from modicum.quantization.integer.steps import Array, Steps
from modicum.quantization.integer.tracing import trace

LOW_BIT = ("low-bit", "carried")
_BROKEN = (
    ModicumError, RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, MemoryError,
    ctypes.ArgumentError,
)  # fmt: skip


def _check_threads(threads: object) -> None:
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise ConfigError(f"threads: expected a whole number, 1 or more, found {threads!r}")


class LayerReport(NamedTuple):
    """A low-bit layer of an integer network.

    weights: kind. bits: of its sums, None for exact ones. output: "codes" (everything up to the next layer's codes is
    folded into its kernel), else "numbers" or "sums", and `unfolded` says why. kernel: which runs; slower: why not a faster
    one, or "". bytes: of its weights in the file.
    """

    name: str
    weights: str
    bits: int | None
    output: str
    unfolded: str
    kernel: str
    slower: str
    bytes: int


@final
class IntegerNetwork(nn.Module):
    """Pictures (B, C, H, W), float as the converted module takes them -> its features (B, D), float32.

    threads: over which a kernel's rows are shared out. about: JSON-able facts kept in the file. head: an output layer
    {"weight": (K, D), "bias": (K,)} for `logits`.
    """

    def __init__(
        self, steps: Steps, head: Mapping[str, Array] | None = None, about: Mapping[str, Any] | None = None, threads: int = 1
    ) -> None:
        super().__init__()
        _check_threads(threads)
        self.steps, self.head, self.about, self.threads = steps, dict(head or {}), dict(about or {}), threads
        self._last = steps.last_use()
        self._bound: list[Bound] = []
        self._bind()

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        shape: tuple[int, int, int],
        *,
        head: Mapping[str, Tensor] | None = None,
        about: Mapping[str, Any] | None = None,
        threads: int = 1,
    ) -> IntegerNetwork:
        """Of a converted module (an encoder's backbone) for pictures (C, H, W) = shape; the module is left as it was.

        `ConfigError`: no low-bit layers, some that do not run on codes yet, or operations that cannot be recorded.
        """
        check_ready(module)
        training = {part: part.training for part in module.modules()}
        try:
            with torch.no_grad():
                lowering = Lowering(trace(module.eval(), shape))
                steps = fused(lowering.run())
        finally:
            for part, was in training.items():
                part.training = was
        arrays = {name: np.array(tensor.detach().float().numpy()) for name, tensor in (head or {}).items()}
        return cls(steps, arrays, {**(about or {}), "unfolded": lowering.reasons}, threads)

    @classmethod
    def load(cls, path: Path | str, threads: int = 1) -> IntegerNetwork:
        """From a file of `save`; `FileFormatError` where it is damaged, changed, of a newer version or none of ours.

        `ConfigError` where a kernel was asked for that does not run here.
        """
        steps, head, about = read_network(path)
        wanted()  # a wrong MODICUM_KERNELS is no fault of the file, nor are threads
        _check_threads(threads)
        try:
            return cls(steps, head, about, threads)
        except _BROKEN as error:
            reason = " ".join(str(error).split())[:200]
            raise FileFormatError(f"{path}: its steps do not make a network ({reason})") from error

    def save(self, path: Path | str) -> Path:
        """Write the network into one file, whole or not at all."""
        write_network(path, self.steps, self.head, self.about)
        return Path(path)

    def _bind(self) -> None:
        """Bind every step, by running them on a black picture."""
        check_picture(self.steps.shape)
        x = torch.zeros(1, *self.steps.shape).contiguous(memory_format=torch.channels_last)
        values: dict[int, Any] = {0: x}
        with torch.inference_mode():
            for index, step in enumerate(self.steps.steps):
                operands = [values[place] for place in step.inputs]
                check_size(step, operands, self.steps.shape)
                bound = bind(step, operands[0], self.threads)
                self._bound.append(bound)
                self._put(values, index, bound.call(*operands))
        found = values[self.steps.output]
        if not isinstance(found, Tensor) or found.dim() != 2:
            raise ConfigError(f"integer network: expected features (B, D), found {tuple(found.shape)}")
        self.n_features = found.shape[1]
        self._check_head()

    def _check_head(self) -> None:
        weight, bias = self.head.get("weight"), self.head.get("bias")
        if weight is not None and (weight.dtype != np.float32 or weight.ndim != 2 or weight.shape[1] != self.n_features):
            raise ConfigError(f"head: expected weights (K, {self.n_features}), found {weight.dtype} {weight.shape}")
        if bias is not None and (weight is None or bias.dtype != np.float32 or bias.shape != weight.shape[:1]):
            raise ConfigError(f"head: expected a bias for each of its weights' rows, found {bias.dtype} {bias.shape}")
        if not isinstance(self.about.get("unfolded", {}), dict):
            raise ConfigError("about: expected reasons by names of layers under 'unfolded'")

    def _put(self, values: dict[int, Any], index: int, found: Any) -> None:
        step = self.steps.steps[index]
        several = found if len(step.outputs) > 1 else (found,)
        for place, value in zip(step.outputs, several, strict=True):
            values[place] = value
        for place in step.inputs:
            if self._last[place] == index:
                values.pop(place, None)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes: what the network was made of; kernels are chosen, and weights packed, where it arrives."""
        return IntegerNetwork, (self.steps, self.head, self.about, self.threads), {"training": self.training}

    def _run(self, x: Tensor, sums: dict[str, Tensor] | None = None) -> Tensor:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise DataError(f"x: expected a tensor of float pictures, prepared as the encoder prepares them, found {found}")
        if x.dim() != 4 or tuple(x.shape[1:]) != self.steps.shape:
            raise DataError(f"x: expected pictures (B, {', '.join(map(str, self.steps.shape))}), found {tuple(x.shape)}")
        x = x.detach().to("cpu", torch.float32)
        c, h, w = self.steps.shape
        if c == 1:
            x = x.reshape(len(x), h, w, 1).permute(0, 3, 1, 2)
        values: dict[int, Any] = {0: x.contiguous(memory_format=torch.channels_last)}
        with torch.inference_mode():
            for index, bound in enumerate(self._bound):
                operands = [values[place] for place in bound.step.inputs]
                if sums is not None and bound.step.op in LOW_BIT:
                    sums[bound.step.where] = _sums(bound, operands[0], self.threads)
                self._put(values, index, bound.call(*operands))
        features: Tensor = values[self.steps.output]
        return features.clone()

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, D). `DataError`: pictures of another type or shape than the network was made for."""
        return self._run(x)

    def logits(self, x: Tensor) -> Tensor:
        """Outputs (B, K) of the output layer on the features; `ConfigError` for a network without one."""
        if "weight" not in self.head:
            raise ConfigError(
                "integer network: it was saved without an output layer; predict with `modicum fit` and `predict`"
            )
        bias = self.head.get("bias")
        return nn.functional.linear(
            self._run(x), torch.from_numpy(self.head["weight"]), None if bias is None else torch.from_numpy(bias)
        )

    def integers(self, x: Tensor) -> dict[str, Tensor]:
        """The wrapped sums m of every low-bit layer by name, int32 (B, O, H', W') or (B, O)."""
        found: dict[str, Tensor] = {}
        self._run(x, found)
        return found

    def report(self) -> list[LayerReport]:
        """Every low-bit layer in order."""
        reasons, rows = self.about.get("unfolded", {}), []
        for step, _, packed in self._bound:
            if step.op not in LOW_BIT:
                continue
            size = packed_size(step.arrays["weight"].shape, step.options["weights"])
            output = step.options.get("output", "numbers")
            kernel, slower = ("numpy", "") if packed is None else (packed.kernel, packed.why)
            if step.op == "carried":
                kernel, slower = "reference", "carries are counted into its sums, which no kernel does as training did"
            unfolded = "" if output == "codes" else reasons.get(step.where, "")
            o = step.options
            rows.append(LayerReport(step.where, o["weights"], o["bits"], output, unfolded, kernel, slower, size))
        return rows

    def summary(self) -> str:
        """The report in lines, with a hint where nothing is compiled."""
        lines = [
            f"{row.name}: {row.weights} weights, {'exact' if row.bits is None else f'{row.bits}-bit'} sums, {row.kernel}"
            + (f" ({row.slower})" if row.slower else "") + (f"; not folded: {row.unfolded}" if row.unfolded else "")
            for row in self.report()
        ]  # fmt: skip
        if compiled() is None:
            lines.append("no compiled kernels are installed: numpy computes the same integers, slowly")
        return "\n".join(lines)


def _sums(bound: Bound, codes: Any, threads: int) -> Tensor:
    if bound.packed is None:
        return carried_sums(bound.step, codes).to(torch.int32)
    step = bound.step._replace(options={**bound.step.options, "output": "sums", "cyclic": "none"})
    return as_numbers(run_kernel(codes, bound.packed, finish_of(step), threads).astype(np.int32))

"""Batch-norm statistics as values: pure functions around a module, which itself never changes.

Sergey Ioffe, Christian Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167. For a channel with values v_1..v_m
(all pictures and pixels of a batch)

    mean = sum_i v_i / m,    var = sum_i (v_i - mean)^2 / m  (biased),    out = (v - mean) / sqrt(var + eps) * weight + bias

| mode | statistics of a query | function |
|---|---|---|
| running | the module's buffers, moving averages from training | `forward_frozen` with `copy_buffers` |
| support | mean and biased variance of the task's support set, frozen | `support_buffers`, then `forward_frozen` |
| batch | those of the batch the query sits in: it sees the other queries | `forward_batch`; `forward_own` for gradients |

Training (`forward_training`) normalises by the batch and moves copies of the buffers by the layers' momentum, with the
unbiased variance sum (v - mean)^2 / (m - 1), as torch does. Only the outer loop puts such copies back into a module.

All functions take any module whose batch norm goes through `torch.nn.functional.batch_norm` (torch's own layers and
timm's); `probe.probe` says whether a module can be run so. Gradients reach the module's own parameters, and in the support
mode flow through the statistics too. A module's `training` flags are put back, and not touched where they are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from modicum.backbones.batch_norm_pool import batch_norm_pool
from modicum.backbones.convolution import convolve
from modicum.backbones.norm_pool import given_norm_pool, norm_pool_activate
from modicum.errors import ConfigError
from modicum.quantization.norms import apply_folded, folded_norm

Buffers = dict[str, Tensor]


@contextmanager
def _training(module: nn.Module, training: bool) -> Iterator[None]:
    others = [part for part in module.modules() if part.training is not training]
    for part in others:
        part.training = training
    try:
        yield
    finally:
        for part in others:
            part.training = not training


def copy_buffers(module: nn.Module) -> Buffers:
    """Copies of all buffers of a module by qualified name, detached."""
    return {name: buffer.detach().clone() for name, buffer in module.named_buffers()}


def mean_buffers(several: Sequence[Mapping[str, Tensor]]) -> Buffers:
    """Elementwise mean of buffers that several tasks or ranks updated from the same start; counters take the largest."""
    if not several:
        raise ConfigError("mean_buffers: expected at least one set of buffers, found none")

    def merged(tensors: list[Tensor]) -> Tensor:
        stacked = torch.stack(tensors)
        return stacked.mean(0) if stacked.is_floating_point() else stacked.amax(0)

    return {name: merged([buffers[name] for buffers in several]) for name in several[0]}


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) over pictures and pixels of x (B, C) or (B, C, ...), at least in float32."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    axes = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(x, axes, correction=0)
    return mean, variance


def normalise(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Batch norm of x (B, C, ...) by given statistics (C,), differentiable in them too (torch's kernel is not)."""
    shape = (1, -1, *(1,) * (x.dim() - 2))
    scale = torch.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * weight
    out = (x - mean.reshape(shape)) * scale.reshape(shape)
    if bias is not None:
        out = out + bias.reshape(shape)
    return out.to(x.dtype)


class _Layers(TorchFunctionMode):
    """Answers calls of `F.batch_norm`: differentiable in the statistics; with `record`, by the statistics of its input.

    With `own`, convolutions are those that are cheap to differentiate twice.
    Likewise calls of `norm_pool_activate`, which holds a batch norm and asks only where its kernels are usable, and of
    `folded_norm`.
    own: by the statistics of its input in a kernel through which gradients flow; recorded ones are detached.
    traced: gradients flow into the statistics; None where they say so themselves, which inside vmap they do not.
    """

    def __init__(self, buffers: Mapping[str, Tensor], record: bool, own: bool = False, traced: bool | None = None) -> None:
        super().__init__()
        self.names = {id(buffer): name for name, buffer in buffers.items()}
        self.record, self.own, self.traced = record, own, traced
        self.found: Buffers = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is norm_pool_activate:
            return self._norm_pool(*args)
        if func is folded_norm:
            return self._folded_norm(*args)
        if func is F.conv2d and self.own:
            return convolve(*args, **(kwargs or {}))
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        return self._batch_norm(*args, **(kwargs or {}))

    def _norm_pool(self, x: Tensor, norm: nn.BatchNorm2d, slope: float) -> Tensor:
        running_mean, running_var = norm.running_mean, norm.running_var
        assert running_mean is not None
        assert running_var is not None
        if not (self.own or self.record):
            return given_norm_pool(x, running_mean, running_var, norm, slope)
        found = batch_norm_pool(x, norm.weight, norm.bias, norm.eps, slope)
        if self.record:
            moments = (found.mean.detach(), found.variance.detach()) if self.own else (found.mean, found.variance)
            self._keep(running_mean, running_var, moments)
        return found.y

    def _folded_norm(
        self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        if self.own:
            return self._batch_norm(x, mean, variance, weight, bias, eps=eps)
        if self.record:
            mean, variance = self._statistics(x, mean, variance)
        return apply_folded(x, mean, variance, weight, bias, eps)

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if running_mean is None or running_var is None:
            raise ConfigError("batch norm: a layer keeps no running statistics, so its output cannot be frozen")
        if self.own:
            if self.record:
                self._statistics(input.detach(), running_mean, running_var)
            return F.batch_norm(input, None, None, weight, bias, True, 0.0, eps)
        mean, variance = self._statistics(input, running_mean, running_var) if self.record else (running_mean, running_var)
        traced = mean.requires_grad or variance.requires_grad if self.traced is None else self.traced
        if torch.is_grad_enabled() and traced:
            return normalise(input, mean, variance, weight, bias, eps)
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    def _statistics(self, x: Tensor, running_mean: Tensor, running_var: Tensor) -> tuple[Tensor, Tensor]:
        if x.numel() <= x.shape[1]:
            layer = self.names[id(running_mean)].rpartition(".")[0]
            raise ConfigError(f"batch norm: one value per channel at layer {layer!r} has no variance; use more pictures")
        mean, variance = (value.to(running_mean.dtype) for value in batch_statistics(x))
        self._keep(running_mean, running_var, (mean, variance))
        return mean, variance

    def _keep(self, running_mean: Tensor, running_var: Tensor, moments: tuple[Tensor, Tensor]) -> None:
        names = self.names[id(running_mean)], self.names[id(running_var)]
        if names[0] in self.found:
            layer = names[0].rpartition(".")[0]
            raise ConfigError(f"batch norm: layer {layer!r} runs twice in one pass, so it has no one set of statistics")
        self.found.update(zip(names, moments, strict=True))


def forward_training(module: nn.Module, x: Tensor, buffers: Mapping[str, Tensor]) -> tuple[Tensor, Buffers]:
    """Features of x under its own batch statistics, and new buffers moved by momentum; dropout is on.

    Neither the module nor the dict passed in changes. buffers: as `copy_buffers` gives them.
    """
    updated = {name: buffer.detach().clone() for name, buffer in buffers.items()}
    with _training(module, True):
        features: Tensor = functional_call(module, updated, (x,))
    return features, updated


def forward_frozen(module: nn.Module, x: Tensor, buffers: Mapping[str, Tensor], traced: bool | None = None) -> Tensor:
    """Features of x in evaluation mode under the given buffers; no picture's features depend on another's.

    traced: whether gradients flow into the statistics, None to ask the tensors (which cannot say inside vmap).
    """
    given = dict(buffers)
    differentiable = any(buffer.requires_grad for buffer in given.values()) if traced is None else traced
    with _training(module, False), _Layers(given, record=False, traced=traced) if differentiable else nullcontext():
        features: Tensor = functional_call(module, given, (x,))
    return features


def support_buffers(module: nn.Module, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Buffers]:
    """Features of a support set x under its own statistics, and the buffers that reproduce them in `forward_frozen`.

    Evaluation mode but for the statistics. parameters: in place of the module's own, by name. Where gradients are on, they
    flow through mean and variance. `ConfigError` where a layer runs twice, keeps no running statistics, or gets one value
    per channel.
    """
    buffers = copy_buffers(module)
    with _training(module, False), _Layers(buffers, record=True) as layers:
        features: Tensor = functional_call(module, {**(parameters or {}), **buffers}, (x,))
    return features, {**buffers, **layers.found}


def forward_own(
    module: nn.Module, x: Tensor, parameters: Mapping[str, Tensor], record: bool = False, differentiable: bool = False
) -> tuple[Tensor, Buffers]:
    """Outputs of x under its own statistics, fast to differentiate twice; may stand inside vmap.

    As `support_buffers`, but the statistics come back only with `record`, then detached, or with `differentiable`, which
    takes the slow way; other buffers are not among them. `x` needs two values per channel at least.
    """
    buffers = dict(module.named_buffers())
    with (
        _training(module, False),
        _Layers(buffers, record=record or differentiable, own=not differentiable, traced=True) as layers,
    ):
        outputs: Tensor = functional_call(module, {**parameters, **buffers}, (x,))
    return outputs, layers.found


def has_batch_norm(module: nn.Module) -> bool:
    """Whether any layer of a module normalises by statistics of a batch."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def forward_batch(module: nn.Module, x: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Tensor:
    """Features of x under the statistics of x, else evaluation mode: every picture sees every other one."""
    return support_buffers(module, x, parameters)[0]

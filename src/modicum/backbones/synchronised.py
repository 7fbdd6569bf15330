"""Batch norm over the pictures of all processes, on a CPU as on a GPU, with gradients through the statistics.

Sergey Ioffe, Christian Szegedy, "Batch Normalization", ICML 2015, arXiv 1502.03167, over a batch that lies in parts of
n_r pictures on R processes:

    m = sum_r n_r,    mean = sum_r sum_i v_ri / m,    var = sum_r sum_i (v_ri - mean)^2 / m

torch's own SyncBatchNorm needs a GPU. The sums are `all_reduce`s whose backward is an `all_reduce` too: a statistic is
used on every process, so its gradient is the sum of theirs. The variance takes a second sum about the common mean, because
the mean of squares minus the square of the mean loses digits.
"""

from __future__ import annotations

from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from modicum.backbones.batch_norm import normalise
from modicum.backbones.encoder import Encoder
from modicum.errors import ConfigError


class _Sum(torch.autograd.Function):
    """Sum over processes, forward and backward."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """The sum of x over processes."""
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """The sum of the gradients: x enters the result on every process."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    """Rows of all processes, in order of rank; backward: the sum of their gradients for this process's rows."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Rows (R n, ...) of x (n, ...) on R processes."""
        context.n, context.rank = len(x), dist.get_rank()
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """This process's rows of the summed gradient."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total[context.rank * context.n : (context.rank + 1) * context.n]


def gathered(x: Tensor) -> Tensor:
    """Rows (R n, ...) of all R processes, of x (n, ...) here, differentiable; alone, x itself."""
    if not (dist.is_available() and dist.is_initialized()):
        return x
    rows: Tensor = _Gather.apply(x)
    return rows


def _sum(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)
    return total


@final
class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose training statistics are those of the pictures of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """x (B, C, H, W) normalised; evaluation mode as torch's."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = (0, 2, 3)
        count = x.new_tensor(x.numel() / x.shape[1])
        dist.all_reduce(count)
        mean = _sum(x.sum(axes)) / count
        variance = _sum((x - mean.view(1, -1, 1, 1)).square().sum(axes)) / count
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return normalise(input, mean, variance, self.weight, self.bias, self.eps)


def synchronise(encoder: Encoder) -> Encoder:
    """The encoder with every `nn.BatchNorm2d` made a `SynchronisedBatchNorm2d`, in place; names and values stay.

    `ConfigError` for a batch norm of another class, which would take the statistics of one process's pictures.
    """
    for name, module in encoder.named_modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm2d
        elif isinstance(module, _BatchNorm) and not isinstance(module, SynchronisedBatchNorm2d):
            raise ConfigError(
                f"backbone: {name} is a {type(module).__name__}, whose statistics several processes cannot share; "
                "expected nn.BatchNorm2d, or train in one process"
            )
    return encoder

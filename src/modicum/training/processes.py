"""Several processes as `torchrun` starts them: one group, sums over all, one of them that writes.

    torchrun --nproc-per-node 2 -m modicum train ...

Gradients are summed by hand in one flat buffer instead of by DistributedDataParallel, because a step of meta-learning calls
the encoder functionally, several times, with per-task statistics, and not through the `forward` that DDP hooks into.
Backend: nccl where there is a GPU for every process, gloo otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from modicum.errors import TrainingError
from modicum.runtime import Ranks, ranks

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, who may be reading a large data set."""


@contextmanager
def processes(device: torch.device) -> Iterator[Ranks]:
    """Joins the group that torchrun's variables describe and leaves it at the end; alone, there is no group.

    `TrainingError` where another process is gone, which alone knows why.
    """
    here = ranks()
    if here.size == 1 or dist.is_initialized():
        yield here
        return
    own = device.type == "cuda" and device.index is None and torch.cuda.device_count() >= _local_size(here)
    if own:
        local_device(device)
    dist.init_process_group("nccl" if own else "gloo", timeout=PATIENCE)
    try:
        dist.barrier()  # a process that is refused at once must not leave while others are still connecting
        yield here
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise TrainingError("another process ended; what it said before tells why") from error
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """This process's GPU where the device is "cuda" without a number and several processes run; its own if they suffice."""
    if device.type == "cuda" and device.index is None and ranks().size > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    return device


def _local_size(here: Ranks) -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", here.size))


def together() -> bool:
    """Whether several processes work on one training."""
    return dist.is_available() and dist.is_initialized()


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place; every process calls it in the same order."""
    if together():
        dist.all_reduce(tensor)
    return tensor


def largest(value: float | None, device: torch.device) -> float | None:
    """The largest of a number over all processes; None where none has one."""
    number = torch.tensor(-1.0 if value is None else value, dtype=torch.float64, device=device)
    if together():
        dist.all_reduce(number, dist.ReduceOp.MAX)
    return None if float(number) < 0 else float(number)


def wait() -> None:
    """Return when all processes have come here."""
    if together():
        dist.barrier()


@contextmanager
def first_alone(here: Ranks) -> Iterator[None]:
    """The first process runs the block while the others wait, then they do: what it leaves on disk they find."""
    if here.rank > 0:
        wait()
    yield
    if here.rank == 0:
        wait()


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its sum over all processes; a parameter without one counts as zero."""
    if not together():
        return
    mine = list(parameters)
    for parameter in mine:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in mine if parameter.grad is not None]
    flat = summed(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, piece in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(piece.view_as(gradient))


def sum_buffers(buffers: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Buffers averaged over all processes, each with its share of the batch (the shares sum to 1); counters stay."""
    if not together():
        return buffers
    return {name: summed(value * share) if value.is_floating_point() else value for name, value in sorted(buffers.items())}

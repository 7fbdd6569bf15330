"""The kernels of `csrc/batch_norm_pool.c` as Python functions, and when they may be used.

Without kernels, on a GPU, in half precision, under vmap and the other transforms of torch.func, compiled or traced,
`usable` says no, and the same layers run one by one.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from modicum.kernels import library

_PREFIX = "modicum_batch_norm_pool_"
_SIGNATURES = {  # p: pointer, n: number of anything, r: real number
    "statistics": "pnnnnnp",
    "moments": "pnnrp",
    "affine": "pppnrp",
    "pool": "pnnnnnpprppp",
    "pool_values": "pnnnnnpprp",
    "place": "ppnnnnnprp",
    "pooled_sums": "pppnnnnnprp",
    "first": "pnnrpprppppp",
    "scatter": "pppnnnnnpprp",
    "second_sums": "ppppnnnnnprp",
    "second_coefficients": "pnnrpprpppppp",
    "second": "pppppnnnnnpprpp",
}


class _Pointer:
    """The data of a tensor as an argument of a kernel; None is a null pointer."""

    @classmethod
    def from_param(cls, value: Tensor | None) -> ctypes.c_void_p:
        return ctypes.c_void_p(None if value is None else value.data_ptr())


_KINDS: dict[str, Any] = {"p": _Pointer, "n": ctypes.c_int64, "r": ctypes.c_double}
_FEW = 1 << 17
"""Values that are not worth a second thread."""
_SUFFIXES = {torch.float32: "_f32", torch.float64: "_f64"}


@functools.cache
def _threads(process: int, number: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked one makes its own."""
    return ThreadPoolExecutor(number, "modicum-kernels")


def _over_images(kernel: Any, place: int) -> Callable[..., None]:
    """The kernel on as many threads as torch has, each with a range of images; arguments place.. are first, last, sizes.

    ctypes lets go of the interpreter while a kernel runs. Bits do not depend on the ranges.
    """

    def run(*given: Any) -> None:
        """The kernel with these arguments, all of its images."""
        first, last = given[place : place + 2]
        parts = min(torch.get_num_threads(), last - first)
        if parts < 2 or math.prod(given[place + 1 : place + 5]) < _FEW:
            kernel(*given)
            return
        edges = [first + (last - first) * part // parts for part in range(parts + 1)]
        pool = _threads(os.getpid(), parts - 1)
        ranges = [(*given[:place], *pair, *given[place + 2 :]) for pair in itertools.pairwise(edges)]
        waiting = [pool.submit(kernel, *each) for each in ranges[1:]]
        kernel(*ranges[0])
        for one in waiting:
            one.result()

    return run


@functools.cache
def kernels() -> dict[torch.dtype, dict[str, Any]] | None:
    """dtype -> kernel by name; None where there are none."""
    found = library()
    if found is None:
        return None
    typed: dict[torch.dtype, dict[str, Any]] = {}
    for dtype, suffix in _SUFFIXES.items():
        typed[dtype] = {}
        for name, signature in _SIGNATURES.items():
            kernel = getattr(found, _PREFIX + name + suffix)
            kernel.argtypes, kernel.restype = [_KINDS[letter] for letter in signature], None
            typed[dtype][name] = _over_images(kernel, signature.index("nnnnn")) if "nnnnn" in signature else kernel
    return typed


def kernels_for(dtype: torch.dtype) -> dict[str, Any]:
    """The kernels by name for tensors that are `usable`."""
    found = kernels()
    assert found is not None, "usable was not asked"
    return found[dtype]


def plain(*tensors: Tensor) -> bool:
    """Whether tensors are plain ones on the CPU that nobody transforms, compiles or records."""
    return (
        all(type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu" for x in tensors)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and not torch._C._are_functorch_transforms_active()
        and not is_in_torch_dispatch_mode()  # recorded or faked: the kernels read and write behind torch's back
        and forward_ad._current_level < 0
    )


def usable(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether the kernels take x (B, C, H, W) with these parameters (C,), here and now."""
    return (
        weight is not None
        and bias is not None
        and plain(x, weight, bias)
        and x.dim() == 4
        and min(x.shape[2:]) >= 2
        and x.numel() > x.shape[1]
        and x.dtype in _SUFFIXES
        and weight.dtype == bias.dtype == x.dtype
        and kernels() is not None
    )


def channels_last(x: Tensor) -> Tensor:
    """x (B, C, H, W) laid out as the kernels read it."""
    return x.contiguous(memory_format=torch.channels_last)


def empty(x: Tensor, height: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for (B, C, height, width), channels last, B and C as x has them."""
    return torch.empty(len(x), height, width, x.shape[1], dtype=dtype or x.dtype).permute(0, 3, 1, 2)

"""Which kernel of `csrc/low_bit` makes a low-bit convolution here: by processor, by layer, or by name."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import os
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from modicum.errors import ConfigError
from modicum.kernels import library
from modicum.quantization.shapes import EXACT, FinishC, Shape
from modicum.registry import suggest

Kind = Literal["binary", "ternary", "int8"]
SIGNED = 9
"""`wide` of signed codes."""
NUMPY = "numpy"
KINDS: dict[str, int] = {"binary": 1, "ternary": 2, "int8": 8}
_asked: contextvars.ContextVar[str | None] = contextvars.ContextVar("kernel", default=None)


class ShapeC(ctypes.Structure):
    """C's `low_bit_shape`."""

    _fields_ = tuple((name, ctypes.c_int64) for name in Shape._fields)


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The compiled kernels with the types of those used here, or None where there are none."""
    found = library()
    return None if found is None else _typed(found)


def _typed(found: ctypes.CDLL) -> ctypes.CDLL:
    shape, whole, place, size = ctypes.POINTER(ShapeC), ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64
    finish = ctypes.POINTER(FinishC)
    types: dict[str, tuple[object, list[object]]] = {
        "kernels": (whole, []),
        "name": (ctypes.c_char_p, [whole]),
        "runs_here": (whole, [whole]),
        "supports": (whole, [whole, shape, whole, whole, whole]),
        "packed_bytes": (size, [whole, shape, whole, whole]),
        "pack": (None, [whole, shape, whole, whole, place, place]),
        "scratch_bytes": (size, [whole, shape, whole, whole, size]),
        "convolve": (None, [whole, shape, whole, whole, place, place, size, size, place, finish, place]),
    }
    for name, (result, arguments) in types.items():
        function = getattr(found, f"modicum_low_bit_{name}")
        function.restype, function.argtypes = result, arguments
    return found


@functools.cache
def numbers() -> dict[str, int]:
    """Names of all compiled kernels, the fastest first -> their numbers."""
    found = compiled()
    if found is None:
        return {}
    return {found.modicum_low_bit_name(i).decode(): i for i in range(found.modicum_low_bit_kernels())}


@functools.cache
def kernels() -> tuple[str, ...]:
    """Names of the kernels that run on this machine, the fastest first; the last is "numpy"."""
    found = compiled()
    running = [name for name, i in numbers().items() if found is not None and found.modicum_low_bit_runs_here(i)]
    return (*running, NUMPY)


def _checked(name: str, source: str) -> str:
    if name in kernels():
        return name
    if name in numbers():
        raise ConfigError(f"{source}: this processor does not run the kernel {name!r}; it runs {', '.join(kernels())}")
    known = (*numbers(), NUMPY)
    raise ConfigError(f"{source}: unknown kernel {name!r}{suggest(name, known)}; known: {', '.join(known)}")


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Weights packed within are packed for this kernel wherever it supports the layer. `ConfigError` for unknown names."""
    token = _asked.set(_checked(name, "using"))
    try:
        yield
    finally:
        _asked.reset(token)


def wanted(kernel: str | None = None) -> str | None:
    """The kernel asked for: `kernel`, that of `using` or MODICUM_KERNELS, or None. `ConfigError` if it does not run here."""
    if kernel is not None:
        return _checked(kernel, "kernel")
    if (within := _asked.get()) is not None:
        return within
    name = os.environ.get("MODICUM_KERNELS", "")
    return _checked(name, "MODICUM_KERNELS") if name else None


class Chosen(NamedTuple):
    """name: the kernel; why: which ones before it do not do this layer, as a sentence; empty where it is the first."""

    name: str
    why: str


def chosen(shape: Shape, weights: Kind, bits: int = 8, wide: int = 0, kernel: str | None = None) -> Chosen:
    """The kernel that `pack` would take. `ConfigError` for unknown kernels and impossible bits."""
    _check_form(weights, bits, wide)
    asked = wanted(kernel)
    names = [*([] if asked is None else [asked]), *kernels()]
    if _supports(names[0], shape, weights, bits, wide):
        return Chosen(names[0], "")
    name = next(name for name in names if _supports(name, shape, weights, bits, wide))
    layer = f"{weights} weights, {'exact sums' if bits == EXACT else f'{bits} bits'}"
    layer += f", {shape.groups} groups" if shape.groups > 1 else ""
    layer += ", dilation" if max(shape.dilation_h, shape.dilation_w) > 1 else ""
    passed = ", ".join(dict.fromkeys(names[: names.index(name)]))
    return Chosen(name, f"{passed} {'does' if ',' not in passed else 'do'} not support this layer ({layer}): {name} runs it")


def _supports(name: str, shape: Shape, weights: Kind, bits: int, wide: int) -> bool:
    found = compiled()
    if name == NUMPY or found is None:
        return True
    arguments = (numbers()[name], ShapeC(*shape), KINDS[weights], bits, wide)
    return bool(found.modicum_low_bit_supports(*arguments))


def _check_form(weights: Kind, bits: int, wide: int) -> None:
    if weights not in get_args(Kind):
        raise ConfigError(f"weights: expected one of {', '.join(get_args(Kind))}, found {weights!r}")
    if not (2 <= bits <= 16 or bits == EXACT):
        raise ConfigError(f"bits: expected 2 to 16, or {EXACT} for sums that do not wrap; found {bits}")
    if not 0 <= wide <= SIGNED:
        raise ConfigError(f"wide: expected 0, the codes' bits 1 to 8, or {SIGNED} for signed codes; found {wide}")
    if wide == 0 and (bits > 8 or weights == "int8"):
        raise ConfigError(f"wide: {weights} weights and {bits}-bit sums need to know the codes' bits, found 0")

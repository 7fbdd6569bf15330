"""Two thousand random shapes from Python: every kernel that runs here gives what numpy gives, bit for bit.

The same from C, where reads and writes outside of buffers are seen too: test_fuzz_slow.py.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modicum.quantization.kernels import EXACT, SIGNED, Finish, Shape, convolve, kernels, pack

# Carries let through make other sums: test_swar.py. Scalar loops are there to be compared with, and take long.
OTHERS = [name for name in kernels() if name != "numpy" and "carry" not in name and "scalar" not in name]
VALUES = {"binary": [-1, 1], "ternary": [-1, 0, 1], "int8": list(range(-128, 128))}
SIZE, KERNEL, PADDING = st.integers(0, 9), st.integers(1, 4), st.integers(0, 3)
STRIDE = st.sampled_from([1, 1, 1, 2, 2, 3, 17, 2**16 + 1, 2**31, 2**40])
DILATION = st.sampled_from([1, 1, 1, 1, 2, 2, 3, 11, 2**31])
BATCH = st.sampled_from([0, 1, 1, 1, 1, 2, 3])
DEPTH = st.sampled_from([*range(1, 14), 16, 29, 48, 65])
OUTS = st.sampled_from([*range(1, 14), 16, 31, 32, 47, 64, 130])
GROUPS = st.sampled_from([1, 1, 1, 1, 2, 3])
SIDES = (SIZE, SIZE, KERNEL, KERNEL, STRIDE, STRIDE, PADDING, PADDING, DILATION, DILATION)
BITS = [2, 4, 7, 8, 8, 9, 12, 16, EXACT]


def shape_of(batch, depth, outs, groups, *sides):
    size, kernel, stride, padding, dilation = (sides[i : i + 2] for i in range(0, 10, 2))
    form = (stride, padding, dilation, groups)
    return Shape.of((batch, *size, depth * groups), (outs * groups, *kernel, depth), *form)


def drawn(shape, rng):
    """Codes, weights, their kind, `wide` and what becomes of the sums."""
    kind, bits, code_bits = rng.choice([*VALUES]), int(rng.choice(BITS)), int(rng.integers(1, SIGNED + 1))
    s = shape
    outs, depth = s.out_channels, s.channels // s.groups
    weights = rng.choice(VALUES[kind], (outs, s.kernel_h, s.kernel_w, depth)).astype(np.int8)
    top = 256 if code_bits == SIGNED else 2**code_bits
    x = rng.integers(0, top, (s.batch, s.height, s.width, s.channels)).astype(np.uint8)
    unit, scale, shift = (rng.normal(size=(3, outs)) * [[1], [0.5], [20]]).astype(np.float32)
    cyclic = "none" if bits == EXACT else str(rng.choice(["none", "smooth", "absolute", "relu"]))
    output, relu = str(rng.choice(["sums", "codes", "numbers"])), bool(rng.integers(2))
    slope, largest = float(rng.choice([1.0, 2.0, 2.3, 10.0])), int(rng.choice([1, 7, 255]))
    finish = Finish(output, bits, cyclic, slope, largest, relu, unit, scale, shift)
    return x, weights, str(kind), code_bits if bits > 8 or kind == "int8" or rng.integers(2) else 0, finish


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(BATCH, DEPTH, OUTS, GROUPS, *SIDES), st.integers(0, 2**32 - 1))
def test_two_thousand_shapes(sizes, seed):
    rng = np.random.default_rng(seed)
    shape = shape_of(*sizes)
    x, weights, kind, wide, finish = drawn(shape, rng)
    expected = convolve(x, pack(weights, kind, shape, wide, "numpy", bits=finish.bits), finish)
    threads = int(rng.choice([1, 1, 1, 2, 3]))
    for kernel in OTHERS:
        packed = pack(weights, kind, shape, wide, kernel, bits=finish.bits)
        if packed.kernel != kernel:  # does not support this layer: the one that stands in has its own turn
            continue
        got = convolve(x, packed, finish, threads)
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes(), kernel


SCRIPT = """
import hashlib, sys
import numpy as np
from modicum.quantization.kernels import Finish, Shape, convolve, pack
rng, sums, used = np.random.default_rng(5), hashlib.sha256(), set()
for size, depth, outs, kind in ((9, 16, 40, "binary"), (7, 30, 64, "ternary"), (5, 64, 130, "binary")):
    x = rng.integers(0, 16, (2, size, size, depth)).astype(np.uint8)
    w = rng.choice([-1, 1] if kind == "binary" else [-1, 0, 1], (outs, 3, 3, depth)).astype(np.int8)
    scale, shift = rng.normal(size=(2, outs)).astype(np.float32)
    packed = pack(w, kind, Shape.of(x.shape, w.shape, padding=1))
    used.add(packed.kernel)
    sums.update(convolve(x, packed, Finish("codes", 8, "smooth", 2.0, 15, scale=scale, shift=shift)))
print(*sorted(used), sums.hexdigest())
"""


def test_a_process_that_is_told_to_do_without_vectors_gives_the_same():
    """As on a processor that lacks them: by the environment, in processes of their own."""
    results = {}
    for name in ("", "portable", "swar-table", "numpy"):
        if name and name not in kernels():
            continue
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=os.environ | {"MODICUM_KERNELS": name}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        used, results[name] = done.stdout.rsplit(maxsplit=1)
        assert used == (name or used)
    assert len(results) > 1
    assert len(set(results.values())) == 1


@pytest.mark.skipif("swar-table" not in kernels(), reason="the kernels are not compiled here")
def test_weights_packed_once_serve_pictures_of_any_size():
    rng = np.random.default_rng(2)
    w = rng.choice([-1, 1], (20, 3, 3, 13)).astype(np.int8)
    packed = {name: pack(w, "binary", Shape.of((1, 40, 40, 13), w.shape, padding=1), 0, name) for name in kernels()}
    for size in (1, 2, 7, 23):
        x = rng.integers(0, 256, (2, size, size + 1, 13)).astype(np.uint8)
        expected = convolve(x, packed["numpy"], Finish())
        for name in OTHERS:
            assert np.array_equal(convolve(x, packed[name], Finish()), expected), (name, size)

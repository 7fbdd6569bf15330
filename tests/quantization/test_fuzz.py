"""Two thousand random layers from Python: every kernel that runs here gives what numpy gives, bit for bit.

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

OTHERS = [name for name in kernels() if name != "numpy" and "carry" not in name]  # carries let through: test_swar.py
VALUES = {"binary": [-1, 1], "ternary": [-1, 0, 1], "int8": list(range(-128, 128))}
SIDE = st.tuples(
    st.integers(0, 9),  # size
    st.integers(1, 4),  # of the kernel
    st.one_of(st.integers(1, 3), st.sampled_from([17, 2**16 + 1, 2**31, 2**40])),  # stride
    st.integers(0, 3),  # padding
    st.one_of(st.integers(1, 3), st.sampled_from([11, 2**31])),  # dilation
)
LAYER = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "batch": st.sampled_from([0, 1, 1, 1, 2, 3]),
        "sides": st.tuples(SIDE, SIDE),
        "depth": st.one_of(st.integers(1, 13), st.sampled_from([16, 29, 48, 65])),
        "outs": st.one_of(st.integers(1, 13), st.sampled_from([16, 31, 32, 47, 64, 130])),
        "groups": st.sampled_from([1, 1, 1, 2, 3]),
        "kind": st.sampled_from(["binary", "ternary", "int8"]),
        "bits": st.sampled_from([2, 4, 7, 8, 8, 9, 12, 16, EXACT]),
        "code_bits": st.integers(1, SIGNED),
        "always_wide": st.booleans(),
        "finish": st.sampled_from(["sums", "codes", "numbers"]),
        "cyclic": st.sampled_from(["none", "smooth", "absolute", "relu"]),
        "slope": st.sampled_from([1.0, 2.0, 2.3, 10.0]),
        "top": st.sampled_from([1, 7, 255]),
        "relu": st.booleans(),
        "threads": st.sampled_from([1, 1, 1, 2, 3]),
    }
)


def drawn(d):
    """Codes, weights, shape, `wide` and what becomes of the sums."""
    rng = np.random.default_rng(d["seed"])
    sizes, kernel, stride, padding, dilation = zip(*d["sides"], strict=True)
    x_shape = (d["batch"], *sizes, d["depth"] * d["groups"])
    weights = rng.choice(VALUES[d["kind"]], (d["outs"] * d["groups"], *kernel, d["depth"])).astype(np.int8)
    x = rng.integers(0, 256 if d["code_bits"] == SIGNED else 2 ** d["code_bits"], x_shape).astype(np.uint8)
    shape = Shape.of(x_shape, weights.shape, stride, padding, dilation, d["groups"])
    unit, scale, shift = (rng.normal(size=(3, len(weights))) * [[1], [0.5], [20]]).astype(np.float32)
    cyclic = "none" if d["bits"] == EXACT else d["cyclic"]
    finish = Finish(d["finish"], d["bits"], cyclic, d["slope"], d["top"], d["relu"], unit, scale, shift)
    wide = d["code_bits"] if d["bits"] > 8 or d["kind"] == "int8" or d["always_wide"] else 0
    return x, weights, shape, wide, finish


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYER)
def test_two_thousand_layers(d):
    x, weights, shape, wide, finish = drawn(d)
    expected = convolve(x, pack(weights, d["kind"], shape, wide, "numpy", bits=finish.bits), finish)
    for kernel in OTHERS:
        got = convolve(x, pack(weights, d["kind"], shape, wide, kernel, bits=finish.bits), finish, d["threads"])
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

"""Low-bit kernels: integers worked by hand, every kernel against the definition, choice of a kernel, threads, bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from low_bit_reference import slow_code, slow_sums

from modicum.errors import ConfigError, DataError
from modicum.quantization import choosing
from modicum.quantization.kernels import EXACT, SIGNED, Finish, Shape, chosen, convolve, kernels, pack, using

ALL = [name for name in kernels() if "carry" not in name]  # whose sums are others on purpose
VALUES = {"binary": (-1, 1), "ternary": (-1, 0, 1), "int8": range(-128, 128)}


def wrap(z, bits):
    half = 2 ** (bits - 1)
    return (z + half) % (2 * half) - half if bits < EXACT else z


def layer(seed, x_shape, outs, kernel=(3, 3), kind="binary", top=255, low=0, **settings_of_conv):
    """Codes, weights and shape of a random layer."""
    rng = np.random.default_rng(seed)
    groups = settings_of_conv.get("groups", 1)
    codes = rng.integers(low, top + 1, x_shape)
    weights = rng.choice(list(VALUES[kind]), (outs, *kernel, x_shape[3] // groups)).astype(np.int8)
    return (
        codes.astype(np.uint8) if low == 0 else codes.astype(np.int8).view(np.uint8),
        weights,
        Shape.of(x_shape, weights.shape, **settings_of_conv),
    )


def run(kernel, x, weights, shape, kind, finish, wide=0, threads=1):
    packed = pack(weights, kind, shape, wide, kernel, bits=finish.bits)
    return convolve(x, packed, finish, threads)


# Worked by hand: one pixel, four channels 200, 100, 50, 25, weights + + - +: 200 + 100 - 50 + 25 = 275 = 256 + 19.
@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize(
    ("weights", "kind", "bits", "wide", "expected"),
    [
        ([1, 1, -1, 1], "binary", 8, 0, 19),
        ([1, 1, -1, 1], "binary", 4, 0, 3),  # 275 = 17 * 16 + 3
        ([1, 1, -1, 1], "binary", 12, 8, 275),
        ([-1, -1, -1, -1], "binary", 8, 0, -375 + 256),
        ([1, 0, -1, 0], "ternary", 8, 0, 150 - 256),
        ([0, 0, 0, 0], "ternary", 8, 0, 0),
        ([1, 1, -1, 1], "binary", EXACT, 8, 275),
        ([127, -128, 3, -1], "int8", EXACT, 8, 25400 - 12800 + 150 - 25),
        ([127, -128, 3, -1], "int8", 12, 8, 12725 - 3 * 4096),
        # The same bytes as signed codes: -56, 100, 50, 25.
        ([1, 1, -1, 1], "binary", EXACT, SIGNED, 19),
        ([127, -128, 3, -1], "int8", EXACT, SIGNED, -7112 - 12800 + 150 - 25),
    ],
)
def test_integers_worked_by_hand(kernel, weights, kind, bits, wide, expected):
    x = np.array([200, 100, 50, 25], np.uint8).reshape(1, 1, 1, 4)
    w = np.array(weights, np.int8).reshape(1, 1, 1, 4)
    got = run(kernel, x, w, Shape.of(x.shape, w.shape), kind, Finish("sums", bits), wide)
    assert got.shape == (1, 1, 1, 1)
    assert int(got[0, 0, 0, 0]) == expected


@pytest.mark.parametrize("kernel", ALL)
def test_taps_outside_the_picture_are_left_out(kernel):
    """2x2 picture of 10 20 / 30 40, 3x3 kernel of ones, padding 1: every output sees all four."""
    x = np.array([10, 20, 30, 40], np.uint8).reshape(1, 2, 2, 1)
    w = np.ones((1, 3, 3, 1), np.int8)
    got = run(kernel, x, w, Shape.of(x.shape, w.shape, padding=1), "binary", Finish("sums", 8))
    assert got.ravel().tolist() == [100] * 4
    got = run(kernel, x, w, Shape.of(x.shape, w.shape, padding=2, stride=2), "binary", Finish("sums", 8))
    assert got.reshape(2, 2).tolist() == [[10, 30], [40, 100]]


LAYERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "batch": st.integers(1, 3),
        "size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "depth": st.one_of(st.integers(1, 9), st.sampled_from([16, 31, 32, 33, 64, 70])),
        "outs": st.one_of(st.integers(1, 9), st.sampled_from([31, 32, 33, 64, 65, 100])),
        "groups": st.sampled_from([1, 1, 1, 2, 3]),
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 4)),
        "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
        "dilation": st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3)]),
        "kind": st.sampled_from(["binary", "ternary", "int8"]),
        "bits": st.sampled_from([4, 7, 8, 12, 16, EXACT]),
        "code_bits": st.integers(1, 9),
    }
)


def made(d):
    """A layer that hypothesis drew: codes, weights, shape, `wide`."""
    x_shape = (d["batch"], *d["size"], d["depth"] * d["groups"])
    low, top = (-128, 127) if d["code_bits"] == SIGNED else (0, 2 ** d["code_bits"] - 1)
    form = {name: d[name] for name in ("stride", "padding", "dilation", "groups")}
    x, weights, shape = layer(d["seed"], x_shape, d["outs"] * d["groups"], d["kernel"], d["kind"], top, low, **form)
    return x, weights, shape, d["code_bits"]


@settings(max_examples=60)
@given(LAYERS)
def test_every_kernel_gives_the_sums_of_the_definition(d):
    x, weights, shape, wide = made(d)
    assert shape.out_height * shape.out_width == 0 or shape.macs > 0
    numbers = x.view(np.int8) if wide == SIGNED else x
    z = slow_sums(numbers, weights, shape) if shape.macs < 20_000 else None
    narrow = d["bits"] <= 8 and d["kind"] != "int8"
    for form in {0, wide} if narrow else {wide}:
        for kernel in ALL:
            got = run(kernel, x, weights, shape, d["kind"], Finish("sums", d["bits"]), form)
            if z is None:  # the loops would take too long: numpy's kernel stands for them, and is held to them elsewhere
                z = run("numpy", x, weights, shape, d["kind"], Finish("sums", EXACT), wide).astype(np.int64)
            assert np.array_equal(got, wrap(z, d["bits"])), (kernel, form)


@pytest.mark.parametrize("size", [(56, 64), (28, 128), (14, 256), (7, 512)])
@pytest.mark.parametrize("kind", ["binary", "ternary"])
def test_the_shapes_of_table_2_7(size, kind):
    x, weights, shape = layer(size[0], (1, size[0], size[0], size[1]), size[1], kind=kind, padding=1)
    expected = run("numpy", x, weights, shape, kind, Finish("sums", 8))
    for kernel in kernels()[:3]:
        assert np.array_equal(run(kernel, x, weights, shape, kind, Finish("sums", 8)), expected), kernel


def finishes(seed, channels, bits):
    """Every output and function, with numbers that put codes on ties and beyond both ends."""
    rng = np.random.default_rng(seed)
    unit, scale, shift = (rng.normal(size=channels).astype(np.float32) for _ in range(3))
    ties = np.full(channels, 0.5, np.float32)
    for cyclic, slope in (
        ("none", 2.0),
        ("smooth", 1.0),
        ("smooth", 2.0),
        ("smooth", 2.3),
        ("relu", 4.0),
        ("absolute", 2.0),
    ):
        if bits == EXACT and cyclic != "none":
            continue
        for top in (1, 7, 255):
            yield Finish("codes", bits, cyclic, slope, top, scale=ties, shift=ties)
            yield Finish("codes", bits, cyclic, slope, top, scale=scale, shift=shift * 20)
        for relu in (False, True):
            yield Finish("numbers", bits, cyclic, slope, relu=relu, unit=unit, scale=scale, shift=shift)


@pytest.mark.parametrize("bits", [4, 8, 12, EXACT])
@pytest.mark.parametrize("outs", [5, 64, 96])
def test_codes_and_numbers_are_the_same_bits_from_every_kernel(bits, outs):
    x, weights, shape = layer(bits, (2, 6, 7, 40), outs, padding=1)
    for finish in finishes(bits, outs, bits):
        expected = run("numpy", x, weights, shape, "binary", finish, 8)
        for kernel in ALL:
            for wide in (8,) if bits > 8 else (0, 8):
                got = run(kernel, x, weights, shape, "binary", finish, wide)
                assert got.dtype == expected.dtype
                assert got.tobytes() == expected.tobytes(), (kernel, wide, finish)


def test_codes_are_those_of_exact_fractions():
    x, weights, shape = layer(3, (1, 5, 5, 33), 7, padding=1)
    m = run("numpy", x, weights, shape, "binary", Finish("sums", 8))
    for finish in finishes(1, 7, 8):
        if finish.output == "codes" and finish.slope != 2.3:  # f itself is rounded there
            got = run("numpy", x, weights, shape, "binary", finish)
            expected = [slow_code(int(m[at]), finish, at[3]) for at in np.ndindex(*m.shape)]
            assert got.ravel().tolist() == expected


def test_numbers_of_the_cyclic_function_at_its_edges():
    """k = 2, b = 8: border 85.33; f(85) = 85, f(86) = 256 - 172 = 84, f(127) = 2, f(-128) = 0, f(-86) = -84."""
    x = np.array([85, 86, 127, 128, 170], np.uint8).reshape(1, 5, 1, 1)
    w = np.ones((1, 1, 1, 1), np.int8)
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    expected = {"smooth": [85, 84, 2, 0, -84], "relu": [85, 84, 2, 0, 0], "absolute": [85, 86, 127, 128, 86]}
    for cyclic, values in expected.items():
        for kernel in ALL:
            finish = Finish("numbers", 8, cyclic, unit=one, scale=one, shift=none)
            assert run(kernel, x, w, Shape.of(x.shape, w.shape), "binary", finish).ravel().tolist() == values, kernel


@pytest.mark.parametrize("kernel", ALL)
@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_change_nothing(kernel, threads):
    x, weights, shape = layer(0, (3, 7, 5, 20), 40, padding=1, stride=2)
    one = run(kernel, x, weights, shape, "binary", Finish("sums", 8))
    assert np.array_equal(run(kernel, x, weights, shape, "binary", Finish("sums", 8), threads=threads), one)


FORKED = """
import os, signal, sys, threading
import numpy as np
from modicum.quantization.kernels import Finish, Shape, convolve, pack
x, w = np.ones((1, 32, 32, 32), np.uint8), np.ones((32, 3, 3, 32), np.int8)
packed, finish = pack(w, "binary", Shape.of(x.shape, w.shape), kernel="portable"), Finish("sums", 8)
there = convolve(x, packed, finish, 2)
while sum(thread.name.startswith("low-bit") for thread in threading.enumerate()) < 2:  # or a pool makes the other one later
    convolve(x, packed, finish, 2)
if (child := os.fork()) == 0:
    signal.alarm(30)
    os._exit(0 if np.array_equal(convolve(x, packed, finish, 2), there) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)
"""


@pytest.mark.skipif("portable" not in ALL, reason="no compiled kernels here")
def test_a_forked_process_has_threads_of_its_own():
    """Those of its parent are not there, and would never answer."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr  # 1: the child computed something else, or its alarm ended it


@pytest.mark.parametrize("kernel", ALL)
def test_pictures_without_elements(kernel):
    for x_shape in ((0, 4, 4, 3), (2, 1, 1, 3), (1, 0, 4, 3)):
        x, weights, shape = layer(0, x_shape, 5)
        got = run(kernel, x, weights, shape, "binary", Finish("sums", 8))
        assert got.shape == (x_shape[0], max(0, x_shape[1] - 2), max(0, x_shape[2] - 2), 5)


@pytest.mark.parametrize("kernel", ALL)
def test_packed_weights_serve_pictures_of_any_size(kernel):
    _, weights, shape = layer(1, (1, 4, 4, 70), 40, padding=1)
    packed = pack(weights, "binary", shape, kernel=kernel)
    for size in ((1, 4, 4, 70), (3, 11, 2, 70), (2, 30, 31, 70)):
        x, _, other = layer(2, size, 40, padding=1)
        assert np.array_equal(convolve(x, packed, Finish()), run("numpy", x, weights, other, "binary", Finish()))


def test_choice_by_name_environment_and_context(monkeypatch):
    shape = Shape.of((1, 8, 8, 16), (16, 3, 3, 16), padding=1)
    assert kernels()[-1] == "numpy"
    assert chosen(shape, "binary").name == kernels()[0]
    with using("numpy"):
        assert chosen(shape, "binary") == ("numpy", "")
        assert chosen(shape, "binary", kernel=kernels()[0]).name == kernels()[0]
    monkeypatch.setenv("MODICUM_KERNELS", "numpy")
    assert chosen(shape, "binary").name == "numpy"
    with using(kernels()[0]):
        assert chosen(shape, "binary").name == kernels()[0]
    monkeypatch.setenv("MODICUM_KERNELS", "portabel")
    with pytest.raises(ConfigError, match="did you mean 'portable'" if len(kernels()) > 1 else "unknown kernel"):
        chosen(shape, "binary")


def test_without_a_library_numpy_does_the_work(monkeypatch):
    x, weights, shape = layer(5, (1, 6, 6, 24), 32, padding=1)
    expected = convolve(x, pack(weights, "binary", shape), Finish())
    monkeypatch.setattr(choosing, "library", lambda: None)
    cached = (choosing.compiled, choosing.numbers, choosing.kernels)
    for function in cached:
        function.cache_clear()
    try:
        assert kernels() == ("numpy",)
        assert np.array_equal(convolve(x, pack(weights, "binary", shape), Finish()), expected)
    finally:
        for function in cached:
            function.cache_clear()


X, W, SHAPE = layer(0, (1, 4, 4, 8), 4)


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (lambda: pack(W, "trinary", SHAPE), ConfigError, "weights: expected one of binary"),
        (lambda: pack(W, "binary", SHAPE, bits=17), ConfigError, "found 17"),
        (lambda: pack(W, "binary", SHAPE, bits=12), ConfigError, "codes' bits"),
        (lambda: pack(W, "int8", SHAPE), ConfigError, "codes' bits"),
        (lambda: pack(W, "binary", SHAPE, 10), ConfigError, "wide"),
        (lambda: pack(W * 0, "binary", SHAPE), DataError, "binary ones, found the values 0"),
        (lambda: pack(W.astype(np.int16), "binary", SHAPE), DataError, "int16"),
        (lambda: pack(W[:, :1], "binary", SHAPE), DataError, "expected int8"),
        (lambda: pack(W, "binary", SHAPE, kernel="avx3"), ConfigError, "did you mean 'avx2'|unknown kernel"),
        (lambda: convolve(X.astype(np.float32), pack(W, "binary", SHAPE), Finish()), DataError, "expected uint8"),
        (lambda: convolve(X[..., :4], pack(W, "binary", SHAPE), Finish()), DataError, r"\(B, H, W, 8\)"),
        (lambda: convolve(X, pack(W, "binary", SHAPE), Finish(bits=12)), ConfigError, "packed for sums of 8 bits"),
        (lambda: convolve(X, pack(W, "binary", SHAPE), Finish(), out=np.empty((1, 2, 2, 3))), DataError, "out: expected"),
        (lambda: Finish("code"), ConfigError, "did you mean 'codes'"),
        (lambda: Finish(cyclic="smoth"), ConfigError, "did you mean 'smooth'"),
        (lambda: Finish(bits=1), ConfigError, "found 1"),
        (lambda: Finish("codes"), DataError, "scale: expected float32"),
        (lambda: Finish(slope=0.5), ConfigError, "slope"),
        (lambda: Finish(top=256), ConfigError, "top"),
        (lambda: Shape.of((1, 4, 4, 8), (4, 3, 3, 7)), DataError, "do not fit"),
        (lambda: Shape.of((1, 4, 4, 8), (4, 3, 3, 8), stride=0), ConfigError, "stride"),
        (lambda: Shape.of((1, 4, 4, 8), (4, 3, 3, 8), stride=(2**64, 1)), ConfigError, "stride"),  # 0 as C would take it
        (lambda: Shape.of((1, 4, 4, 8), (4, 3, 3, 8), dilation=2**62), ConfigError, "dilation"),
    ],
)
def test_bad_input_is_said(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()


def test_arrays_of_another_length_are_refused():
    three = np.ones(3, np.float32)
    with pytest.raises(DataError, match="each of 4 channels, found 3"):
        convolve(X, pack(W, "binary", SHAPE), Finish("codes", scale=three, shift=three))

"""Packed 64-bit words: buffer bits keep sums exact, carries let through change them as a model of the additions says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.quantization.carries import count_carries
from modicum.quantization.kernels import Finish, Shape, chosen, convolve, kernels, pack

pytestmark = pytest.mark.skipif("swar-carry" not in kernels(), reason="the kernels are not compiled here")
CARRY = {"swar-carry": 8, "swar-carry-32": 4}  # lanes of a word
VALUES = {"binary": [-1, 1], "ternary": [-1, 0, 1]}


def run(kernel, x, w, kind="binary", bits=8, **conv):
    shape = Shape.of(x.shape, w.shape, **conv)
    packed = pack(w, kind, shape, 0, kernel, bits=bits)
    assert packed.kernel == kernel
    return convolve(x, packed, Finish("sums", bits))


def pixel(*channels):
    return np.array(channels, np.uint8).reshape(1, 1, 1, -1)


def weights(*channels):
    return np.array(channels, np.int8).reshape(1, 1, 1, -1)


def summands(x, w, row, column, outs, stride, padding, dilation, groups):
    """What one output sums: for each tap within the picture the products of its channels."""
    depth, each = w.shape[3], len(w) // groups
    for ky in range(w.shape[1]):
        for kx in range(w.shape[2]):
            i, j = row * stride + ky * dilation - padding, column * stride + kx * dilation - padding
            if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
                start = outs // each * depth
                yield [int(a) * int(b) for a, b in zip(x[i, j, start : start + depth], w[outs, ky, kx], strict=True)]


def words(taps, lanes):
    """Each tap's products as unsigned bytes, `lanes` in a word, the first in the lowest byte."""
    for tap in taps:
        for start in range(0, len(tap), lanes):
            yield sum((v % 256) << (8 * lane) for lane, v in enumerate(tap[start : start + lanes]))


def lane_sum(word):
    return sum(word.to_bytes(16, "little"))


def wrap(z):
    return (z + 128) % 256 - 128


# Worked by hand. 200 + 100 in lane 0 is 44 and a carry into lane 1: 45 where 300 mod 256 is 44. In the last lane the carry
# is dropped. Minus 1 is 255: with 2 it leaves 1 and a carry. A product of zero is 0 and carries nothing, whatever weight.
@pytest.mark.parametrize(
    ("x", "w", "expected"),
    [
        ([200, 0, 0, 0, 0, 0, 0, 0, 100], [1] * 9, 45),
        ([0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 100], [1] * 16, 44),
        ([1, 0, 0, 0, 0, 0, 0, 0, 2], [-1] + [1] * 8, 2),
        ([0] * 16, [-1] * 16, 0),
        ([1, 0, 0, 0, 0, 0, 0, 0, 1], [-1] * 9, -1),  # 255 + 255 = 254 and a carry: 255
    ],
)
def test_carries_worked_by_hand(x, w, expected):
    assert run("swar-carry", pixel(*x), weights(*w)).ravel().tolist() == [expected]


def test_carries_of_four_lanes_worked_by_hand():
    """As in the paper: four bytes of 32 bits. The fifth summand meets the first, the carry of the fourth lane is dropped."""
    assert run("swar-carry-32", pixel(200, 0, 0, 0, 100), weights(1, 1, 1, 1, 1)).ravel().tolist() == [45]
    assert run("swar-carry-32", pixel(0, 0, 0, 200, 0, 0, 0, 100), weights(*[1] * 8)).ravel().tolist() == [44]


@pytest.mark.parametrize("kernel", CARRY)
@pytest.mark.parametrize("kind", ["binary", "ternary"])
@pytest.mark.parametrize(
    ("size", "depth", "outs", "conv"),
    [
        (5, 16, 6, {"padding": 1}),
        (4, 13, 5, {}),
        (6, 6, 8, {"groups": 2, "stride": 2, "padding": 2}),
        (7, 3, 4, {"dilation": 2, "padding": 2}),
    ],
)
def test_carries_let_through_are_those_of_whole_words(kernel, kind, size, depth, outs, conv):
    """Python's integers of any size as words: modulo 2^64 (2^32) after every addition, lanes added modulo 2^8 at the end."""
    rng = np.random.default_rng(size * depth)
    form = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | conv
    x = rng.integers(0, 256, (2, size, size, depth * form["groups"])).astype(np.uint8)
    w = rng.choice(VALUES[kind], (outs, 3, 3, depth)).astype(np.int8)
    got = run(kernel, x, w, kind, **conv)
    exact = run("numpy", x, w, kind, **conv)
    for at in np.ndindex(got.shape):
        total = 0
        for word in words(summands(x[at[0]], w, *at[1:], **form), CARRY[kernel]):
            total = (total + word) % (1 << 8 * CARRY[kernel])
        assert got[at] == wrap(lane_sum(total)), at
    assert (got != exact).mean() > 0.5


@pytest.mark.parametrize("kernel", CARRY)
def test_with_all_carries_fed_back_the_result_is_that_of_algorithm_1(kernel):
    """What training simulates is z plus all carries. Hardware has z plus those between lanes; feeding back the carry out of
    the last lane, and those of the addition of lanes, gives the former. Dropping them does not."""
    lanes, top = CARRY[kernel], 1 << 8 * CARRY[kernel]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 128, (1, 12, 12, 24)).astype(np.uint8)
    w = rng.choice([-1, 1], (8, 3, 3, 24)).astype(np.int8)
    got = run(kernel, x, w)
    others = 0
    for at in np.ndindex(got.shape):
        taps = list(summands(x[0], w, *at[1:], 1, 0, 1, 1))
        v = torch.tensor([v for tap in taps for v in tap])
        simulated = int(v.sum()) + int(count_carries(v, 8))
        dropped = within = total = 0
        for word in words(taps, lanes):
            before = [total >> 8 * lane & 255 for lane in range(lanes)]
            total += word
            dropped += total // top
            total %= top
            carry = 0
            for lane in range(lanes):  # the same addition by hand: how many carries went from a lane to the next
                carry = (before[lane] + (word >> 8 * lane & 255) + carry) // 256
                within += carry if lane < lanes - 1 else 0
        assert got[at] == wrap(int(v.sum()) + within)
        around = total + dropped
        while around >= top:
            around = around % top + around // top
        rest = lane_sum(around)
        while rest > 255:
            rest = rest % 256 + rest // 256
        assert wrap(rest) == wrap(simulated)
        others += int(got[at]) != wrap(simulated)
    assert others > got.size / 2


def test_buffer_bits_worked_by_hand():
    """100 + 100 = 200 = 128 + 72, which is -56 of seven bits; the eighth bit of a lane takes the carry and is cleared."""
    x = pixel(100, 1, 0, 0, 0, 0, 0, 0, 100, 2)
    assert run("swar-buffer", x, weights(*[1] * 10), bits=7).ravel().tolist() == [200 + 3 - 256]
    assert run("swar-buffer", x, weights(*[-1] * 10), bits=7).ravel().tolist() == [-203 + 256]
    assert run("swar-buffer", x, weights(-1, *[0] * 9), "ternary", bits=7).ravel().tolist() == [28]


def test_buffer_bits_are_for_seven_bits_and_fewer_and_carries_for_eight():
    shape = Shape.of((1, 1, 1, 8), (4, 1, 1, 8))
    assert chosen(shape, "binary", 7, 0, "swar-buffer").name == "swar-buffer"
    for kernel, bits in (("swar-buffer", 8), ("swar-carry", 7), ("swar-carry-32", 7)):
        name, why = chosen(shape, "binary", bits, 0, kernel)
        assert name != kernel
        assert why.startswith(kernel)


def test_carries_are_never_let_through_unasked():
    for depth in (1, 8, 64):
        for kind in VALUES:
            assert "carry" not in chosen(Shape.of((1, 9, 9, depth), (8, 3, 3, depth)), kind, 8).name

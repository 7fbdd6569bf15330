"""Scale and shift of a kernel against training's chain of rounded operations, for every possible sum."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from modicum.quantization.integer.folding import fold, fused, possible, right, steps


def trained(unit, scale, shift, inverse, low, top):
    def codes(c):
        v = (c.astype(np.float32) * unit) * scale + shift
        return np.clip(np.rint(np.maximum(v, 0) * inverse if low == 0 else v * inverse), low, top).astype(np.int64)

    return codes


def folded_codes(values, scale, shift, low, top):
    return np.clip(np.rint(fused(values[:, None], scale, shift)), 0, top - low).astype(np.int64) + low


@pytest.mark.parametrize(("bits", "top"), [(4, 1), (8, 15), (8, 255), (12, 255), (16, 15)])
@pytest.mark.parametrize("signed", [False, True])
def test_folded_codes_are_those_of_training_for_every_sum(bits, top, signed):
    """Scales of both signs, zero and tiny; most channels step at places that a rounded product would miss somewhere."""
    rng, channels = np.random.default_rng(bits + top), 1024 >> bits // 4
    low, top = (-(top + 1) // 2, top // 2) if signed else (0, top)
    values = possible(bits, "smooth", 2.0, 10**9)
    unit = rng.uniform(0.005, 0.02, channels).astype(np.float32)
    scale, shift = rng.normal(0, 1, (2, channels)).astype(np.float32)
    scale[:2], shift[2] = (0, 1e-30), 0
    inverse = np.float32(top / (values.max() * 0.02))
    codes = trained(unit, scale, shift, inverse, low, top)
    found = steps(codes, values, channels, low, top)
    constants = fold(found._replace(code=found.code - low), unit.astype(float) * scale * inverse)
    assert constants is not None
    wanted = codes(np.repeat(values[:, None], channels, 1))
    assert (folded_codes(values, *constants, low, top) == wanted).all()
    assert len(np.unique(wanted)) > min(top, 8)


def test_a_rounded_product_alone_would_change_codes():
    """Over many channels: the reason why constants are searched for."""
    rng, channels = np.random.default_rng(0), 1024
    values = possible(12, "smooth", 2.0, 10**9)
    unit = rng.uniform(0.005, 0.02, channels).astype(np.float32)
    scale, shift = rng.normal(0, 1, (2, channels)).astype(np.float32)
    inverse = np.float32(255 / 30)
    codes = trained(unit, scale, shift, inverse, 0, 255)
    found = steps(codes, values, channels, 0, 255)
    slope, offset = (unit.astype(float) * scale * inverse), shift.astype(float) * inverse
    naive = right(found, slope.astype(np.float32), offset.astype(np.float32))
    assert 0 < (~naive).sum() < channels / 4
    constants = fold(found, slope)
    assert constants is not None
    assert right(found, *constants).all()


def test_steps_of_a_case_worked_by_hand():
    """codes of 0.5 c for c = -2..3: 0 0 0 0 1 2 (0.5 and 1.5 round to even); and of -c: 2 1 0 .."""
    values = np.arange(-2, 4, dtype=np.float32)

    def codes(c):
        return np.clip(np.rint(c * np.array([0.5, -1.0])), 0, 2).astype(np.int64)

    found = steps(codes, values, 2, 0, 2)
    assert found.first.tolist() == [[2.0, -1.0], [3.0, -2.0]]
    assert found.before.tolist() == [[1.0, 0.0], [2.0, -1.0]]
    assert not found.constant.any()


def test_nothing_is_folded_where_no_line_has_the_steps():
    """Codes that step after 1 and again after 2 sums, then after 5: no straight line does this."""
    values = np.arange(0, 20, dtype=np.float32)

    def codes(c):
        return np.searchsorted([1, 2, 12, 13], c, side="right").astype(np.int64)

    assert fold(steps(codes, values, 1, 0, 4), np.array([0.3])) is None


def test_fused_rounds_once():
    """Against exact fractions, where float64 alone would round twice."""
    rng = np.random.default_rng(0)
    c = rng.integers(-(2**23), 2**23, 5000).astype(np.float32)
    s = rng.normal(size=5000).astype(np.float32)
    t = (-(c.astype(float) * s) * (1 + rng.normal(size=5000) * 2.0 ** rng.integers(-40, 0, 5000))).astype(np.float32)
    for x, y, z, found in zip(c, s, t, fused(c, s, t), strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        near = np.float32(float(exact))
        candidates = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
        distances = [abs(Fraction(float(v)) - exact) for v in candidates]
        assert abs(Fraction(float(found)) - exact) == min(distances)


def test_possible_values():
    assert possible(4, "smooth", 2.0, 100).tolist() == [-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]
    assert possible(4, "absolute", 2.0, 3).tolist() == [0, 1, 2, 3, 4]  # -4 .. 3: one more than the largest sum, harmless
    assert possible(None, "none", 2.0, 2).tolist() == [-2, -1, 0, 1, 2]

"""The cost of multiply-accumulate units, against the published tables."""

from __future__ import annotations

import pytest

from modicum.quantization.hardware import UNITS, LayerCost, network_cost, reference, unit_cost


@pytest.mark.parametrize("unit", UNITS)
def test_published_totals_are_the_sums_of_their_parts_and_quotients_of_table_2_11(unit):
    for parts in (unit.area, unit.energy):
        assert abs(sum(parts[:4]) - parts.total) <= 2  # each number was rounded for itself
    assert unit.throughput == pytest.approx(2 / unit.cycle, rel=0.02)
    rounding = 0.06 if unit.weights == 1 and unit.slope else 0.01  # 290 / 8.3 is 34.9 and not the 37 that was printed
    assert unit.area.total == pytest.approx(unit.cell / unit.throughput, rel=rounding)
    assert unit.energy.total == pytest.approx(1e3 * unit.power / unit.throughput, rel=0.03)


def test_the_units_of_the_paper_are_found():
    """199, 105 and 37 um^2/Gops; 428, 271 and 115 fJ/op."""
    assert (reference().area, reference().energy, reference().cycle) == (199, 428, 0.31)
    exact, wrapping = unit_cost(3, 1, None), unit_cost(3, 1, 8)
    assert (exact.area, exact.energy, exact.cycle, exact.published) == (105, 271, 0.29, True)
    assert (wrapping.area, wrapping.energy, wrapping.cycle, wrapping.published) == (37, 115, 0.24, True)
    assert unit_cost(3, 1, 8, "smooth", 4).area == 35
    assert unit_cost(8, 8, 8, "smooth", 4).energy == 203
    assert unit_cost(2, 1, 8) == wrapping  # nothing narrower was laid out
    assert unit_cost(None, None, None) == reference()


@pytest.mark.parametrize(("activations", "weights", "bits"), [(3, 1, 12), (3, 2, 8), (7, 2, 12), (4, 1, None), (8, 5, 8)])
def test_what_was_not_laid_out_is_estimated_between_what_was_and_says_so(activations, weights, bits):
    found = unit_cost(activations, weights, bits)
    assert not found.published
    assert found.how.startswith("estimate")
    assert 37 < found.area < 199
    assert 115 < found.energy < 428
    assert 0.24 <= found.cycle <= 0.31
    for total, parts in ((found.area, found.parts_area), (found.energy, found.parts_energy)):
        assert sum(parts[:4]) == pytest.approx(total)


def test_an_estimate_by_hand_for_12_bits_and_a_3_by_1_multiplier():
    """A sixth of the way from 8 to 32 bits; the cyclic function grows by a half."""
    found = unit_cost(3, 1, 12)
    multiplier, accumulator, folding, rest = 2 + 1 / 6, 17 + 76 / 6, 15 * 1.5, 3 + 6 / 6
    assert found.parts_area[:4] == pytest.approx((multiplier, accumulator, folding, rest))
    assert found.cycle == pytest.approx(0.24 + 0.05 / 6)


def test_estimates_meet_the_published_units_at_both_ends():
    from modicum.quantization.hardware import _wide_or_narrow

    for unit in UNITS:
        slope = unit.slope or 2
        area, energy, cycle = _wide_or_narrow(unit.accumulator, unit.activations * unit.weights, slope)
        assert area[:4] == pytest.approx(unit.area[:4])
        assert energy[:4] == pytest.approx(unit.energy[:4])
        assert cycle == pytest.approx(unit.cycle)


@pytest.mark.parametrize(
    "asked", [(3, 1, 8, "smooth", 10.0), (3, 1, 8, "absolute", 2.0), (3, 1, 8, "none", 2.0), (3, 1, 4, "smooth", 2.0)]
)
def test_what_nobody_laid_out_has_no_cost(asked):
    assert unit_cost(*asked) is None


def test_a_network_by_hand():
    """1,000 and 3,000 multiply-accumulates on units of 428 and 115 fJ/op; a layer without a unit stays out of the sums."""
    layers = [LayerCost(1_000, reference()), LayerCost(3_000, unit_cost(3, 1, 8)), LayerCost(500, None)]
    found = network_cost(layers)
    assert found.energy == pytest.approx((2_000 * 428 + 6_000 * 115) * 1e-6)
    assert found.time == pytest.approx((1_000 * 0.31 + 3_000 * 0.24) * 1e-3)
    assert found.area == pytest.approx((199 + 3 * 37) / 4)
    assert (found.macs, found.unknown, found.published) == (4_000, 500, True)
    assert network_cost([]) == (0, 0.0, 0.0, 0.0, 0, True)

"""The form of a low-bit network as the ending of a backbone's name."""

from __future__ import annotations

import pytest

from modicum.configs.low_bit import LowBit, split_low_bit
from modicum.errors import ConfigError


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        (LowBit(), "+low-bit-binary-8-smooth-2"),
        (LowBit("ternary", None), "+low-bit-ternary-none"),
        (LowBit("3", 12, "relu", 2.5, relu=False, ends="8"), "+low-bit-3-12-relu-2.5-without-relu-ends-8"),
        (LowBit("binary", 8, "modulo"), "+low-bit-binary-8-modulo"),
        (LowBit("float", None), "+low-bit-float-none"),
    ],
)
def test_a_form_and_its_ending_are_the_same(form: LowBit, ending: str) -> None:
    assert form.ending == ending
    assert split_low_bit("vgg7-32" + ending) == ("vgg7-32", form)


def test_other_endings_stay_with_the_name() -> None:
    assert split_low_bit("resnet29+ifilm-all-10") == ("resnet29+ifilm-all-10", None)
    assert split_low_bit("resnet29+ifilm-all-10" + LowBit().ending)[0] == "resnet29+ifilm-all-10"


@pytest.mark.parametrize("ending", ["", "binary", "binary-8", "quaternary-8-smooth-2", "binary-8-smooth-2-more"])
def test_an_unknown_ending_is_refused_with_an_example(ending: str) -> None:
    with pytest.raises(ConfigError, match=r"\+low-bit-binary-8-smooth-2"):
        split_low_bit(f"conv4-64+low-bit-{ending}")


@pytest.mark.parametrize("bits", [0, 3, 17, 32])
def test_bits_outside_the_range_are_refused(bits: int) -> None:
    with pytest.raises(ConfigError, match=f"accumulator: expected 4 to 16 bits or none, found {bits}"):
        LowBit("binary", bits)


@pytest.mark.parametrize("slope", [0.5, float("inf"), float("nan")])
def test_slopes_below_one_or_without_end_are_refused(slope: float) -> None:
    with pytest.raises(ConfigError, match="slope"):
        LowBit(slope=slope)

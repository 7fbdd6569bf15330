"""What tables 2.7 and 2.8 share: shapes, kernels, rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modicum.recipes.recipe import Machine, Models, Options, Row

SHAPES = ("64x56x56", "128x28x28", "256x14x14", "512x7x7")
"""Input of a 3x3 convolution to as many channels."""
MODEL = "low-bit-conv"


@dataclass(frozen=True)
class Timed:
    """A row of every shape. kernel: as the benchmark calls it; column: of the published numbers, None for none."""

    shown: str
    kernel: str
    column: int | None = None


KERNELS = (
    Timed("8-bit sums, AVX2", "binary-avx2", 0),
    Timed("8-bit sums, AVX-512 VBMI", "binary-avx512vbmi"),
    Timed("32-bit sums, AVX2", "int32-avx2", 1),
    Timed("fastest int8 of other libraries", "int8"),
)
SCALAR = (
    Timed("packed, table of sums", "swar"),
    Timed("packed, buffer bit", "swar-buffer", 0),
    Timed("plain loop", "scalar", 1),
    Timed("loop in blocks", "scalar-blocked"),
)


def timed_models() -> dict[str, Options]:
    """What stands for the models of a table of times."""
    timing = Machine("low_bit_conv")
    return {MODEL: {"cpu": timing, "full": timing}}


def timed_rows(shape: str, kernels: Sequence[Timed], paper: Sequence[float]) -> tuple[Row, ...]:
    """The rows of a shape; paper: its published times, ms."""
    return tuple(
        Row(
            f"{shape}, {each.shown}", Models(MODEL, MODEL), kind="layer_ms", branch=each.kernel, bucket=shape,
            paper=None if each.column is None else paper[each.column], missing="at smoke scale nothing is timed",
        )
        for each in kernels
    )  # fmt: skip

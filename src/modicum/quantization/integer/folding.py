"""From a wrapped sum to the next layer's code in one fused operation, with proof that no code changes.

Between a low-bit layer and the next one stand, channel by channel, scales, bias, batch norm, ReLU and rounding. In training
each of them rounds; a kernel does all at once:

    trained(c) = clamp(round(g(c u)))        c = f(m), one of finitely many numbers;  u: unit, g: the layers between
    folded(c)  = clamp(round(fma(c, s, t)))

Both are steps of c that never turn around, because every operation in g is monotone and so is rounding. So they are the same
function where they step at the same places. For channel and code j let c_j be the first c with trained(c) >= j, and p_j the
c before it. Then folded = trained if and only if, up to how ties round, for all j

    s c_j + t >= j - 1/2 > s p_j + t

For given s these are bounds of t, and the gap between them is a concave function of s: it is made largest, t is put in its
middle, both are rounded to float32, and the steps are checked with the arithmetic the kernel has. A channel for which no s
and t are found makes its layer run unfolded, operation by operation, as training does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modicum.configs.low_bit import Cyclic
from modicum.quantization.cyclic import cyclic

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Codes = Callable[[Floats], npt.NDArray[np.int64]]
"""What training makes of values c (n, O): codes (n, O)."""
ROUNDS = 80
"""Of the search for s; each takes a third off its interval, whose end is far below float32's resolution."""


class Steps(NamedTuple):
    """Where codes step, (codes, O): at `first` c the code is j or more, at `before` it is less; NaN: there is no such c.

    constant: (O,), channels whose code is the same for every c.
    """

    code: Doubles
    first: Doubles
    before: Doubles
    constant: npt.NDArray[np.bool_]


def possible(bits: int | None, kind: Cyclic, slope: float, largest: int) -> Floats:
    """All values f(m) may have, ascending, for sums up to `largest` in size; bits None: sums do not wrap."""
    import torch

    if bits is None:
        return np.arange(-largest, largest + 1, dtype=np.float32)
    half = min(2 ** (bits - 1), largest + 1)
    m = torch.arange(-half, half, dtype=torch.float32)
    return np.unique(cyclic(m, bits, kind, slope).numpy())


def steps(codes: Codes, values: Floats, channels: int, low: int, top: int) -> Steps:
    """Where the codes of every channel step, by bisection over the ascending values c."""
    n = len(values)
    ends = codes(np.repeat(values[[0, -1], None], channels, 1))
    falling = ends[1] < ends[0]  # (O,): the batch norm's scale is negative
    code = np.arange(low + 1, top + 1)[:, None]
    lower, upper = np.zeros((top - low, channels), np.int64), np.full((top - low, channels), n)
    while (open_ := lower < upper).any():
        middle = np.minimum((lower + upper) // 2, n - 1)
        reached = codes(values[np.where(falling, n - 1 - middle, middle)]) >= code
        upper = np.where(open_ & reached, middle, upper)
        lower = np.where(open_ & ~reached, middle + 1, lower)

    def at(place: npt.NDArray[np.int64]) -> Doubles:
        """Values at places, from below; NaN beyond both ends."""
        inside = np.clip(place, 0, n - 1)
        found = values[np.where(falling, n - 1 - inside, inside)].astype(np.float64)
        found[(place < 0) | (place >= n)] = np.nan
        return found

    return Steps(np.broadcast_to(code, lower.shape).astype(np.float64), at(upper), at(upper - 1), ends[0] == ends[1])


def fused(c: npt.NDArray[np.floating], s: npt.NDArray[np.floating], t: npt.NDArray[np.floating]) -> Floats:
    """c s + t of float32 numbers, rounded once, as a fused multiply-add does it.

    The product is exact in float64; the sum is rounded to odd there, and so may be rounded once more.
    """
    with np.errstate(invalid="ignore"):
        product, t = np.asarray(c, np.float64) * np.asarray(s, np.float64), np.asarray(t, np.float64)
        total = product + t
        other = total - product
        rest = (product - (total - other)) + (t - other)
        even = (total.view(np.int64) & 1) == 0
        toward = np.where(rest > 0, np.inf, -np.inf)
        total = np.where((rest != 0) & even & np.isfinite(total), np.nextafter(total, toward), total)
        return total.astype(np.float32)


def _bounds(found: Steps, s: Doubles) -> tuple[Doubles, Doubles]:
    """The least and the largest t (O,) for given s (O,), without end where nothing binds."""
    edge = found.code - 0.5
    least = np.where(np.isnan(found.first), -np.inf, edge - s * found.first).max(0, initial=-np.inf)
    largest = np.where(np.isnan(found.before), np.inf, edge - s * found.before).min(0, initial=np.inf)
    return least, largest


def _middle(least: Doubles, largest: Doubles) -> Doubles:
    with np.errstate(invalid="ignore"):
        middle = (least + largest) / 2
    middle = np.where(np.isinf(least), largest - 1, middle)
    middle = np.where(np.isinf(largest), least + 1, middle)
    return np.where(np.isinf(least) & np.isinf(largest), 0.0, middle)


def right(found: Steps, s: Floats, t: Floats) -> npt.NDArray[np.bool_]:
    """Whether folded and trained codes step at the same places, (O,)."""
    reached = np.rint(fused(found.first, s, t)) >= found.code
    not_yet = np.rint(fused(found.before, s, t)) < found.code
    both = (reached | np.isnan(found.first)) & (not_yet | np.isnan(found.before))
    return np.asarray(both.all(axis=0))


def fold(found: Steps, guess: Doubles) -> tuple[Floats, Floats] | None:
    """s and t (O,) that give the same codes for every possible sum, None where a channel has none. guess: about s."""
    guess = np.where(found.constant, 0.0, guess)
    reach = np.abs(guess) * 1e-4
    lower, upper = guess - reach, guess + reach
    for _ in range(ROUNDS):
        third = (upper - lower) / 3
        gaps = []
        for tried_s in (lower + third, upper - third):
            least, largest = _bounds(found, tried_s)
            gaps.append(np.where(np.isinf(least) | np.isinf(largest), 0.0, np.nan_to_num(largest - least)))
        lower, upper = np.where(gaps[0] < gaps[1], lower + third, lower), np.where(gaps[0] > gaps[1], upper - third, upper)
        both = gaps[0] == gaps[1]
        lower, upper = np.where(both, lower + third / 2, lower), np.where(both, upper - third / 2, upper)
    s: Floats = ((lower + upper) / 2).astype(np.float32)
    scale: Floats = s
    shift: Floats = _middle(*_bounds(found, s.astype(np.float64))).astype(np.float32)
    for ulps in (1, -1, 2, -2, 4, -4):
        if (done := right(found, scale, shift)).all():
            break
        tried = (s.view(np.int32) + np.int32(ulps)).view(np.float32)
        t = _middle(*_bounds(found, tried.astype(np.float64))).astype(np.float32)
        scale = np.where(done, scale, tried).astype(np.float32)
        shift = np.where(done, shift, t).astype(np.float32)
    return (scale, shift) if right(found, scale, shift).all() else None

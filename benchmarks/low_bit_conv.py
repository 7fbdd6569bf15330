"""Low-bit convolutions against 8-bit ones: the shapes of WrapNet's tables 2.7 and 2.8, batch 1, one thread.

    python benchmarks/low_bit_conv.py --json low_bit.json

A call is all a layer pays, from codes to codes: tables of partial sums, look-ups, cyclic function, scale and shift,
requantisation. All kernels and peers take turns in one process; times are those of the processor, so that neighbours on
the machine count less. Medians with half the distance of the quartiles. A turn's times are compared with each other, since
clocks change from turn to turn: "ratio" is the median over turns of the fastest 8-bit convolution's time over ours, and a
cycle is measured in every turn by additions that wait for each other.

Fails (after printing) where the 8-bit peer's own times scatter by more than 10 % on a machine with VNNI and VBMI.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from low_bit_peers import absent, peers

from modicum.kernels import library
from modicum.quantization.kernels import EXACT, Finish, Shape, convolve, kernels, pack

SHAPES = [(64, 56), (128, 28), (256, 14), (512, 7)]
PAPER = {64: (3.467, 8.339, 29.80, 83.705), 128: (2.956, 6.785, 23.86, 80.557),
         256: (2.499, 5.498, 21.71, 86.753), 512: (2.710, 5.520, 20.41, 87.671)}  # fmt: skip
LIMIT = 256  # products a cycle: two byte shuffles of 32 lanes and 4 channels
SLOW = ("portable", "swar-buffer", "swar-carry", "swar-carry-32", "scalar", "scalar-blocked")
Call = Callable[[], object]


class Time(NamedTuple):
    """Milliseconds a call: median, half the distance of the quartiles over it, and turn by turn."""

    ms: float
    spread: float
    turns: list[float]

    def over(self, other: list[float]) -> float:
        """The median ratio of turns, as far as both were measured."""
        return statistics.median(a / b for a, b in zip(self.turns, other, strict=False))


def layer(channels: int, side: int, kind: str, bits: int) -> tuple[np.ndarray, np.ndarray, Shape]:
    """Codes of so many bits, weights and shape of a 3x3 layer."""
    rng = np.random.default_rng(channels + bits)
    x = rng.integers(0, 2**bits, (1, side, side, channels)).astype(np.uint8)
    weights = rng.choice([-1, 1] if kind == "binary" else [-1, 0, 1], (channels, 3, 3, channels)).astype(np.int8)
    return x, weights, Shape.of(x.shape, weights.shape, padding=1)


def ours(channels: int, side: int, kind: str, kernel: str, bits: int = 3, sums: int = 8, wide: int = 0) -> Call:
    """One layer on one of our kernels; the result's buffer is kept, as a network keeps it."""
    x, weights, shape = layer(channels, side, kind, bits)
    scale, shift = np.full(channels, 0.1, np.float32), np.full(channels, 0.5, np.float32)
    finish = Finish("codes", sums, "none" if sums == EXACT else "smooth", 2.0, 2**bits - 1, scale=scale, shift=shift)
    packed = pack(weights, kind, shape, wide, kernel, bits=sums)  # type: ignore[arg-type]
    if packed.kernel != kernel:
        raise RuntimeError(packed.why)
    out = np.empty((1, side, side, channels), np.uint8)
    return lambda: convolve(x, packed, finish, out=out)


def calls(channels: int, side: int) -> dict[str, Call]:
    """Name of a row -> what it runs; rows whose instruction set is not here are absent."""
    rows: dict[str, Call] = {}
    for kernel in kernels():
        if kernel in ("avx2", "avx512vbmi", "neon"):
            rows[f"binary-{kernel}"] = ours(channels, side, "binary", kernel)
            rows[f"ternary-{kernel}"] = ours(channels, side, "ternary", kernel)
            for bits in (2, 3, 4) if kernel == "avx2" else ():
                rows[f"exact16-{kernel}:{bits}"] = ours(channels, side, "binary", kernel, bits, 16, bits)
        elif kernel == "avx2-int8":
            rows["int32-avx2"] = ours(channels, side, "binary", kernel, 3, EXACT, 3)
        elif kernel == "swar-table":
            rows["swar"] = ours(channels, side, "binary", kernel)
            rows["swar-ternary"] = ours(channels, side, "ternary", kernel)
        elif kernel in SLOW:
            rows[kernel] = ours(channels, side, "binary", kernel, sums=7 if kernel == "swar-buffer" else 8)
    x, weights, _ = layer(channels, side, "binary", 3)
    return {**rows, **peers(x, weights)}


def cycle() -> float:
    """Nanoseconds of one cycle, from 200 000 additions."""
    found = library()
    if found is None:
        return float("nan")
    additions = found.modicum_low_bit_additions
    additions.argtypes, additions.restype = [ctypes.c_uint64], ctypes.c_uint64
    start = time.thread_time_ns()
    additions(200_000)
    return (time.thread_time_ns() - start) / 200_000


def measured(rows: dict[str, Call], seconds: float) -> tuple[dict[str, Time], list[float]]:
    """All calls in turns, and the nanoseconds of a cycle in each; a slow row has fewer turns."""
    counts = {}
    for name, call in rows.items():
        call()
        start = time.thread_time_ns()
        call()
        counts[name] = max(1, int(2e6 / max(1, time.thread_time_ns() - start)))  # two milliseconds a turn
    times: dict[str, list[float]] = {name: [] for name in rows}
    cycles: list[float] = []
    spent = dict.fromkeys(rows, 0.0)
    share = seconds * 1e9 / len(rows)
    while any(spent[name] < share or len(times[name]) < 3 for name in rows):
        for name, call in rows.items():
            if spent[name] >= share and len(times[name]) >= 3:
                continue
            start = time.thread_time_ns()
            for _ in range(counts[name]):
                call()
            took = time.thread_time_ns() - start
            times[name].append(took / counts[name] / 1e6)
            spent[name] += took
        cycles.append(cycle())
    found = {}
    for name, each in times.items():
        low, median, high = statistics.quantiles(each, n=4)
        found[name] = Time(median, (high - low) / 2 / median, each)
    return found, cycles


def rows_of(channels: int, side: int, seconds: float) -> list[dict[str, Any]]:
    """The JSON rows of one shape."""
    found, cycles = measured(calls(channels, side), seconds)
    macs = 9 * channels * channels * side * side
    int8 = [name for name in found if name.startswith("int8-")]
    fastest = min(int8, key=lambda name: found[name].ms) if int8 else None
    rows = []
    for name, took in found.items():
        kernel, _, bits = name.partition(":")
        row: dict[str, Any] = {"kernel": kernel, "shape": f"{channels}x{side}x{side}", "ms": took.ms, "spread": took.spread}
        row["ratio_vs_int8"] = None if fastest is None else found[fastest].over(took.turns)
        row["macs_per_cycle"] = macs / (took.over(cycles) * 1e6)
        row["fastest_int8"] = name == fastest
        rows.append({**row, "activation_bits": int(bits)} if bits else row)
    return rows


def table(rows: list[dict[str, Any]]) -> None:
    """Every row, a line each."""
    print(f"\n{'kernel':24}{'shape':>12}{'ms':>10}{'+-':>7}{'ratio':>8}{'MAC/cycle':>11}{'of limit':>10}")
    for row in rows:
        name = row["kernel"] + (f" ({row['activation_bits']} bits)" if "activation_bits" in row else "")
        ratio = "" if row["ratio_vs_int8"] is None else f"{row['ratio_vs_int8']:.2f}"
        part = f"{row['macs_per_cycle'] / LIMIT:.0%}" if row["kernel"] == "binary-avx2" else ""
        mark = " *" if row["fastest_int8"] else ""
        print(f"{name:24}{row['shape']:>12}{row['ms']:10.3f}{row['spread']:7.1%}{ratio:>8}"
              f"{row['macs_per_cycle']:11.1f}{part:>10}{mark}")  # fmt: skip


def slower(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How many times the time of another row one takes, by what both are to the 8-bit peer in their turns."""
    if one["ratio_vs_int8"] is None:
        return float(one["ms"] / other["ms"])
    return float(other["ratio_vs_int8"] / one["ratio_vs_int8"])


def published(rows: list[dict[str, Any]]) -> None:
    """The tables of the dissertation (i7-7700HQ) beside ours."""
    found = {(row["shape"], row["kernel"]): row for row in rows if "activation_bits" not in row}
    for title, ours_names, at in (
        ("Table 2.7, ms: 8-bit and 32-bit accumulators, AVX2", ("binary-avx2", "int32-avx2"), 0),
        ("Table 2.8, ms: packed and plain loop, no vector instructions", ("swar", "scalar"), 2),
        ("           : buffer bit and blocked loop", ("swar-buffer", "scalar-blocked"), 2),
    ):
        print(f"\n{title}\n{'shape':>12}{ours_names[0]:>16}{ours_names[1]:>16}{'ratio':>8}   published: {'':4}ratio")
        for channels, side in SHAPES:
            mine = [found.get((f"{channels}x{side}x{side}", name)) for name in ours_names]
            theirs = PAPER[channels][at : at + 2]
            if mine[0] is not None and mine[1] is not None:
                times = f"{mine[0]['ms']:16.3f}{mine[1]['ms']:16.3f}{slower(mine[1], mine[0]):8.2f}"
                print(f"{channels}x{side}x{side}".rjust(12) + times
                      + f"   {theirs[0]:.2f} {theirs[1]:.2f} {theirs[1] / theirs[0]:8.2f}")  # fmt: skip


def wrapping(rows: list[dict[str, Any]]) -> None:
    """What sums that wrap buy over exact ones of 16 bits, same look-ups."""
    found = {(row["shape"], row["kernel"], row.get("activation_bits")): row for row in rows}
    print("\nExact 16-bit sums over wrapping 8-bit ones, AVX2, by bits of the activations")
    for channels, side in SHAPES:
        shape = f"{channels}x{side}x{side}"
        if (shape, "exact16-avx2", 2) in found:
            wraps = found[shape, "binary-avx2", None]
            parts = [slower(found[shape, "exact16-avx2", bits], wraps) for bits in (2, 3, 4)]
            print(f"{shape:>12}  " + "  ".join(f"{bits} bits: {p:.2f}x" for bits, p in zip((2, 3, 4), parts, strict=True)))


def judged_here() -> bool:
    """Whether this processor has VNNI and VBMI, for which targets are set."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.is_file() else ""
    return "avx512_vnni" in flags and "avx512_vbmi" in flags.replace("avx512vbmi", "avx512_vbmi")


def main() -> int:
    """The command; exit code 1 where the peer's times scatter too much to compare anything with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--seconds", type=float, default=7.0, help="for one shape, all kernels together (default 7)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for channels, side in SHAPES for row in rows_of(channels, side, options.seconds)]
    table(rows)
    published(rows)
    wrapping(rows)
    for name, why in absent.items():
        print(f"\nabsent: {name}: {why}")
    if options.json:
        Path(options.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    wild = [row for row in rows if row["fastest_int8"] and row["spread"] > 0.1]
    for row in wild:
        print(f"\n{row['kernel']} {row['shape']}: its own times scatter by {row['spread']:.0%}, more than 10 %")
    return int(bool(wild) and judged_here())


if __name__ == "__main__":
    sys.exit(main())

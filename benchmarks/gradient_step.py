"""One second-order MAML meta-gradient against higher, torchopt and learn2learn.

    python benchmarks/gradient_step.py --repeats 7 --json gradient.json
    python benchmarks/gradient_step.py --rows sinusoid conv-28-64-5 --strategies compiled loop grouped --threads 2

Rows: `sinusoid` is a network 1-40-40-1, 25 tasks, 10 support and 10 query points; `conv-SIZE-FILTERS-SHOTS` is four blocks,
4 tasks, 5-way, 15 queries a class, 28x28x1 or 84x84x3. 5 inner steps, float32. Every row is a process of its own; in it all
sides run in turn, so that what else the machine does meets all of them. Beforehand each side's gradients are compared with
the first one's, in float64 on a task or two (`difference`; the compiled side's are compared in the tests). A ratio is the
median of the pairwise ratios to the fastest peer of that round; with `--peers` and nothing, to our loop. Compile time is the
first call less a later one. `--clock cpu --threads 1` counts processor time, for a machine that is not quiet.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from gradient_sides import PEERS, STRATEGIES, Problem, Side, ours, peer, pictures, sinusoids
from side_by_side import child, quartiles, shown, write_rows

ROWS = ("sinusoid", *(f"conv-{size}-{filters}-{shots}" for size in (28, 84) for filters in (48, 64) for shots in (1, 5)))
LIMIT = 3600.0
"""Seconds after which a row is given up."""


def problem(row: str, small: bool = False) -> Problem:
    """The row's problem, or one task of it in float64 with one query a class."""
    if row == "sinusoid":
        return sinusoids(tasks=2, dtype=torch.float64) if small else sinusoids()
    size, filters, shots = (int(part) for part in row.split("-")[1:])
    if small:
        return pictures(size, filters, shots, queries=1, tasks=1, dtype=torch.float64)
    return pictures(size, filters, shots)


def made(one: Problem, name: str) -> Side:
    """A side by name."""
    return peer(one, name) if name in PEERS else ours(one, name)


def difference(row: str, names: list[str]) -> float:
    """Largest difference of any side's meta-gradients from the first one's, over the largest entry of each tensor."""
    small = problem(row, small=True)
    found = [[value.clone() for value in made(small, name)()] for name in names if name != "compiled"]
    pairs = [pair for each in found[1:] for pair in zip(found[0], each, strict=True)]
    return max((float((a - b).abs().max() / a.abs().max()) for a, b in pairs), default=0.0)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(side: Side, clock: str = "wall") -> float:
    """Time of one call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = CLOCKS[clock]()
    side()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return CLOCKS[clock]() - start


def measured(row: str, names: list[str], repeats: int, clock: str) -> dict[str, Any]:
    """All sides in turn in this process."""
    found: dict[str, Any] = {"row": row, "threads": torch.get_num_threads(), "clock": clock}
    found["difference"] = difference(row, names)
    one = problem(row)
    if torch.cuda.is_available():
        one = one._replace(
            network=one.network.cuda(),
            support=(one.support[0].cuda(), one.support[1].cuda()),
            query=(one.query[0].cuda(), one.query[1].cuda()),
        )
    sides = {name: made(one, name) for name in names}
    first = {name: seconds(side) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats + 1):
        for name, side in sides.items():
            times[name].append(seconds(side, clock))
    times = {name: taken[1:] for name, taken in times.items()}
    peers = [name for name in names if name in PEERS] or ["loop"]
    best = [min(times[name][i] for name in peers) for i in range(repeats)]
    found["compile_seconds"] = first["compiled"] - min(times["compiled"]) if "compiled" in times else None
    found["seconds"] = {name: quartiles(taken) for name, taken in times.items()}
    found["ratio"] = {name: quartiles([b / t for b, t in zip(best, taken, strict=True)]) for name, taken in times.items()}
    found["ratio_to"] = {
        name: {own: quartiles([p / t for p, t in zip(times[name], times[own], strict=True)]) for own in times}
        for name in peers
    }
    return found


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help="sinusoid, or conv-SIZE-FILTERS-SHOTS")
    parser.add_argument("--peers", nargs="*", default=["higher", "torchopt"], choices=PEERS)
    parser.add_argument("--strategies", nargs="+", default=["loop", "grouped"], choices=STRATEGIES)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time of the process")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run every row and print a Markdown table: median ms [quartiles], and times as fast as the fastest peer."""
    options = parsed()
    names = [*options.peers, *options.strategies]
    if options.child:
        torch.set_num_threads(options.threads)
        print(json.dumps(measured(options.child, names, options.repeats, options.clock)))
        return
    rows = []
    columns = [
        "row",
        "threads",
        *(f"{name} ms" for name in names),
        *(f"{name}: times the best peer" for name in options.strategies),
    ]
    columns += ["compile s", "difference"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    task = [
        "--clock",
        options.clock,
        "--repeats",
        str(options.repeats),
        "--threads",
        str(options.threads),
        "--peers",
        *options.peers,
    ]
    for row in options.rows:
        found = child(__file__, ["--child", row, *task, "--strategies", *options.strategies], LIMIT)
        if found is None:
            print(f"| {row} |" + " - |" * (len(columns) - 1), flush=True)
            continue
        rows.append(found)
        compiled = found["compile_seconds"]
        cells = [row, str(found["threads"]), *(shown(found["seconds"][name]) for name in names)]
        cells += [shown(found["ratio"][name], 1) for name in options.strategies]
        cells += ["-" if compiled is None else f"{compiled:.0f}", f"{found['difference']:.0e}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()

"""One whole ProtoNet training step against easyfsl: 4 tasks, 5-way 5-shot, 15 queries per class, conv4-64.

    python benchmarks/training_step.py --json step.json

Ours: sampling, cutting from uint8 pictures, forward, loss, backward, Adam. The peer: easyfsl's PrototypicalNetworks on the
textbook conv4-64 (biased convolution, batch norm, ReLU, max-pool), a loop over tasks on float tensors cut beforehand, so
its sampling is not counted. Both sides run in one process, in turn, with the same allocator settings; those of glibc are
read at start, so each setting is a process of its own. Times are medians with their quartiles; memory is the peak resident
set of a process that runs one side alone, less what it held before its first step. A peer that is not installed is `-`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_TOP_PAD_": "268435456"}
SHAPES = {84: (84, 3), 28: (28, 1)}
TASKS, WAYS, SHOTS, QUERIES = 4, 5, 5, 15
Step = Callable[[], Any]


def flops(size: int, channels: int, pictures: int) -> float:
    """Multiply-adds x 2 of the convolutions, forward and backward (no input gradient in the first layer)."""
    total, inner = 0.0, channels
    for layer in range(4):
        side = size // 2**layer
        total += 2 * side * side * 9 * inner * 64 * (2 if layer == 0 else 3)
        inner = 64
    return total * pictures


def our_step(size: int, channels: int, precision: str) -> Step:
    """One step of `modicum train` on random pictures."""
    import numpy as np

    from modicum.configs import Train
    from modicum.data.pictures import PictureSet
    from modicum.training.trainer import Trainer

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 40)
    pixels = rng.integers(0, 256, (len(labels), size, size, channels), dtype=np.uint8)
    names = tuple(str(i) for i in range(20))
    pictures = PictureSet(pixels, labels, names, tuple(map(str, range(len(labels)))), splits={"train": names}, name="noise")
    options: dict[str, Any] = {"ways": WAYS, "shots": SHOTS, "queries": QUERIES, "batch": TASKS, "precision": precision}
    return Trainer(Train(data="noise", out="unused", **options), pictures).advance


def peer_step(size: int, channels: int) -> Step | None:
    """One step of easyfsl, None where it is not installed."""
    try:
        from easyfsl.methods import PrototypicalNetworks
    except ImportError:
        return None
    import torch
    from torch import nn

    blocks: list[nn.Module] = []
    for layer in range(4):
        inner = channels if layer == 0 else 64
        blocks += [nn.Conv2d(inner, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    model = PrototypicalNetworks(nn.Sequential(*blocks, nn.Flatten()))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    support = torch.rand(TASKS, WAYS * SHOTS, channels, size, size)
    query = torch.rand(TASKS, WAYS * QUERIES, channels, size, size)
    support_y, query_y = (torch.arange(WAYS).repeat_interleave(n) for n in (SHOTS, QUERIES))

    def step() -> float:
        losses = []
        for task in range(TASKS):
            model.process_support_set(support[task], support_y)
            losses.append(nn.functional.cross_entropy(model(query[task]), query_y))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def seconds(step: Step) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def gemm_rate() -> float:
    """FLOP/s of a large float32 matrix product here: what the convolutions could reach at best."""
    import torch

    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    return max(2 * 2048**3 / seconds(lambda: a @ b) for _ in range(8))


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high}


def measure(size: int, repeats: int, bfloat16: bool) -> dict[str, Any]:
    """All sides in turn in this process."""
    import torch

    channels = SHAPES[size][1]
    steps = {"float32": our_step(size, channels, "float32"), "easyfsl": peer_step(size, channels)}
    if bfloat16:
        steps["bfloat16"] = our_step(size, channels, "bfloat16")
    times: dict[str, list[float]] = {name: [] for name, step in steps.items() if step}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            if step is not None:
                taken = seconds(step)
                if repeat >= 2:
                    times[name].append(taken)
    work = flops(size, channels, TASKS * WAYS * (SHOTS + QUERIES))
    row: dict[str, Any] = {"size": size, "threads": torch.get_num_threads(), "gemm_gflops": gemm_rate() / 1e9}
    for name in ("float32", "bfloat16", "easyfsl"):
        row[name] = quartiles(times[name]) if name in times else None
    row["fraction_of_gemm"] = work / row["float32"]["median"] / (row["gemm_gflops"] * 1e9)
    if row["easyfsl"]:
        pairs = [peer / ours for peer, ours in zip(times["easyfsl"], times["float32"], strict=True)]
        row["ratio"] = quartiles(pairs)
        if "bfloat16" in times:
            row["ratio_bfloat16"] = quartiles([p / b for p, b in zip(times["easyfsl"], times["bfloat16"], strict=True)])
    row["sampling_share"] = sampling_share(size, channels, row["float32"]["median"])
    return row


def sampling_share(size: int, channels: int, step_seconds: float) -> float:
    """Share of a step that sampling and cutting take."""
    from modicum.episodes.cutting import cut

    trainer = our_step(size, channels, "float32").__self__  # type: ignore[attr-defined]
    taken = [seconds(lambda s=s: cut(trainer.pixels, trainer.sampler.step(s, TASKS))) for s in range(9)]
    return statistics.median(taken) / step_seconds


def peak_memory(side: str, size: int) -> float:
    """MiB by which this process grew over three steps of one side."""
    channels = SHAPES[size][1]
    step = peer_step(size, channels) if side == "easyfsl" else our_step(size, channels, side)
    if step is None:
        return float("nan")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def child(arguments: list[str], tuned: bool) -> Any:
    """The JSON a child process of this script prints."""
    environment = {**os.environ, **(ALLOCATOR if tuned else {})}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def shown(times: dict[str, float] | None, unit: float = 1e3) -> str:
    """median [low..high], or - for an absent side."""
    return "-" if times is None else f"{times['median'] * unit:.4g} [{times['low'] * unit:.4g}..{times['high'] * unit:.4g}]"


def main() -> None:
    """Run every size under both allocator settings and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[84, 28], choices=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--bfloat16", action="store_true", help="also time bfloat16 (slow without AVX-512 BF16)")
    parser.add_argument("--json")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        kind, size, *rest = options.child
        result = measure(int(size), int(rest[0]), rest[1] == "1") if kind == "time" else peak_memory(kind, int(size))
        print(json.dumps(result))
        return
    rows = []
    columns = ["size", "allocator", "modicum ms", "bfloat16 ms", "easyfsl ms", "ratio", "ratio bfloat16"]
    columns += ["of gemm", "sampling", "MiB", "MiB easyfsl"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for size in options.sizes:
        for tuned in (False, True):
            row = child(["--child", "time", str(size), str(options.repeats), str(int(options.bfloat16))], tuned)
            memory = {side: child(["--child", side, str(size)], tuned) for side in ("float32", "easyfsl")}
            allocator = "tuned" if tuned else "default"
            rows.append({**row, "allocator": allocator, "peak_mib": memory})
            cells = [str(size), allocator, *(shown(row[side]) for side in ("float32", "bfloat16", "easyfsl"))]
            cells += [shown(row.get("ratio"), 1), shown(row.get("ratio_bfloat16"), 1), f"{row['fraction_of_gemm']:.0%}"]
            cells += [f"{row['sampling_share']:.1%}", f"{memory['float32']:.0f}", f"{memory['easyfsl']:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"schema": 1, "rows": rows}, out, indent=1)


if __name__ == "__main__":
    main()

"""Peak memory of one second-order meta-gradient with and without `--checkpoint_inner`.

    python benchmarks/gradient_memory.py --json memory.json

ALFA + MAML on ResNet-12 (64-128-256-512), 84x84, 5-way 5-shot, 15 queries a class, 5 inner steps, 2 tasks, in float32. Each
row is a process of its own; its memory is the peak of its resident set, interpreter and torch included. The digest is of
all gradients' bytes: equal digests are gradients that are equal to the bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from typing import Any

from side_by_side import child, write_rows

LIMIT = 7200.0
"""Seconds after which a row is given up."""


def measured(options: argparse.Namespace, checkpoint: bool) -> dict[str, Any]:
    """One meta-gradient in this process: peak MiB, seconds, digest."""
    import torch

    from modicum.adaptation.gradient.meta import meta_gradients
    from modicum.backbones.encoder import ImageSpec
    from modicum.configs import Train
    from modicum.episodes.types import Episode, LabelledSet
    from modicum.training.runs import build_gradient_learner

    config = Train(
        data="noise", out="unused", method="alfa", backbone=options.backbone, ways=options.ways, shots=options.shots,
        queries=options.queries, batch=options.tasks, inner_steps=options.steps, checkpoint_inner=checkpoint,
        strategy="loop",
    )  # fmt: skip
    learner = build_gradient_learner(config, ImageSpec(options.size, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    generator = torch.Generator().manual_seed(0)

    def pictures(count: int) -> LabelledSet:
        x = torch.rand(options.tasks, options.ways * count, 3, options.size, options.size, generator=generator)
        return LabelledSet(x, torch.arange(options.ways).repeat_interleave(count).expand(options.tasks, -1))

    episode = Episode(pictures(options.shots), pictures(options.queries), options.ways)
    start = time.perf_counter()
    meta_gradients(learner, episode)
    taken = time.perf_counter() - start
    digest = hashlib.sha256()
    for _, value in learner.named_parameters():
        if value.grad is not None:
            digest.update(value.grad.numpy().tobytes())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "checkpoint": checkpoint, "peak_mib": peak / 1024, "before_mib": before / 1024, "seconds": taken,
        "digest": digest.hexdigest()[:16], "threads": torch.get_num_threads(),
    }  # fmt: skip


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet12")
    for name, default in {"size": 84, "ways": 5, "shots": 5, "queries": 15, "steps": 5, "tasks": 2, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", choices=["checkpoint", "plain"], help="one of the two rows")
    parser.add_argument("--json")
    parser.add_argument("--child", choices=["checkpoint", "plain"], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run both rows and print a Markdown table."""
    options = parsed()
    if options.child:
        print(json.dumps(measured(options, options.child == "checkpoint")))
        return
    names = ("backbone", "size", "ways", "shots", "queries", "steps", "tasks", "threads")
    task = [part for name in names for part in (f"--{name}", str(getattr(options, name)))]
    rows = []
    print("| checkpoint_inner | peak MiB | before MiB | seconds | digest of the gradients |\n" + "|---" * 5 + "|")
    for side in [options.only] if options.only else ["checkpoint", "plain"]:
        row = child(__file__, ["--child", side, *task], LIMIT)
        cells = ["-"] * 4
        if row is not None:
            cells = [f"{row['peak_mib']:.0f}", f"{row['before_mib']:.0f}", f"{row['seconds']:.1f}", row["digest"]]
            rows.append({**row, **{name: getattr(options, name) for name in names}})
        print("| " + " | ".join(["yes" if side == "checkpoint" else "no", *cells]) + " |", flush=True)
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()

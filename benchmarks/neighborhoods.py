"""What Meta-Neighborhoods adds to its network: ResNet-29 at 32 x 32, batch 128, inference and training, time and memory.

    python benchmarks/neighborhoods.py --threads 1 2 --json neighborhoods.json

Sides take turns in one process, a process a configuration: the vanilla network (same backbone and output layer), the adapted
one (`logits`), its classes alone (`predict`), and the layer per query moved by automatic gradients (`explicit`, in chunks of
the same memory). Times are medians with quartiles, ratios those of turns. `head`: adaptation alone, on given features.
`peak` is the resident set of a process that runs the adapted head alone, less what it held before its first call.

State "fresh": parameters as they start. "fitted": what a network that has learned its training set might have, made up and
not learned: weights at right angles, keys at a cosine of about 0.9 to their class's, tau 12, values of 0.97 and more.
`--device cuda` times the same on an accelerator; peak is then torch's.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import child, quartiles, shown, write_rows
from torch import Tensor, nn

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.memory.dictionary import LearnedDictionary, drop_entries

SIZE, FEATURES = 32, 256
INFERENCE = [
    ("dot", 10, 5_000, 1, "fresh"),
    ("cosine", 10, 5_000, 1, "fresh"),
    ("cosine", 10, 5_000, 1, "fitted"),
    ("cosine", 100, 10_000, 1, "fresh"),
    ("cosine", 100, 10_000, 1, "fitted"),
    ("cosine", 10, 5_000, 3, "fresh"),
]
GROWTH = [("cosine", 10, entries, 1, "fresh") for entries in (1_000, 5_000, 10_000, 50_000)]
TRAINING = [("dot", 10, 5_000, 1), ("cosine", 10, 5_000, 1), ("cosine", 10, 5_000, 3), ("cosine", 100, 10_000, 1)]


def fit(model: MetaNeighborhoods) -> None:
    """Give the parameters of the state "fitted"."""
    dictionary, layer = model.dictionary, model.layer
    assert dictionary is not None
    features, classes = layer.weight.shape
    own = torch.arange(dictionary.entries) % classes
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.qr(torch.randn(features, features)).Q[:, :classes])
        dictionary.keys.copy_(layer.weight[:, own].mT + 0.03 * torch.randn(dictionary.entries, features))
        dictionary.value_logits.zero_()
        dictionary.value_logits[torch.arange(dictionary.entries), own] = 0.8
        if layer.tau is not None:
            layer.tau.fill_(12.0)


def make(options: argparse.Namespace, encoder: Encoder, form: Any = "auto", vanilla: bool = False) -> MetaNeighborhoods:
    """A network; the same numbers for every form."""
    torch.manual_seed(0)
    layer = OutputLayer(FEATURES, options.classes, options.kind)
    dictionary = None if vanilla else LearnedDictionary(options.entries, FEATURES, options.classes)
    model = MetaNeighborhoods(encoder, layer, dictionary, steps=options.steps, rates=options.rates, form=form)
    if options.state == "fitted" and not vanilla:
        fit(model)
    return model.to(options.device)


def seconds(call: Callable[[], Any], clock: Callable[[], float], device: str) -> float:
    """Time of one call."""
    start = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def features_of(options: argparse.Namespace, model: MetaNeighborhoods) -> Tensor:
    """Features as a network's: near the weights of their classes where it is fitted, any where it is fresh."""
    z = torch.randn(options.batch, FEATURES).to(options.device)
    if options.state == "fresh":
        return z
    return model.layer.weight.detach()[:, torch.arange(options.batch) % options.classes].mT + 0.05 * z


class Given(nn.Module):
    """The backbone's work is done, but its features are these: random weights make all pictures nearly alike."""

    def __init__(self, backbone: nn.Module, z: Tensor) -> None:
        super().__init__()
        self.backbone, self.z = backbone, z

    def forward(self, x: Tensor) -> Tensor:
        return self.z + 0 * self.backbone(x)


def sides_of(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What is timed: vanilla first."""
    encoder = build_encoder(options.backbone, ImageSpec(SIZE, 3)).to(options.device)
    model = make(options, encoder)
    z = features_of(options, model)
    encoder.backbone = Given(encoder.backbone, z)
    vanilla, explicit = make(options, encoder, vanilla=True), make(options, encoder, "explicit")
    x = torch.randint(0, 256, (options.batch, 3, SIZE, SIZE), dtype=torch.uint8, device=options.device)
    if options.what == "training":
        sides = {"vanilla": training(vanilla, x, None), "query": training(model, x, "query")}
        sides["shared"] = training(make(options, encoder), x, "shared")
        if options.explicit:
            sides["explicit"] = training(explicit, x, "shared")
        return sides
    for network in (model, vanilla, explicit):
        network.eval()
    sides = {"vanilla": lambda: vanilla(x), "logits": lambda: model(x)}
    if options.kind == "cosine" and options.steps == 1:
        sides["predict"] = lambda: model.predict(model.features(x))
    sides["head"] = lambda: model.logits(z)
    if options.explicit:
        sides["explicit"] = lambda: explicit(x)
    return sides


def training(model: MetaNeighborhoods, x: Tensor, how: Any) -> Callable[[], None]:
    """One step: draw, forward, cross-entropy, backward, AdamW."""
    optimizer, y = (
        torch.optim.AdamW(model.parameters(), 1e-3),
        torch.arange(len(x), device=x.device) % model.layer.weight.shape[1],
    )
    model.train()

    def step() -> None:
        keep = None
        if model.dictionary is not None:
            keep = drop_entries(model.dictionary.entries, 0.5, how, len(x)).to(x.device)
        optimizer.zero_grad()
        F.cross_entropy(model.logits(model.features(x), keep), y).backward()
        optimizer.step()

    return step


def peak(options: argparse.Namespace) -> dict[str, float]:
    """MiB that the adapted head adds at most, inference or a step forward and backward."""
    encoder = build_encoder("conv4-32", ImageSpec(SIZE, 3))
    encoder.n_features = FEATURES
    model = make(options, encoder, "explicit" if options.explicit else "auto").train(options.what == "training")
    z = features_of(options, model).requires_grad_(options.what == "training")
    keep = drop_entries(options.entries, 0.5, "query", options.batch) if options.what == "training" else None
    torch.rand(512, 512) @ torch.rand(512, 512)  # the library's own buffers
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if options.what == "training":
        model.logits(z, keep).square().sum().backward()
    else:
        with torch.inference_mode():
            model.logits(z)
    return {"peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One configuration: quartiles of every side and of its ratio to the vanilla network."""
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter
    sides, times = sides_of(options), {}
    with torch.inference_mode(options.what == "inference"):
        for turn in range(options.repeats + 1):
            for name, call in sides.items():
                taken = seconds(call, clock, options.device)
                if turn:
                    times.setdefault(name, []).append(taken)
    row: dict[str, Any] = {name: quartiles(values) for name, values in times.items()}
    for name, values in times.items():
        base = times["vanilla"]
        row[f"{name} ratio"] = quartiles([v / b for v, b in zip(values, base, strict=True)])
    return row


def run(options: argparse.Namespace, what: str, threads: int, row: tuple[Any, ...]) -> dict[str, Any] | None:
    """Time one configuration in a process of its own, and its memory in another."""
    kind, classes, entries, steps, *state = row
    arguments = ["--one", what, "--threads", str(threads), "--kind", kind, "--classes", str(classes)]
    arguments += ["--entries", str(entries), "--steps", str(steps), "--state", state[0] if state else "fresh"]
    arguments += ["--repeats", str(options.repeats), "--device", options.device, "--backbone", options.backbone]
    arguments += ["--batch", str(options.batch), "--rates", options.rates]
    arguments += ["--processor-time"] if options.processor_time else []
    alone = [*arguments, "--peak"]
    if options.explicit and entries <= 10_000:
        arguments.append("--explicit")
    found = child(__file__, arguments, options.limit)
    if found is None:
        return None
    found |= child(__file__, alone, options.limit) or {}
    named = {"what": what, "threads": threads, "kind": kind, "classes": classes, "entries": entries, "steps": steps}
    return {**named, "state": state[0] if state else "fresh", **found}


def show(row: dict[str, Any]) -> None:
    """A line of the Markdown table of `what`."""
    named = [str(row[name]) for name in ("what", "threads", "kind", "classes", "entries", "steps", "state")]
    cells = [shown(row["vanilla"])]
    for name in ("logits", "predict", "head", "query", "shared", "explicit"):
        if name in row:
            cells.append(f"{name} {shown(row[name])} = {shown(row[name + ' ratio'], 1)}")
    print("| " + " | ".join([*named, *cells, f"peak {row.get('peak', float('nan')):.0f} MiB"]) + " |", flush=True)


def main() -> None:
    """Measure what was asked for and print it as rows of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", default=["inference", "growth", "training"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rates", default="scalar", choices=["scalar", "diagonal"])
    parser.add_argument("--backbone", default="resnet29-signed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--explicit", action="store_true", help="time the explicit gradient too, up to S = 10,000")
    parser.add_argument("--processor-time", action="store_true", help="of this process, where the machine is not idle")
    parser.add_argument("--limit", type=float, default=3600, help="seconds for a configuration")
    parser.add_argument("--json")
    for name, kind in (("kind", str), ("classes", int), ("entries", int), ("steps", int), ("state", str), ("one", str)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.what, options.threads = options.one, options.threads[0]
        print(json.dumps(peak(options) if options.peak else measure(options)))
        return
    tables = {"inference": INFERENCE, "growth": GROWTH, "training": TRAINING}
    rows = []
    for what in options.what:
        for threads in options.threads:
            for configuration in tables[what]:
                row = run(options, "training" if what == "training" else "inference", threads, configuration)
                if row is not None:
                    rows.append(row)
                    show(row)
    if options.json:
        write_rows(options.json, rows)


if __name__ == "__main__":
    main()

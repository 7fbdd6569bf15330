"""What retrieval adds to a training step: RAC against its base branch alone, random words, k = 30 of 184,000 items x 768.

    python benchmarks/retrieval_overhead.py --json overhead.json

A step is forward, cross-entropy, backward and AdamW on one batch of random uint8 pictures; the two sides take
turns in one process. E is an encoder with a fixed linear map behind it: embeddings less their mean, in 768 dimensions
(random weights give nearly parallel embeddings otherwise). Keys scatter about E's embeddings of 1,024 pictures, as those of
a data set do, and each has one of 365 labels of two words. Rows differ in what E costs beside B, whatever the memory costs:
`pictures` is the shipped encoder, the default of `--encoder`; the others have B's own architecture, as in the paper, where
E's pass forward is a third of B's work forward and backward before anything is looked up (its table 5: 1.20 on 8 A100).

Columns: milliseconds, medians with quartiles; ratio: of pairs of steps; then the medians of the parts that only RAC has:
E, look-up, payloads, text (words to logits, forward). `kept` is RAC with --cache_neighbours once every picture was seen:
neither E nor a look-up. `clip` is a text tower of CLIP's size with random weights, trained, in place of random words.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.memory.memory import Memory
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.types import AbstractMemory, MemoryInfo
from modicum.models import load_encoder
from modicum.retrieval.embedding import embed_batch, even_pass
from modicum.retrieval.rac import RAC
from modicum.retrieval.text import AbstractTextEncoder, RandomWords

DIM, CLASSES, K = 768, 365, 30


class Mapped(nn.Module):
    """A backbone with a fixed linear map behind it."""

    def __init__(self, encoder: Encoder, pixels: Tensor) -> None:
        super().__init__()
        self.inner = encoder
        with torch.inference_mode():
            found = torch.cat([encoder(part) for part in pixels.split(32)]).clone()
        self.register_buffer("mean", found.mean(0))
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("map", torch.randn(found.shape[1], DIM, generator=generator).to(found) / found.std())

    def forward(self, x: Tensor) -> Tensor:
        return (self.inner.backbone(x) - self.mean) @ self.map


def make_encoder(name: str, size: int, device: torch.device) -> tuple[Encoder, Tensor]:
    """E and 1,024 pictures, which keys scatter about."""
    torch.manual_seed(0)
    inner = load_encoder(name) if name == "pictures" else build_encoder(name, ImageSpec(size, 3))
    inner.to(device).eval()
    side = inner.spec.size
    coarse = torch.rand(1024, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    pixels = torch.cat([F.interpolate(part, (side, side), mode="bilinear") for part in coarse.split(256)])
    pixels = (pixels * 255).to(torch.uint8)
    mapped = Mapped(inner, pixels[:128].to(device))
    return Encoder(mapped, inner.spec, DIM, name, {}).to(device).eval(), pixels


def make_memory(folder: Path, encoder: Encoder, pixels: Tensor, items: int, device: torch.device) -> AbstractMemory:
    """A memory of so many keys about the embeddings of those pictures, with its index; made once, then opened."""
    if folder.is_dir():
        return open_memory(str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    centres = torch.cat([embed_batch(encoder, part.to(device), 64).cpu() for part in pixels.split(64)]).numpy()
    memory, rng = create_memory(str(folder), MemoryInfo(DIM)), np.random.default_rng(0)
    for start in range(0, items, 4000):
        at = rng.integers(len(centres), size=min(4000, items - start))
        keys = centres[at] + 0.5 * centres.std() * rng.standard_normal((len(at), DIM), np.float32)
        memory.add(keys, [f"scene number{i % CLASSES}" for i in at], source="keys")
    assert isinstance(memory, Memory)
    memory.settle()
    return memory


def clip_text() -> AbstractTextEncoder:
    """A trained tower of CLIP ViT-B's size (63 M parameters), with random weights and a vocabulary of letters."""
    import transformers

    from modicum.retrieval.transformers_text import CLIPText

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    size = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8}
    marks = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    config = transformers.CLIPTextConfig(**size, **marks, vocab_size=49408, projection_dim=512)
    with tempfile.TemporaryDirectory() as folder:
        transformers.CLIPTextModelWithProjection(config).save_pretrained(folder)
        transformers.CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(folder)
        return CLIPText(folder)


def step_of(model: RAC, x: Tensor, y: Tensor, ids: Tensor) -> Callable[[], None]:
    """One training step as `modicum train` takes it: B with batch norm as a value, one loss of the chosen logits."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    model.train()

    def step() -> None:
        assert model.base is not None
        optimizer.zero_grad()
        features, buffers = forward_training(model.base, x, copy_buffers(model.base))
        out = model.branch_logits(x, ids, features=features)
        F.cross_entropy(model.chosen(out), y, label_smoothing=0.1).backward()
        optimizer.step()
        for name, buffer in model.base.named_buffers():
            buffer.copy_(buffers[name])
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


CLOCK = time.perf_counter


def seconds(call: Callable[[], Any]) -> float:
    """Time of one call."""
    start = CLOCK()
    call()
    return CLOCK() - start


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high}


def parts(model: RAC, x: Tensor, repeats: int) -> dict[str, float]:
    """Median seconds of E, look-up, payloads, and words to logits."""
    assert model.memory is not None
    encoder = model.encoder
    assert encoder is not None
    query = model.embed(x).cpu().numpy()
    found, items = model.neighbours(x, leave_out=False)
    payloads = model._payloads
    assert payloads is not None
    calls: dict[str, Callable[[], Any]] = {
        "encoder": lambda: embed_batch(encoder, x, even_pass(len(x))),
        "look-up": lambda: model.memory.lookup(query, K),  # type: ignore[union-attr]
        "payloads": lambda: (payloads.refresh(), payloads.items(found.id)),
        "text": lambda: model.retrieval_logits(items),
    }
    return {name: statistics.median(seconds(call) for _ in range(repeats)) for name, call in calls.items()}


def measure(options: argparse.Namespace, encoder_name: str, memories: Path) -> list[dict[str, Any]]:
    """Rows of one E: RAC and its variants, each in turn with the base branch alone."""
    device = torch.device(options.device)
    encoder, pixels = make_encoder(encoder_name, options.size, device)
    memory = make_memory(
        memories / f"{encoder_name.replace('/', '-')}-{options.size}", encoder, pixels, options.items, device
    )
    x = F.interpolate(pixels[-options.batch :].float(), (options.size, options.size)).to(torch.uint8).to(device)
    y = torch.arange(options.batch, device=device) % CLASSES
    ids = torch.from_numpy(memory.ids_of("keys", [str(i) for i in range(options.batch)]))
    spec = ImageSpec(options.size, 3)

    def model(branches: str, text: AbstractTextEncoder | None = None, kept: bool = False) -> RAC:
        torch.manual_seed(0)
        more: dict[str, Any] = {"encoder": encoder, "memory": memory, "text": text, "cache_neighbours": kept}
        base = build_encoder(options.base, spec)
        return RAC(CLASSES, base=base, branches=branches, **(more if text else {})).to(device)

    base = step_of(model("base"), x, y, ids)
    variants: dict[str, RAC] = {"rac": model("both", RandomWords()), "kept": model("both", RandomWords(), kept=True)}
    if options.clip:
        variants["clip"] = model("both", clip_text())
    steps = {name: step_of(network, x, y, ids) for name, network in variants.items()}
    times: dict[str, list[float]] = {name: [] for name in ("base", *steps)}
    for _ in range(options.repeats + 1):  # the first is left out
        for name, step in (("base", base), *steps.items()):
            times[name].append(seconds(step))
    rows = []
    for name, network in variants.items():
        pairs = list(zip(times["base"], times[name], strict=True))[1:]
        row: dict[str, Any] = {"encoder": encoder_name, "variant": name, "index": memory.stats().index}
        row |= {"base": quartiles([b for b, _ in pairs]), "step": quartiles([s for _, s in pairs])}
        row["ratio"] = quartiles([s / b for b, s in pairs])
        row["parts"] = parts(network, x, options.repeats)
        rows.append(row)
    memory.close()
    return rows


def shown(times: dict[str, float], unit: float = 1e3) -> str:
    """median [low..high]"""
    return f"{times['median'] * unit:.4g} [{times['low'] * unit:.4g}..{times['high'] * unit:.4g}]"


def main() -> None:
    """Measure every E and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="resnet12", help="B's architecture, by a name `build_encoder` takes")
    parser.add_argument("--encoders", nargs="+", default=["pictures", "resnet12"])
    parser.add_argument("--size", type=int, default=32, help="side of the pictures in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--items", type=int, default=184_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--store", help="folder that keeps the memories for the next call")
    parser.add_argument("--clip", action="store_true")
    parser.add_argument("--processor-time", action="store_true", help="of this process, where the machine is not idle")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.processor_time:
        global CLOCK
        CLOCK = time.process_time
    rows = []
    columns = ["E", "variant", "index", "base ms", "step ms", "ratio", "E ms", "look-up ms", "payloads ms", "text ms"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    with tempfile.TemporaryDirectory() as temporary:
        for encoder in options.encoders:
            for row in measure(options, encoder, Path(options.store or temporary)):
                rows.append(row)
                cells = [row["encoder"], row["variant"], row["index"], shown(row["base"]), shown(row["step"])]
                cells += [shown(row["ratio"], 1), *(f"{value * 1e3:.4g}" for value in row["parts"].values())]
                print("| " + " | ".join(cells) + " |", flush=True)
    if options.json:
        record = {"options": vars(options), "threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}
        Path(options.json).write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()

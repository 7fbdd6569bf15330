"""What a trained encoder is once it is used: bytes of its file, and milliseconds to classify one picture.

| figure | is |
|---|---|
| file_bytes | of a low-bit encoder its integer network's file, weights packed; else the weights of the saved encoder |
| predict_ms | one uint8 picture to the nearest of `WAYS` prototypes: normalised, embedded, compared; batch 1, one thread |

Times are medians over `TIMES` predictions, after `WARM` others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from modicum.recipes.recipe import Row
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

WAYS, WARM, TIMES = 5, 10, 100
Embed = Callable[[Tensor], Tensor]


def measure_deployed(row: Row, run: Path, root: str | None, progress: Progress | None = None) -> dict[str, Any]:
    """The parts of the record of a row of a few-shot run: its figure, both figures, which kernels ran."""
    from modicum.training.runs import load_learner

    learner, _, _ = load_learner(run)
    encoder = learner.encoder.cpu().eval()
    size, embed, kernels = deployed(encoder)
    milliseconds = predict_milliseconds(embed, encoder)
    over = f"median of {TIMES} predictions on this machine, one thread: no interval"
    figures = {
        "file_bytes": _figure(float(size), "one file: no interval"),
        "predict_ms": _figure(milliseconds, over),
    }
    return {"kernels": kernels, "figures": figures, **figures[row.figure]}


def deployed(encoder: Encoder) -> tuple[int, Embed, list[str]]:
    """Bytes of the file, how pictures (B, C, H, W) uint8 are embedded, kernel of each low-bit layer."""
    from modicum.models import save_encoder
    from modicum.quantization.integer.network import IntegerNetwork
    from modicum.quantization.layers import low_bit_layers

    spec = encoder.spec
    with TemporaryDirectory() as folder:
        if not low_bit_layers(encoder.backbone):
            saved = save_encoder(encoder, Path(folder) / "encoder", "# Float twin\n")
            return max(file.stat().st_size for file in Path(saved).iterdir()), encoder, []
        network = IntegerNetwork.from_module(encoder.backbone, (spec.channels, spec.size, spec.size))
        path = Path(folder) / "network"
        network.save(path)
        size = path.stat().st_size

    def embed(x: Tensor) -> Tensor:
        """Features (B, D) by integer kernels."""
        found: Tensor = network(encoder.normalised(x))
        return found

    return size, embed, [f"{layer.name}: {layer.kernel}" for layer in network.report()]


def predict_milliseconds(embed: Embed, encoder: Encoder) -> float:
    """Of one picture of noise, median; torch has one thread meanwhile."""
    spec = encoder.spec
    x = torch.randint(0, 256, (WAYS, spec.channels, spec.size, spec.size), dtype=torch.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    try:
        with torch.inference_mode():
            prototypes = embed(x)
            for _ in range(WARM + TIMES):
                start = time.perf_counter()
                (embed(x[:1]) - prototypes).square().sum(-1).argmin().item()
                found.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(found[WARM:])) * 1e3


def _figure(value: float, over: str) -> dict[str, Any]:
    return {"value": value, "ci95": None, "stderr": None, "interval_over": over}

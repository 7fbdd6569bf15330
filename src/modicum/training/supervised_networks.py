"""The network of a run of rac: base branch, retrieval branch, or both, fresh or continued in a second stage.

`--text` names the text encoder: `random`, `random-sum` or `random-printed` (bags of random words, seeded by the run), a file
of word vectors (GloVe's text format), `clip:PATH` (a CLIP's text tower, trained), `clip-frozen:PATH`, `sentence:PATH`
(frozen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.configs import Train, require
from modicum.configs.long_tail import OWN_TEXTS, RAC
from modicum.data.pictures import PictureSet
from modicum.errors import ConfigError
from modicum.models import load_encoder
from modicum.retrieval.decoupling import ScaledLinear, retrained
from modicum.retrieval.rac import RAC as Network
from modicum.retrieval.text import AbstractTextEncoder, RandomWords, WordVectors
from modicum.training.checkpoints import BEST, LAST, read_checkpoint, restore_learner
from modicum.training.memories import RunMemory
from modicum.training.runs import image_spec, read_record


def make_text(name: str, seed: int) -> AbstractTextEncoder:
    """The text encoder of a name; `ConfigError` for an unknown one, or where its package is missing."""
    kind, _, path = name.partition(":")
    if name in OWN_TEXTS:
        return RandomWords(seed, pooling="sum" if name == "random-sum" else "mean", centred=name != "random-printed")
    if path and kind in ("clip", "clip-frozen", "sentence"):
        from modicum.retrieval.transformers_text import CLIPText, SentenceText

        return SentenceText(path) if kind == "sentence" else CLIPText(path, trained=kind == "clip")
    if Path(name).is_file():
        return WordVectors(name)
    known = "random, random-sum, random-printed, a file of word vectors, clip:PATH, clip-frozen:PATH or sentence:PATH"
    raise ConfigError(f"text: expected {known}, found {name!r}")


def base_size(config: Train) -> int | None:
    """Side in pixels of the base branch's pictures where options decide it, else None; `ConfigError` where two do."""
    if config.pretrained is None or config.branches == "retrieval":
        return config.image_size
    size = load_encoder(config.pretrained).spec.size
    require(
        config.image_size in (None, size),
        f"image_size: {config.pretrained} reads {size}x{size} pixels, found {config.image_size}; leave it out",
    )
    return size


def base_encoder(config: Train, pictures: PictureSet) -> Encoder:
    """B at the start of a training on these pictures: as `pretrained` names it, else of random weights by the seed."""
    if config.pretrained is not None:
        return load_encoder(config.pretrained)
    spec = image_spec(pictures)
    return fresh_encoder(config, config.backbone, replace(spec, size=config.image_size or spec.size))


def fresh_encoder(config: Train, backbone: str, spec: ImageSpec) -> Encoder:
    """An encoder with weights drawn by the seed of a configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return build_encoder(backbone, spec)


def build_network(config: Train, classes: int, base: Encoder | None, found: RunMemory | None, neighbours: int) -> Network:
    """The network of a configuration; its linear layers are drawn by the seed."""
    reads = config.branches != "base"
    assert found is not None or not reads
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        return Network(
            classes,
            base=base,
            encoder=found.encoder if reads and found else None,
            memory=found.memory if reads and found else None,
            text=make_text(config.text, config.seed) if reads else None,
            branches=config.branches,
            neighbours=neighbours,
            exclude=config.exclude,
            cache_neighbours=config.cache_neighbours,
        )


def decoupled(network: Network, config: Train) -> None:
    """Prepare the second stage: new or scaled linear layers are trained and nothing else."""
    network.requires_grad_(False)
    for name in ("base_linear", "retrieval_linear"):
        layer = getattr(network, name)
        if isinstance(layer, nn.Linear):
            new = retrained(layer, config.seed) if config.decouple == "crt" else ScaledLinear(layer)
            setattr(network, name, new.requires_grad_(True))


def continue_from(network: Network, run: str, config: Train, classes: Sequence[str]) -> None:
    """Give a network the weights of a finished run of the same classes and branches; `ConfigError` for another one."""
    before, record = read_record(run)
    require(before.method == RAC, f"pretrained: --decouple goes on from a run of {RAC}, {run} is one of {before.method}")
    same = before.branches == config.branches and before.text == config.text and before.decouple == "none"
    require(
        same and record["data"]["classes"] == list(classes),
        f"pretrained: --decouple takes the same data, branches and text as {run}; give these, or another run",
    )
    path = Path(run) / BEST if (Path(run) / BEST).is_file() else Path(run) / LAST
    restore_learner(network, read_checkpoint(path)[0], path)

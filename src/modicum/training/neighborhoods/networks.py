"""The network of a run of Meta-Neighborhoods, or of one of its baselines, fresh by the seed.

| --baseline | network |
|---|---|
| none | encoder, output layer, dictionary of S entries: `MetaNeighborhoods` |
| vanilla, knn | encoder and output layer; under knn its features of the training pictures vote too (`voting`) |
| parameters | a fully connected layer with ReLU between them, as many parameters more as a dictionary has (appendix A.3) |

A layer of h units on d features, and C classes on h units instead of d, are d h + h + h C - d C parameters more; a
dictionary has S (d + C). So h = (S (d + C) + d C) / (d + C + 1), rounded: 4,985 for d = 192, C = 10, S = 5,000.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.adaptation.neighborhoods.room import free_bytes
from modicum.backbones.encoder import Encoder
from modicum.configs import Train, require
from modicum.configs.neighborhoods import usual_entries
from modicum.configs.usual import is_usual
from modicum.episodes.interfaces import AbstractClassifier
from modicum.memory.dictionary import LearnedDictionary

COPIES = 4
"""A parameter under AdamW: itself, its gradient, two moments."""


def entries_of(config: Train, classes: int) -> int:
    """S: as asked for, else by the number of classes."""
    return usual_entries(config, classes) if is_usual(config.entries) else int(config.entries)


def hidden_width(entries: int, n_features: int, classes: int) -> int:
    """h of the module docstring, at least 1: as many parameters more as a dictionary of S entries has, to the nearest."""
    return max(1, round((entries * (n_features + classes) + n_features * classes) / (n_features + classes + 1)))


@final
class WidenedNetwork(AbstractClassifier):
    """Encoder, a fully connected layer with ReLU, output layer; the interface of `MetaNeighborhoods`, nothing adapts."""

    def __init__(self, encoder: Encoder, width: int, classes: int, kind: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden = nn.Linear(encoder.n_features, width)
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.zeros_(self.hidden.bias)
        self.layer = OutputLayer(width, classes, "dot" if kind == "dot" else "cosine")
        self.dictionary, self.steps = None, 1

    def features(self, x: Tensor) -> Tensor:
        """Features z (B, D) of pictures (B, C, H, W): those of the encoder."""
        z: Tensor = self.encoder(x)
        return z

    def logits(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (B, C) of features (B, D)."""
        out: Tensor = self.layer(F.relu(self.hidden(z)))
        return out

    def trajectory(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (1, B, C) of features (B, D)."""
        return self.logits(z)[None]

    def predict(self, z: Tensor) -> Tensor:
        """The class (B,) of features (B, D)."""
        return self.logits(z).argmax(-1)

    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """Logits (B, C) of pictures (B, C, H, W)."""
        return self.logits(self.features(x))


Network = MetaNeighborhoods | WidenedNetwork


def _require_room(entries: int, n_features: int, classes: int, device: torch.device) -> None:
    """`ConfigError` for a dictionary (or a layer of as many parameters) that memory cannot hold while it is trained."""
    needed, free = 4 * COPIES * entries * (n_features + classes), free_bytes(device)
    require(
        free is None or needed <= free,
        f"entries: {entries:,} of {n_features} features and {classes} classes take {needed / 2**30:,.1f} GiB in training, "
        f"and {(free or 0) / 2**30:,.1f} GiB are free; take at most {(free or 0) // (needed // entries):,}",
    )


def build_network(config: Train, classes: int, encoder: Encoder, device: torch.device | None = None) -> Network:
    """The network of a configuration around an encoder; layers and dictionary are drawn by the seed.

    device: where it will lie, whose memory is asked; None where it is not trained. `ConfigError` for more entries or steps
    than memory allows.
    """
    d, kind = encoder.n_features, config.output_layer
    if device is not None and config.baseline in ("none", "parameters"):
        _require_room(config.entries, d, classes, device)
    require(
        config.baseline != "none" or config.entry_values == "learned" or config.entries >= classes,
        f"entries: {config.entries} with --entry_values one-hot leave classes without one; expected at least {classes}",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        if config.baseline == "parameters":
            return WidenedNetwork(encoder, hidden_width(config.entries, d, classes), classes, kind)
        layer = OutputLayer(d, classes, kind)
        dictionary = None
        if config.baseline == "none":
            dictionary = LearnedDictionary(
                config.entries, d, classes, temperature=config.temperature, learn_temperature=config.learn_temperature,
                values=config.entry_values,
            )  # fmt: skip
        return MetaNeighborhoods(
            encoder, layer, dictionary, steps=config.inner_steps, rates=config.inner_rates, initial_rate=config.inner_rate
        )

"""Meta-Neighborhoods for classification: features, a dictionary, and an output layer adapted to each query by it.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140. Features z = encoder(x); the
dictionary's loss of z moves the output layer `steps` times, and its logits of z are the prediction:

    phi' = phi - |a| (.) grad_phi sum_j w_j(z) CE(f_phi(k_j), v_j)

| symbol | variable | shape |
|---|---|---|
| mu_theta | encoder | (B, C, H, W) -> (B, D) |
| f_phi | layer | (B, D) -> (B, C) |
| k_j, v_j, w_j | dictionary | (S, D), (S, C), (B, S) |
| a | rate | () or (D,), one per feature ("diagonal") |

Readings. tau is learned, but not moved by the steps. w is computed once for all steps. A dot layer's bias moves too; with
one rate per feature it has a rate of its own, `bias_rate` (the authors' code multiplies the bias's gradient by the (D, D)
matrix of rates, which fails, so it can not have been run). Dropped entries weigh nothing, and w sums to 1 over the others.
"""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
from torch import Tensor, nn

from modicum.adaptation.neighborhoods.explicit import explicit_logits
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.backbones.encoder import Encoder
from modicum.episodes.interfaces import AbstractClassifier
from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary

Rates = Literal["scalar", "diagonal"]
Form = Literal["auto", "closed", "explicit"]


@final
class MetaNeighborhoods(AbstractClassifier):
    """Pictures (B, C, H, W) -> logits (B, C). dictionary None: the vanilla network, nothing is adapted.

    steps: inner steps. rates: one rate, or one per feature, from initial_rate. `ConfigError`: steps below 1, shapes that do
    not fit, more steps than memory allows.
    """

    rate: Tensor | None
    bias_rate: Tensor | None

    def __init__(
        self,
        encoder: Encoder,
        layer: OutputLayer,
        dictionary: LearnedDictionary | None,
        *,
        steps: int = 1,
        rates: Rates = "scalar",
        initial_rate: float = 0.05,
        form: Form = "auto",
        memory_bytes: int = 1 << 30,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ConfigError(f"steps: expected at least 1, found {steps}")
        for name, value, known in (("rates", rates, get_args(Rates)), ("form", form, get_args(Form))):
            if value not in known:
                raise ConfigError(f"{name}: expected {', '.join(known)}; found {value!r}")
        _check_shapes(encoder, layer, dictionary)
        self.encoder, self.layer, self.dictionary = encoder, layer, dictionary
        self.steps, self.rates, self.form, self.memory_bytes = steps, rates, form, memory_bytes
        self.rate = self.bias_rate = None
        if dictionary is not None:
            shape = () if rates == "scalar" else (layer.weight.shape[0],)
            self.rate = nn.Parameter(torch.full(shape, float(initial_rate)))
            if rates == "diagonal" and layer.bias is not None:
                self.bias_rate = nn.Parameter(torch.tensor(float(initial_rate)))

    def features(self, x: Tensor) -> Tensor:
        """Features z (B, D) of pictures (B, C, H, W)."""
        z: Tensor = self.encoder(x)
        return z

    def attention(self, z: Tensor, keep: Tensor | None = None) -> Tensor:
        """Attention (B, S) of features (B, D) over the entries; keep: see `LearnedDictionary.attend`."""
        if self.dictionary is None:
            raise ConfigError("attention: a vanilla network has no dictionary")
        return self.dictionary.attend(z, keep)

    def trajectory(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (steps + 1, B, C) of features (B, D) before and after each step (steps: self.steps).

        keep: which entries count, as `drop_entries` gives them. The vanilla network: (1, B, C).
        """
        if self.dictionary is None:
            before: Tensor = self.layer(z)
            return before[None]
        return torch.stack(self._explicit(z, keep, self.steps if steps is None else steps))

    def logits(self, z: Tensor, keep: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Logits (B, C) of features (B, D) after the steps; steps=0: before adaptation. keep: as `trajectory`."""
        if self.dictionary is None or steps == 0:
            before: Tensor = self.layer(z)
            return before
        return self._explicit(z, keep, self.steps if steps is None else steps)[-1]

    def predict(self, z: Tensor) -> Tensor:
        """The class (B,) of features (B, D): the first of the largest logits."""
        return self.logits(z).argmax(-1)

    def forward(self, x: Tensor, id: Tensor | None = None) -> Tensor:
        """Logits (B, C) of pictures (B, C, H, W), adapted by all entries; id is not read."""
        return self.logits(self.features(x))

    def _explicit(self, z: Tensor, keep: Tensor | None, steps: int) -> list[Tensor]:
        dictionary, layer = self.dictionary, self.layer
        assert dictionary is not None
        assert self.rate is not None
        w, values = dictionary.attend(z, keep), dictionary.values()
        keys: Tensor = dictionary.keys
        if keep is not None and keep.dtype != torch.bool:
            keys, values = keys[keep], values[keep]
        rate = self.rate.abs()
        bias_rate = rate if self.bias_rate is None else self.bias_rate.abs()
        return explicit_logits(z, keys, values, w, layer.weight, layer.bias, layer.tau, rate, bias_rate, steps)


def _check_shapes(encoder: Encoder, layer: OutputLayer, dictionary: LearnedDictionary | None) -> None:
    n_features, n_classes = layer.weight.shape
    if encoder.n_features != n_features:
        raise ConfigError(f"layer: expected {encoder.n_features} features as the encoder gives, found {n_features}")
    if dictionary is not None:
        if dictionary.kind == "targets":
            raise ConfigError("dictionary: expected values that are classes, found targets of regression")
        found = (dictionary.keys.shape[1], dictionary.values().shape[1])
        if found != (n_features, n_classes):
            raise ConfigError(f"dictionary: expected {n_features} features and {n_classes} classes, found {found}")

"""Small cases of Meta-Neighborhoods and the slow reference: one query at a time, its own weights, automatic gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.backbones.encoder import Encoder, ImageSpec
from modicum.memory.dictionary import LearnedDictionary

S, D, C, B = 13, 6, 4, 3
LAYERS = (("cosine", False), ("dot", False), ("dot", True))


def encoder_of(features: int) -> Encoder:
    """Pictures (B, 1, 2, features / 2) are their own features."""
    return Encoder(nn.Flatten(), ImageSpec(2, 1), features, "flat", {})


def make(
    kind: Any,
    bias: bool,
    rates: Any,
    *,
    steps: int = 1,
    form: Any = "auto",
    sizes: tuple[int, int, int] = (S, D, C),
    learn_temperature: bool = True,
    dtype: torch.dtype = torch.float64,
    memory_bytes: int = 1 << 30,
) -> MetaNeighborhoods:
    """A model whose keys, values, weights, bias and rates are far from their small starts, so that every term counts."""
    entries, features, classes = sizes
    dictionary = LearnedDictionary(entries, features, classes, temperature=0.4, learn_temperature=learn_temperature)
    layer = OutputLayer(features, classes, kind, bias=bias, tau=3.0)
    model = MetaNeighborhoods(
        encoder_of(features), layer, dictionary, steps=steps, rates=rates, form=form, memory_bytes=memory_bytes
    )
    with torch.no_grad():
        dictionary.keys.normal_()
        dictionary.value_logits.normal_().mul_(0.1)
        if layer.bias is not None:
            layer.bias.normal_()
        assert model.rate is not None
        model.rate.copy_(torch.rand(model.rate.shape) - 0.7)  # |a| counts, not a
        if model.bias_rate is not None:
            model.bias_rate.fill_(-0.45)
    return model.to(dtype)


def learned(model: MetaNeighborhoods) -> dict[str, Tensor]:
    """Everything that is trained but the encoder."""
    return {name: p for name, p in model.named_parameters() if not name.startswith("encoder.")}


def reference(model: MetaNeighborhoods, z: Tensor, steps: int, keep: Tensor | None = None) -> Tensor:
    """Logits (steps + 1, B, C), query by query."""
    dictionary, layer = model.dictionary, model.layer
    assert dictionary is not None
    assert model.rate is not None
    values = torch.softmax(10 * dictionary.value_logits, 1)
    rate = model.rate.abs() * torch.ones(z.shape[1], dtype=z.dtype)
    bias_rate = model.rate.abs() if model.bias_rate is None else model.bias_rate.abs()

    def layer_of(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if layer.tau is not None:
            weight = weight / torch.linalg.vector_norm(weight, dim=0)
            return layer.tau * (x / torch.linalg.vector_norm(x, dim=1, keepdim=True)) @ weight
        return x @ weight if bias is None else x @ weight + bias

    queries = []
    for b in range(len(z)):
        kept = torch.arange(len(values)) if keep is None else keep if keep.dtype != torch.bool else keep[b].nonzero()[:, 0]
        keys = dictionary.keys[kept]
        cosines = torch.stack([z[b] @ key / z[b].norm() / key.norm() for key in keys])
        w = torch.exp(cosines * dictionary.sharpness.abs())
        w = w / w.sum()
        weight, bias = layer.weight * 1, None if layer.bias is None else layer.bias * 1
        out = [layer_of(z[b : b + 1], weight, bias)[0]]
        for _ in range(steps):
            entropy = -(values[kept] * torch.log_softmax(layer_of(keys, weight, bias), 1)).sum(1)
            moving = [weight] if bias is None else [weight, bias]
            grads = torch.autograd.grad((w * entropy).sum(), moving, create_graph=True)
            weight = weight - rate[:, None] * grads[0]
            bias = None if bias is None else bias - bias_rate * grads[1]
            out.append(layer_of(z[b : b + 1], weight, bias)[0])
        queries.append(torch.stack(out))
    return torch.stack(queries, 1)

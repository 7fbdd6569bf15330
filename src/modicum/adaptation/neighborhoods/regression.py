"""Meta-Neighborhoods for regression: a whole network that is adapted to each item by a learned dictionary.

Siyuan Shan, Yang Li, Junier Oliva: Meta-Neighborhoods, NeurIPS 2020, arXiv 1909.09140, appendix B. The model is an output
network f_phi and a dictionary {(k_j, v_j)} in input space; every weight and bias of f_phi moves:

    w_j = softmax_j(cos(x, k_j) / T),  phi' = phi - alpha grad_phi sum_j w_j |f_phi(k_j) - v_j|^2 / O,  output f_phi'(x)

| symbol | variable | shape |
|---|---|---|
| x, w | x, attention | (B, D), (B, S) |
| k, v | keys, values | (S, D), (S, O) |
| W_l, b_l | network.layers | (out, in), (out,) |
| alpha | rates, one for each layer | () or (in + 1,), the last for the bias |
| a_lj, delta_lj | inputs, deltas | (S, in), (S, out) |

One step needs no weights of each item. Entry j changes layer l by the outer product of delta_lj, the gradient of its loss at
the layer's output, and its input a_lj; both are the same for every item, which only weighs them:

    h_l = relu(W_l h_{l-1} + b_l - sum_j w_j (alpha_l (.) h_{l-1} . a_lj + alpha_lb) delta_lj)

two products of B S in + B S out a layer, exact. From the second step on deltas differ from item to item: weights of each
item, in chunks of items, recomputed in the backward pass where there are several chunks (`torch.utils.checkpoint`).

*Deviations*: "diagonal" is one rate for each input feature of a layer and one for its bias, shared by its outputs; the paper
says only that alpha may be a diagonal matrix, and the released code holds no regression. The loss of an entry is the mean
over the targets of the squared error, without a half, as the outer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modicum.adaptation.neighborhoods.room import free_bytes
from modicum.backbones.mlp import MLP
from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary

Rates = Literal["scalar", "diagonal"]
CHUNK_BYTES = 2**28
"""What the weights and activations of a chunk of items may take."""


def with_one(x: Tensor) -> Tensor:
    """x (..., D) with a last feature 1, the input of the bias: (..., D + 1)."""
    return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], -1)


def entry_gradients(
    layers: Sequence[tuple[Tensor, Tensor]], keys: Tensor, values: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Of every layer (W (out, in), b (out,)): inputs (S, in) of the entries and gradients (S, out) of their losses."""
    inputs, h, before = [], keys, keys
    for place, (weight, bias) in enumerate(layers):
        h = F.relu(before) if place else keys
        inputs.append(h)
        before = F.linear(h, weight, bias)
    deltas = [2 / values.shape[-1] * (before - values)]
    for place in range(len(layers) - 1, 0, -1):
        deltas.insert(0, (deltas[0] @ layers[place][0]) * (inputs[place] > 0))
    return inputs, deltas


def one_step(
    x: Tensor,
    attention: Tensor,
    layers: Sequence[tuple[Tensor, Tensor]],
    keys: Tensor,
    values: Tensor,
    rates: Sequence[Tensor],
) -> Tensor:
    """Outputs (B, O) of items x (B, D) after one step on the entries weighed by attention (B, S); exact."""
    inputs, deltas = entry_gradients(layers, keys, values)
    h = x
    for place, ((weight, bias), a, delta, rate) in enumerate(zip(layers, inputs, deltas, rates, strict=True)):
        h = F.relu(h) if place else h
        likeness = (with_one(h) * rate) @ with_one(a).mT  # (B, S)
        h = torch.addmm(F.linear(h, weight, bias), attention * likeness, delta, alpha=-1)
    return h


def _forward(weights: Sequence[Tensor], h: Tensor) -> tuple[list[Tensor], Tensor]:
    """Inputs (B, n, in + 1) of every layer and outputs (B, n, O) of h (B, n, D); weights (B, out, in + 1), biases last."""
    inputs: list[Tensor] = []
    for place, weight in enumerate(weights):
        inputs.append(with_one(F.relu(h) if place else h))
        h = inputs[-1] @ weight.mT
    return inputs, h


def several_steps(
    x: Tensor,
    attention: Tensor,
    layers: Sequence[tuple[Tensor, Tensor]],
    keys: Tensor,
    values: Tensor,
    rates: Sequence[Tensor],
    steps: int,
) -> Tensor:
    """Outputs (steps + 1, B, O) of items x (B, D) before the first step and after each, by weights of each item."""
    lead, o = len(x), values.shape[-1]
    weights = [torch.cat([weight, bias.unsqueeze(-1)], -1).expand(lead, -1, -1) for weight, bias in layers]
    found = [_forward(weights, x.unsqueeze(1))[1].squeeze(1)]
    for _ in range(steps):
        inputs, outputs = _forward(weights, keys.expand(lead, -1, -1))
        delta = (2 / o) * attention.unsqueeze(-1) * (outputs - values)  # (B, S, O)
        moved: list[Tensor] = []
        for place in range(len(weights) - 1, -1, -1):
            moved.insert(0, weights[place] - (delta.mT @ inputs[place]) * rates[place])
            if place:
                delta = (delta @ weights[place][..., :-1]) * (inputs[place][..., :-1] > 0)
        weights = moved
        found.append(_forward(weights, x.unsqueeze(1))[1].squeeze(1))
    return torch.stack(found)


def query_bytes(widths: Sequence[int], entries: int, steps: int, itemsize: int) -> int:
    """About how many bytes the weights and activations of one item take over several steps, gradients included.

    widths: of all layers, inputs and outputs first and last.
    """
    units = sum(widths[:-1]) + len(widths) - 1 + 2 * sum(widths[1:])
    weights = sum((before + 1) * after for before, after in pairwise(widths))
    return itemsize * steps * (entries * units + 3 * weights)


@final
class NeighborhoodsRegressor(nn.Module):
    """x (B, D) -> (B, O): an MLP that is adapted to every item; without a dictionary the MLP as it is.

    rates: "scalar", one for all, or "diagonal", one for each input feature of each layer and one for its bias; all are |a|,
    learned from initial_rate on. memory_bytes: what one item may take at most (default: what is free).
    """

    def __init__(
        self,
        network: MLP,
        dictionary: LearnedDictionary | None,
        *,
        steps: int = 1,
        rates: Rates = "scalar",
        initial_rate: float = 0.05,
        memory_bytes: int | None = None,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ConfigError(f"inner_steps: expected at least 1, found {steps}")
        self.network, self.dictionary, self.steps = network, dictionary, steps if dictionary is not None else 0
        widths = [network.inputs, *(len(bias) for _, bias in self.layers())]
        sizes: list[tuple[int, ...]] = [()] if rates == "scalar" else [(width + 1,) for width in widths[:-1]]
        self.rates = nn.ParameterList(torch.full(size, initial_rate) for size in sizes if dictionary is not None)
        self.chunk = len_of_chunk(widths, dictionary, steps, memory_bytes)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of every layer."""
        return [(layer.weight, layer.bias) for layer in self.network.layers.children()]  # type: ignore[misc]

    def step_rates(self) -> list[Tensor]:
        """|a| of every layer."""
        found = [rate.abs() for rate in self.rates]
        return found * len(self.network.layers) if len(found) == 1 and found[0].dim() == 0 else found

    def attention(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """w (B, S) of items x (B, D); keep as in `LearnedDictionary.attend`."""
        if self.dictionary is None:
            raise ConfigError("attention: this network has no dictionary")
        return self.dictionary.attend(x, keep)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Outputs (B, O) of items x (B, D), adapted. keep: entries of this call, a mask (B, S) or an index (S',) for all."""
        if self.dictionary is None:
            found: Tensor = self.network(x)
            return found
        if self.steps > 1:
            return self.trajectory(x, keep)[-1]
        return one_step(x, self.attention(x, keep), self.layers(), *self._entries(keep), self.step_rates())

    def trajectory(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Outputs (steps + 1, B, O) before the first step and after each."""
        before: Tensor = self.network(x)
        if self.steps < 2:
            return torch.stack([before, self(x, keep)]) if self.steps else before.unsqueeze(0)
        attention = self.attention(x, keep)
        layers, (keys, values), rates = self.layers(), self._entries(keep), self.step_rates()

        def moved(part: Tensor, weighed: Tensor) -> Tensor:
            """Outputs (steps + 1, b, O) of a chunk."""
            return several_steps(part, weighed, layers, keys, values, rates, self.steps)

        parts = list(zip(torch.split(x, self.chunk), torch.split(attention, self.chunk), strict=True))
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([moved(*part) for part in parts], 1)
        return torch.cat([checkpoint(moved, *part, use_reentrant=False) for part in parts], 1)

    def _entries(self, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """Keys (S, D) and values (S, O), of those of a shared draw only."""
        assert self.dictionary is not None
        keys, values = self.dictionary.keys, self.dictionary.values()
        return (keys[keep], values[keep]) if keep is not None and keep.dtype != torch.bool else (keys, values)


def len_of_chunk(
    widths: Sequence[int], dictionary: LearnedDictionary | None, steps: int, memory_bytes: int | None = None
) -> int:
    """Items that are adapted at once where there are several steps; `ConfigError` where memory has no room for one."""
    if dictionary is None or steps < 2:
        return 2**31
    keys = dictionary.keys
    one = query_bytes(widths, len(keys), steps, keys.element_size())
    room = free_bytes(keys.device) if memory_bytes is None else memory_bytes
    if room is None:
        return max(1, CHUNK_BYTES // one)
    if one > room:
        raise ConfigError(
            f"inner_steps: {steps} steps over {len(keys):,} entries take about {one:,} bytes for ONE item, and {room:,} are "
            f"free; take fewer entries, at most {max(1, room * len(keys) // one):,}, or fewer steps, or narrower layers"
        )
    return max(1, min(CHUNK_BYTES, room) // one)

"""Meta-Neighborhoods for regression: closed form and steps against autograd through parameters of each item."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.adaptation.neighborhoods import regression
from modicum.adaptation.neighborhoods.regression import NeighborhoodsRegressor, query_bytes
from modicum.backbones.mlp import MLP
from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary, drop_entries

S, D = 23, 4


def regressor(
    hidden: Sequence[int], steps: int = 1, rates: regression.Rates = "scalar", outputs: int = 2, memory: int | None = None
) -> NeighborhoodsRegressor:
    """A small one in float64, with rates that differ from one another."""
    torch.manual_seed(len(hidden) + 10 * steps)
    dictionary = LearnedDictionary(S, D, outputs, temperature=0.25, values="targets", target_range=(-2.0, 2.0))
    made = NeighborhoodsRegressor(
        MLP(D, hidden, outputs), dictionary, steps=steps, rates=rates, initial_rate=0.3, memory_bytes=memory
    ).double()
    with torch.no_grad():
        dictionary.keys.mul_(20)  # so that entries lie as far apart as items
        for rate in made.rates:
            rate.mul_(torch.rand_like(rate) + 0.5).mul_(-1)  # |a| counts
    return made


def by_autograd(model: NeighborhoodsRegressor, x: Tensor, keep: Tensor | None, steps: int) -> Tensor:
    """Outputs (steps + 1, B, O): for each item a copy of all weights, moved along `torch.autograd.grad`."""
    dictionary = model.dictionary
    assert dictionary is not None
    keys, values = dictionary.keys, dictionary.values()
    if keep is not None and keep.dtype != torch.bool:
        keys, values = keys[keep], values[keep]
    flat = [parameter for layer in model.network.layers for parameter in (layer.weight, layer.bias)]
    rates = [rate.abs() for rate in model.rates]
    rates = rates * len(model.network.layers) if rates[0].dim() == 0 else rates

    def run(moved: Sequence[Tensor], h: Tensor) -> Tensor:
        for place in range(0, len(moved), 2):
            h = F.linear(F.relu(h) if place else h, moved[place], moved[place + 1])
        return h

    found = []
    for row in range(len(x)):
        cosines = F.cosine_similarity(x[row].unsqueeze(0), keys)
        if keep is not None and keep.dtype == torch.bool:
            cosines = cosines.masked_fill(~keep[row], -torch.inf)
        w = (cosines / 0.25).softmax(0)
        moved, path = list(flat), [run(flat, x[row])]
        for _ in range(steps):
            loss = (w * (run(moved, keys) - values).square().mean(-1)).sum()
            gradients = torch.autograd.grad(loss, moved, create_graph=True)
            for place, gradient in enumerate(gradients):
                rate = rates[place // 2]
                if rate.dim():
                    rate = rate[:-1] if place % 2 == 0 else rate[-1]
                moved[place] = moved[place] - rate * gradient
            path.append(run(moved, x[row]))
        found.append(torch.stack(path))
    return torch.stack(found, 1)


def draw(how: str, n: int) -> Tensor | None:
    """Entries that are kept: all, half of them for each item, or half for all."""
    if how == "all":
        return None
    return drop_entries(S, 0.5, "query" if how == "query" else "shared", n, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("how", ["all", "query", "shared"])
@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize("hidden", [(), (7,), (6, 5)])
@pytest.mark.parametrize("steps", [1, 3])
def test_outputs_and_meta_gradients_are_those_of_autograd(
    steps: int, hidden: tuple[int, ...], rates: regression.Rates, how: str
) -> None:
    model = regressor(hidden, steps, rates)
    x, y = torch.randn(5, D, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    keep = draw(how, 5)
    expected, found = by_autograd(model, x, keep, steps), model.trajectory(x, keep)
    assert found.shape == (steps + 1, 5, 2)
    assert (found - expected).abs().max() < 1e-9
    assert (found[0] - found[-1]).abs().max() > 1e-3
    parameters = list(model.parameters())
    ours = torch.autograd.grad(F.mse_loss(model(x, keep), y), parameters)
    theirs = torch.autograd.grad(F.mse_loss(expected[-1], y), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-9 * max(1.0, float(other.abs().max()))
        assert other.abs().max() > 0


def test_steps_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(7, D, dtype=torch.float64), torch.randn(7, 2, dtype=torch.float64)
    model = regressor((6, 5), steps=2)
    whole = torch.autograd.grad(F.mse_loss(model(x), y), list(model.parameters()))
    model.chunk = 3
    parts = torch.autograd.grad(F.mse_loss(model(x), y), list(model.parameters()))
    assert max(float((a - b).abs().max()) for a, b in zip(whole, parts, strict=True)) < 1e-12


def test_one_step_by_hand() -> None:
    """f(x) = 2 x + 1, entry (1, 5) alone: f(1) = 3, gradient of (3 - 5)^2 by the output -4, by W -4 * 1, by b -4.

    At a rate of 0.1: W' = 2.4, b' = 1.4, so f'(3) = 8.6. A half in the loss would give 7.8, a bias that stays 8.2.
    """
    dictionary = LearnedDictionary(1, 1, 1, values="targets", target_range=(0.0, 1.0))
    network = MLP(1, (), 1)
    with torch.no_grad():
        dictionary.keys.fill_(1.0)
        dictionary.targets.fill_(5.0)
        layer = network.layers[0]
        assert isinstance(layer, nn.Linear)
        layer.weight.fill_(2.0)
        layer.bias.fill_(1.0)
    model = NeighborhoodsRegressor(network, dictionary, initial_rate=0.1)
    assert model.trajectory(torch.tensor([[3.0]])).flatten().tolist() == pytest.approx([7.0, 8.6])
    assert NeighborhoodsRegressor(network, dictionary, initial_rate=0.1, steps=2)(torch.ones(1, 1)).item() == pytest.approx(
        5 - 2 * 0.6**2
    )  # each step leaves 1 - 0.1 * 2 * 2 of the error at x = 1


def test_more_steps_than_memory_allows_says_the_bound() -> None:
    with pytest.raises(
        ConfigError, match=r"inner_steps: 3 steps over 23 entries take about .* for ONE item, and 2,000 are"
    ) as e:
        regressor((6, 5), steps=3, memory=2_000)
    assert f"{query_bytes((4, 6, 5, 2), S, 3, 4):,} bytes" in str(e.value)
    assert regressor((6, 5), steps=1, memory=2_000).steps == 1  # one step needs no weights of each item
    with pytest.raises(ConfigError, match="at least 1"):
        regressor((6,), steps=0)

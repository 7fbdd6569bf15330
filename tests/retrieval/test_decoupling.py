"""cRT, LWS and tau-normalisation on a linear layer, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modicum.errors import ConfigError
from modicum.retrieval.decoupling import ScaledLinear, retrained, tau_normalised, tau_normalised_layer


def layer() -> nn.Linear:
    out = nn.Linear(2, 2)
    with torch.no_grad():
        out.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 16.0]]))
        out.bias.copy_(torch.tensor([1.0, -1.0]))
    return out


def test_tau_normalisation_by_hand():
    """Norms 5 and 16: at 1/2 they are divided by sqrt 5 and 4, not to norm 1/2; 0 leaves, 1 makes units, zeros stay."""
    weight = layer().weight.detach()
    torch.testing.assert_close(tau_normalised(weight, 0.5), torch.tensor([[3 / 5**0.5, 4 / 5**0.5], [0.0, 4.0]]))
    assert torch.equal(tau_normalised(weight, 0.0), weight)
    torch.testing.assert_close(tau_normalised(weight, 1.0), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    assert torch.equal(tau_normalised(torch.zeros(1, 2), 0.7), torch.zeros(1, 2))


def test_tau_normalisation_has_no_bias_and_leaves_the_layer():
    """Features (1, 0): logits 3/5 and 0; with the bias they would be 1.6 and -1."""
    first = layer()
    out = tau_normalised_layer(first, 1.0)
    torch.testing.assert_close(out(torch.tensor([[1.0, 0.0]])), torch.tensor([[0.6, 0.0]]))
    assert torch.equal(first.weight, layer().weight)
    with pytest.raises(ConfigError, match="tau"):
        tau_normalised_layer(first, -0.1)


def test_learnable_weight_scaling_by_hand():
    """Starts as the layer; a scale multiplies a class's whole output, bias included; only scales are trained."""
    first, features = layer(), torch.tensor([[1.0, 0.5]])
    scaled = ScaledLinear(first)
    assert torch.equal(scaled(features), first(features))
    with torch.no_grad():
        scaled.scales.copy_(torch.tensor([2.0, 0.5]))
    out = scaled(features)
    torch.testing.assert_close(out, torch.tensor([[12.0, 3.5]]))
    out.sum().backward()
    assert [name for name, _ in scaled.named_parameters()] == ["scales"]
    assert scaled.scales.grad.tolist() == [6.0, 7.0]
    assert first.weight.grad is None
    other = ScaledLinear(nn.Linear(2, 2))
    other.load_state_dict(scaled.state_dict())
    assert torch.equal(other(features), out)


def test_a_retrained_layer_starts_anew_from_the_seed():
    """Xavier's bound for 2 -> 400 is sqrt(6 / 402); nothing of the trained weights, biases 0, torch's state untouched."""
    first = nn.Linear(2, 400)
    state = torch.get_rng_state()
    out, same, other = retrained(first, 1), retrained(first, 1), retrained(first, 2)
    assert torch.equal(torch.get_rng_state(), state)
    bound = (6 / 402) ** 0.5
    assert 0.95 * bound < out.weight.abs().max() <= bound
    assert out.bias.abs().max() == 0
    assert torch.equal(out.weight, same.weight)
    assert not torch.equal(out.weight, other.weight)
    assert retrained(nn.Linear(2, 3, bias=False), 0).bias is None

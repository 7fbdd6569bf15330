"""The regression network: by hand, and with a task dimension in its parameters against a loop over tasks."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from modicum.backbones.mlp import MLP, build_mlp, hidden_widths
from modicum.errors import ConfigError


def test_one_hidden_layer_by_hand() -> None:
    """relu((1, -1) * 2 + (1, 1)) = (3, 0); 3 * 5 + 0 * 7 + 0.5 = 15.5. Without the ReLU it would be 8.5."""
    net = MLP(1, (2,), 1)
    values = {
        "layers.0.weight": torch.tensor([[1.0], [-1.0]]),
        "layers.0.bias": torch.tensor([1.0, 1.0]),
        "layers.1.weight": torch.tensor([[5.0, 7.0]]),
        "layers.1.bias": torch.tensor([0.5]),
    }
    net.load_state_dict(values)
    assert net(torch.tensor([[2.0]])).item() == 15.5


def test_parameters_of_several_tasks_give_what_a_loop_over_tasks_gives() -> None:
    """Outputs and gradients, to rounding in float64."""
    torch.manual_seed(0)
    net = MLP(3, (7, 5), 2).double()
    stacked = {name: torch.randn(4, *value.shape, dtype=torch.float64) for name, value in net.named_parameters()}
    stacked = {name: value.requires_grad_() for name, value in stacked.items()}
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    together = functional_call(net, stacked, (x,))
    alone = torch.stack([functional_call(net, {n: v[e] for n, v in stacked.items()}, (x[e],)) for e in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    names = list(stacked)
    first = torch.autograd.grad(together.square().sum(), [stacked[name] for name in names])
    second = torch.autograd.grad(alone.square().sum(), [stacked[name] for name in names])
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_names_say_the_hidden_widths() -> None:
    assert hidden_widths("mlp-40-40") == (40, 40)
    assert [tuple(p.shape) for p in build_mlp("mlp-80-80-80", 1, 1).parameters()][::2] == [
        (80, 1),
        (80, 80),
        (80, 80),
        (1, 80),
    ]
    for name in ("mlp", "mlp-", "mlp-0-4", "mlp-4-x", "conv4-64"):
        with pytest.raises(ConfigError, match="expected mlp-W-W"):
            hidden_widths(name)


def test_wrong_number_of_inputs_is_named() -> None:
    with pytest.raises(ConfigError, match=r"items of 2 numbers, found shape \(5, 3\)"):
        MLP(2, (4,), 1)(torch.zeros(5, 3))

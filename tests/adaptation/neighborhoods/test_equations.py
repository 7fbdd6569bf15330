"""Cases worked by hand and the released code's lines in numpy: a likely misreading gives another number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.memory.dictionary import LearnedDictionary

from .cases import encoder_of, make


def by_hand(kind: Any, keys: Any, values: Any, weight: Any, *, bias: Any = None, rate: Any = 0.5, steps: int = 1) -> Any:
    """A model with these numbers, T = 1, tau = 2 ln 3 for a cosine layer; values are distributions (S, C)."""
    keys, values, weight = (torch.tensor(t, dtype=torch.float64) for t in (keys, values, weight))
    (entries, features), classes = keys.shape, values.shape[1]
    dictionary = LearnedDictionary(entries, features, classes, temperature=1.0)
    layer = OutputLayer(features, classes, kind, bias=bias is not None, tau=2 * math.log(3))
    rates: Any = "scalar" if isinstance(rate, float) else "diagonal"
    model = MetaNeighborhoods(encoder_of(features), layer, dictionary, steps=steps, rates=rates).double()
    with torch.no_grad():
        dictionary.keys.copy_(keys)
        dictionary.value_logits.copy_(values.log() / 10)
        layer.weight.copy_(weight)
        if layer.tau is not None:
            layer.tau.fill_(2 * math.log(3))
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor(bias))
        assert model.rate is not None
        model.rate.copy_(torch.as_tensor(rate))
    return model


def close(found: Tensor, expected: Any) -> bool:
    """Equal to 1e-12."""
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


Z = torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def test_a_dot_layers_bias_moves():
    """One entry k = (1, 1) of value (3/4, 1/4) under W = 0, b = 0: E = (-1/4, 1/4), z . k = 1, so logits move by
    0.5 (1 + 1) / 4 = 1/4. A bias that stays would give 1/8."""
    model = by_hand("dot", [[1.0, 1.0]], [[0.75, 0.25]], [[0.0, 0.0], [0.0, 0.0]], bias=[0.0, 0.0])
    assert close(model.logits(Z), [[0.25, -0.25]])
    without = by_hand("dot", [[1.0, 1.0]], [[0.75, 0.25]], [[0.0, 0.0], [0.0, 0.0]])
    assert close(without.logits(Z), [[0.125, -0.125]])


def test_the_size_of_a_rate_counts_not_its_sign():
    """|a|: -0.5 moves as 0.5 does; with the sign the logits would be (-1/4, 1/4)."""
    model = by_hand("dot", [[1.0, 1.0]], [[0.75, 0.25]], [[0.0, 0.0], [0.0, 0.0]], bias=[0.0, 0.0], rate=-0.5)
    assert close(model.logits(Z), [[0.25, -0.25]])


def test_a_diagonal_has_a_rate_for_every_feature_and_the_bias_one_of_its_own():
    """k = (1, 1), z = (1, 2), rates (0.5, 0.25), bias 0.1: the logit moves by (0.5 + 2 * 0.25 + 0.1) / 4 = 0.275. Rates of
    the two classes instead would move them by (0.5 * 3 + 0.1) / 4 = 0.4 and by (0.25 * 3 + 0.1) / 4 = 0.2125."""
    model = by_hand("dot", [[1.0, 1.0]], [[0.75, 0.25]], [[0.0, 0.0], [0.0, 0.0]], bias=[0.0, 0.0], rate=[0.5, 0.25])
    with torch.no_grad():
        model.bias_rate.fill_(-0.1)
    assert close(model.logits(torch.tensor([[1.0, 2.0]], dtype=torch.float64)), [[0.275, -0.275]])


def test_attention_is_taken_over_the_kept_entries_and_once_for_all_steps():
    """Entries (1, 0) and (0, 1), T = 1: a query (1, 0) weighs them e : 1. The first alone weighs 1, not e / (e + 1).

    W = 0: a step moves the logits by 0.5 w_1 / 4, as z . k_2 = 0."""
    model = by_hand("dot", [[1.0, 0.0], [0.0, 1.0]], [[0.75, 0.25], [0.25, 0.75]], [[0.0, 0.0], [0.0, 0.0]])
    share = math.e / (math.e + 1)
    assert close(model.attention(Z), [[share, 1 - share]])
    assert close(model.logits(Z), [[share / 8, -share / 8]])
    only = torch.tensor([[True, False]])
    assert close(model.attention(Z, only), [[1.0, 0.0]])
    assert close(model.logits(Z, only), [[0.125, -0.125]])
    assert close(model.logits(Z, torch.tensor([0])), [[0.125, -0.125]])
    # two steps: the second E of entry 1 is softmax(d, -d) - (3/4, 1/4) with d = share / 8; w is the same share
    d = share / 8
    second = d + 0.5 * share * (0.75 - 1 / (1 + math.exp(-2 * d)))
    assert close(model.logits(Z, steps=2), [[second, -second]])


def cosine_case(**options: Any) -> MetaNeighborhoods:
    """W = ((2, 0), (0, 1)) in columns; the entry (3, 0) has cosines 1 and 0: with tau = 2 ln 3, P = (9/10, 1/10)."""
    model: MetaNeighborhoods = by_hand("cosine", [[3.0, 0.0]], [[0.4, 0.6]], [[2.0, 0.0], [0.0, 1.0]], **options)
    return model


def test_a_cosine_layer_moves_along_its_tangent_and_tau_stays():
    """E = (1/2, -1/2). W_1 is parallel to the entry: its tangent gradient is 0. W_2 = (0, 1) moves by -a tau (-1/2) (1, 0)
    = (a tau / 2, 0) with a tau / 2 = ln 3 / 2 = t: its cosine to z = (1, 0) is t / sqrt(1 + t^2).

    Without the normalisation's derivative W_1 would change its length only, but W_2 would be the same; so z = (0, 1) and an
    entry off the axis are checked below. An adapted tau would scale both logits."""
    t, tau = math.log(3) / 2, 2 * math.log(3)
    found = cosine_case().logits(Z)
    assert close(found, [[tau, tau * t / math.hypot(1, t)]])


def test_the_length_of_a_weight_divides_its_step():
    """The same entry turned to (0, 3): P = (1/10, 9/10), E = (-3/10, 3/10). W_1 = (2, 0) moves by a (tau / 2) (3/10) (0, 1):
    the 2 is its length. Its cosine to (0, 1) is h / hypot(2, h), h = 0.5 ln 3 * 0.3; with no division h would be doubled."""
    model = by_hand("cosine", [[0.0, 3.0]], [[0.4, 0.6]], [[2.0, 0.0], [0.0, 1.0]])
    tau, h = 2 * math.log(3), 0.5 * math.log(3) * 0.3
    assert close(model.logits(Z.flip(1)), [[tau * h / math.hypot(2, h), tau]])


def test_a_cosine_layers_rates_are_per_feature_and_act_on_the_tangent_gradient():
    """Entry (3, 3): cosines 1 / sqrt 2 both, P = (1/2, 1/2), E = (1/10, -1/10). g_1 = E_1 (1, 1) / sqrt 2, and its tangent
    part at W_1 is (0, 0.1 / sqrt 2). With rates (0.5, 2): W_1' = (2, -2 (tau / 2) 0.1 / sqrt 2), W_2' = (0.5 tau 0.1 /
    sqrt 2, 1).

    Rates per class would give W_1' = (2, -0.5 ...); rates on g before the tangent is taken agree here only for aligned W."""
    model = by_hand("cosine", [[3.0, 3.0]], [[0.4, 0.6]], [[2.0, 0.0], [0.0, 1.0]], rate=[0.5, 2.0])
    tau = 2 * math.log(3)
    down, right = -tau * 0.1 / math.sqrt(2), 0.5 * tau * 0.1 / math.sqrt(2)
    expected = [[tau * 2 / math.hypot(2, down), tau * right / math.hypot(1, right)]]
    assert close(model.logits(Z), expected)
    assert close(model.eval().logits(Z).detach(), expected)


def released(model: MetaNeighborhoods, z: Tensor, steps: int, kept: np.ndarray) -> np.ndarray:
    """What the authors' code computes: every query in turn, entries gathered by the draw, softmax of 1/T times cosines,
    weighed cross-entropy summed over entries, gradients of w1 (and b1) only, tau as it is."""
    dictionary, layer = model.dictionary, model.layer
    assert dictionary is not None
    assert model.rate is not None
    keys, raw = dictionary.keys.detach().numpy()[kept], dictionary.value_logits.detach().numpy()[kept]
    v = np.exp(10 * raw) / np.exp(10 * raw).sum(1, keepdims=True)
    rate, alpha = model.rate.detach().abs().numpy(), dictionary.sharpness.detach().abs().numpy()
    out = []
    for query in z.numpy():
        cosines = keys @ query / np.linalg.norm(keys, axis=1) / np.linalg.norm(query)
        sim = np.exp(alpha * cosines) / np.exp(alpha * cosines).sum()
        w1 = layer.weight.detach().numpy().copy()
        b1 = None if layer.bias is None else layer.bias.detach().numpy().copy()
        for _ in range(steps):
            if layer.tau is None:
                logits = keys @ w1 + (0 if b1 is None else b1)
                p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                dlogits = sim[:, None] * (p - v)
                dw1 = keys.T @ dlogits
                b1 = None if b1 is None else b1 - rate * dlogits.sum(0)
            else:
                tau, length = layer.tau.detach().numpy(), np.linalg.norm(w1, axis=0)
                unit, rows = w1 / length, keys / np.linalg.norm(keys, axis=1, keepdims=True)
                logits = tau * rows @ unit
                p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
                dunit = tau * rows.T @ (sim[:, None] * (p - v))
                dw1 = (dunit - unit * (unit * dunit).sum(0)) / length
            w1 = w1 - (np.diag(rate) @ dw1 if rate.ndim else rate * dw1)
        if layer.tau is None:
            out.append(query @ w1 + (0 if b1 is None else b1))
        else:
            out.append(layer.tau.detach().numpy() * query / np.linalg.norm(query) @ (w1 / np.linalg.norm(w1, axis=0)))
    return np.stack(out)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    ("kind", "bias", "rates"),
    [("cosine", False, "scalar"), ("cosine", False, "diagonal"), ("dot", True, "scalar"), ("dot", False, "diagonal")],
)
def test_the_released_codes_formulas(kind: str, bias: bool, rates: str, steps: int):
    """All that it can run; a diagonal with a bias it can not: it multiplies a (D, D) matrix by the bias's (C,) gradient."""
    model = make(kind, bias, rates, steps=steps)
    z, kept = torch.randn(3, 6, dtype=torch.float64), np.array([0, 2, 3, 7, 8, 12])
    found = model.logits(z, torch.from_numpy(kept)).detach().numpy()
    assert np.abs(found - released(model, z, steps, kept)).max() < 1e-10

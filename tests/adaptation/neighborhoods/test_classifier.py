"""The classifier: chunks of queries, memory, float32 over many steps, what it refuses, and learning end to end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from modicum.adaptation.neighborhoods import room
from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.layers import OutputLayer
from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary, drop_entries

from .cases import LAYERS, encoder_of, learned, make


@pytest.mark.parametrize("how", ["none", "shared", "query"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("kind", "bias"), LAYERS)
def test_chunks_of_queries_change_nothing(kind: str, bias: bool, steps: int, how: Any):
    """A budget of one query at a time: the same logits and derivatives, with and without dropped entries."""
    whole = make(kind, bias, "scalar", steps=steps)
    parts = make(kind, bias, "scalar", steps=steps, memory_bytes=1)
    parts.load_state_dict(whole.state_dict())
    assert parts._queries_at_once(13, steps) == 1
    z = torch.randn(5, 6, dtype=torch.float64)
    keep = None if how == "none" else drop_entries(13, 0.4, how, 5)
    expected, found = whole.logits(z, keep), parts.logits(z, keep)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    wanted = torch.autograd.grad(expected.square().sum(), list(learned(whole).values()))
    given = torch.autograd.grad(found.square().sum(), list(learned(parts).values()))
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(given, wanted, strict=True))
    assert parts.trajectory(z, keep).shape == (steps + 1, 5, 4)
    if how == "none":
        assert torch.equal(parts.eval().predict(z), whole.eval().predict(z))


@pytest.mark.parametrize(("kind", "bias"), LAYERS)
def test_float32_stays_near_float64_over_many_steps(kind: str, bias: bool):
    """Forty long steps of a scaled-up layer: no NaN, and the distance to float64 is that of rounding."""
    exact = make(kind, bias, "diagonal", steps=40)
    rounded = make(kind, bias, "diagonal", steps=40, dtype=torch.float32)
    rounded.load_state_dict(exact.state_dict())
    z = torch.randn(8, 6, dtype=torch.float64)
    wanted, found = exact.logits(z), rounded.logits(z.float())
    assert (found - wanted).abs().max() < 2e-4 * wanted.abs().max()
    for model, logits in ((exact, wanted), (rounded, found)):
        F.cross_entropy(logits, torch.arange(8) % 4).backward()
        model.gradients = {name: p.grad.double() for name, p in learned(model).items() if p.grad is not None}  # type: ignore
    for name, gradient in exact.gradients.items():
        assert (rounded.gradients[name] - gradient).abs().max() < 5e-3 * gradient.abs().max(), name


@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize(("kind", "bias"), LAYERS)
def test_rows_of_zeros_give_what_gradients_of_single_queries_give(kind: str, bias: bool, rates: str):
    """A query, a key and a class weight of zeros, in every form with and without gradients."""
    model = make(kind, bias, rates)
    with torch.no_grad():
        model.dictionary.keys[2] = 0
        model.layer.weight[:, 1] = 0
    z = torch.randn(4, 6, dtype=torch.float64)
    z[1] = 0
    model.form = "explicit"
    expected = model.logits(z).detach()
    assert torch.allclose(model.attention(z)[1], torch.full((13,), 1 / 13, dtype=torch.float64))
    model.form = "closed"
    assert torch.allclose(model.logits(z).detach(), expected, rtol=0, atol=1e-9)
    with torch.no_grad():
        assert torch.allclose(model.eval().logits(z), expected, rtol=0, atol=1e-9)


def test_steps_that_do_not_fit_say_what_would(monkeypatch: pytest.MonkeyPatch):
    """Free memory as it would be for 3 steps and a half, by hand: 12 (S + C D (1 + k)) numbers of 4 bytes for a query."""
    entries, features, classes = 500, 6, 4
    each = 4 * 12 * classes * features
    fixed = 4 * 12 * (entries + classes * features)
    monkeypatch.setattr(room, "free_bytes", lambda device: fixed + 3 * each + each // 2)
    dictionary, layer = LearnedDictionary(entries, features, classes), OutputLayer(features, classes)
    MetaNeighborhoods(encoder_of(6), layer, dictionary, steps=3)
    with pytest.raises(ConfigError, match=r"inner_steps: 5 steps on 500 entries, 4 classes and 6 .*; 3 would fit"):
        MetaNeighborhoods(encoder_of(6), layer, dictionary, steps=5)
    model = MetaNeighborhoods(encoder_of(6), layer, dictionary, steps=1)
    with pytest.raises(ConfigError, match="steps: 4 steps"):
        model.logits(torch.zeros(1, 6), steps=4)
    with pytest.raises(ConfigError, match="0 would fit"):
        MetaNeighborhoods(encoder_of(6), layer, dictionary, steps=1, form="explicit")


def test_steps_are_asked_for_where_the_network_lies_now(monkeypatch: pytest.MonkeyPatch):
    """They fit where it was made, and not on the device that it was moved to."""
    monkeypatch.setattr(room, "free_bytes", lambda device: 1 << 30 if device.type == "cpu" else 1_000)
    model = make("cosine", False, "scalar", dtype=torch.float32)
    assert model.logits(torch.ones(1, 6)).shape == (1, 4)
    with pytest.raises(ConfigError, match="steps: 1 steps on 13 entries"):
        model.to("meta").logits(torch.ones(1, 6, device="meta"))


def test_free_memory_is_read_where_it_can_be():
    """Between nothing and a thousand times what any machine has, or unknown."""
    free = room.free_bytes(torch.device("cpu"))
    assert free is None or 1 << 20 < free < 1 << 52
    assert room.free_bytes(torch.device("meta")) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 0}, "steps: expected at least 1, found 0"),
        ({"rates": "matrix"}, "rates: expected scalar, diagonal; found 'matrix'"),
        ({"form": "slow"}, "form: expected auto, closed, explicit; found 'slow'"),
        ({"layer": OutputLayer(5, 4)}, "layer: expected 6 features as the encoder gives, found 5"),
        ({"dictionary": LearnedDictionary(9, 6, 3)}, r"dictionary: expected 6 features and 4 classes, found \(6, 3\)"),
        (
            {"dictionary": LearnedDictionary(9, 6, 4, values="targets", target_range=(0, 1))},
            "dictionary: expected values that are classes",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], told: str):
    """With the name of the parameter, what was expected and what was found."""
    options = {"steps": 1, "rates": "scalar", "form": "auto", "layer": OutputLayer(6, 4), "dictionary": None, **change}
    layer, dictionary = options.pop("layer"), options.pop("dictionary")
    with pytest.raises(ConfigError, match=told):
        MetaNeighborhoods(encoder_of(6), layer, dictionary, **options)


def test_queries_and_masks_of_other_shapes_are_refused():
    """Features of another network, a mask of another batch."""
    model = make("cosine", False, "scalar")
    z = torch.zeros(2, 6, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"z: expected features \(B, 6\), found \(2, 5\)"):
        model.logits(z[:, :5])
    with pytest.raises(ConfigError, match=r"z: expected features \(B, 6\), found \(2, 5\)"):
        model.predict(z[:, :5])
    with pytest.raises(ConfigError, match=r"keep: expected a mask \(2, 13\), found \(3, 13\)"):
        model.logits(z, torch.ones(3, 13, dtype=torch.bool))
    with pytest.raises(ConfigError, match="steps: expected at least 0"):
        model.logits(z, steps=-1)


def test_the_vanilla_network_is_its_output_layer():
    """No dictionary: no rates, no steps, no attention; logits are the layer's."""
    layer = OutputLayer(6, 4, "dot")
    model = MetaNeighborhoods(encoder_of(6), layer, None)
    x = torch.rand(3, 1, 2, 3)
    z = model.features(x)
    assert [name for name, _ in model.named_parameters()] == ["layer.weight", "layer.bias"]
    for found in (model(x), model.logits(z), model.trajectory(z)[0]):
        assert torch.equal(found, layer(z))
    assert torch.equal(model.predict(z), layer(z).argmax(-1))
    with pytest.raises(ConfigError, match="no dictionary"):
        model.attention(z)


def test_before_adaptation_and_after_no_step_are_the_layers_logits():
    """steps=0, the first of a trajectory, and rates of 0."""
    for kind, bias in LAYERS:
        model: Any = make(kind, bias, "scalar", steps=2)
        z = torch.randn(3, 6, dtype=torch.float64)
        with torch.no_grad():
            model.layer.weight.mul_(3)
        assert torch.allclose(model.logits(z, steps=0), model.trajectory(z)[0], atol=1e-12)
        assert not torch.allclose(model.logits(z), model.logits(z, steps=0), atol=1e-3)
        with torch.no_grad():
            model.rate.zero_()
        assert torch.allclose(model.logits(z), model.logits(z, steps=0), atol=1e-12)


def test_the_dictionary_learns_what_one_linear_layer_can_not():
    """Exclusive or of two signs: a dot layer alone stays at chance; with 8 entries, adapted, all four corners are right."""
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    y = torch.tensor([0, 1, 1, 0])

    def accuracy(entries: int) -> float:
        torch.manual_seed(1)
        dictionary = LearnedDictionary(entries, 2, 2) if entries else None
        model = MetaNeighborhoods(encoder_of(2), OutputLayer(2, 2, "dot"), dictionary, initial_rate=1.0)
        optimizer = torch.optim.AdamW(model.parameters(), 0.05)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(model.logits(corners), y).backward()
            optimizer.step()
        return float((model.eval().predict(corners) == y).double().mean())

    assert accuracy(8) == 1.0
    assert accuracy(0) <= 0.75

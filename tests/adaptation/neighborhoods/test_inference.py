"""Without gradients: what is left out is below rounding, and `predict` is the argmax of the logits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from modicum.adaptation.neighborhoods import inference
from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.adaptation.neighborhoods.cosine import across_bounds, across_of, closed_logits, moments
from modicum.adaptation.neighborhoods.forms import attended
from modicum.adaptation.neighborhoods.sums import shared_sums

from .cases import make

SIZES = (300, 16, 12)


def fitted(
    rates: Any = "scalar", dtype: torch.dtype = torch.float32, sizes: tuple[int, int, int] = SIZES
) -> MetaNeighborhoods:
    """A model as one that has learned: keys lie about their class's weight, values are sharp, so most of E is small."""
    model = make("cosine", False, rates, sizes=sizes, dtype=dtype)
    dictionary, layer = model.dictionary, model.layer
    assert dictionary is not None
    entries, features, classes = sizes
    own = torch.arange(entries) % classes
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.qr(torch.randn(features, features)).Q[:, :classes])
        dictionary.keys.copy_(layer.weight[:, own].mT + 0.07 * torch.randn(entries, features))
        dictionary.value_logits.zero_()
        dictionary.value_logits[torch.arange(entries), own] = 1.3
        assert layer.tau is not None
        layer.tau.fill_(12.0)
    return model.eval()


def parts(model: MetaNeighborhoods, z: Tensor) -> tuple[Any, Any, Any, Any]:
    """The problem, its queries, their moments, and P from complete sums."""
    with torch.no_grad():
        problem = model._problem(None)
        q = attended(problem, z, None)
        found = moments(problem.cosine, q.unit_z, problem.unit_keys, q.cosines, q.w)
        g = shared_sums(q.w, problem.cosine.residual, problem.unit_keys)
        return problem, q, found, across_of(problem.cosine, g, problem.cosine.unit)


@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize("make_model", [fitted, lambda rates, dtype: make("cosine", False, rates, sizes=SIZES, dtype=dtype)])
def test_p_lies_between_its_bounds(make_model: Any, rates: str):
    """In float64, with no allowance for rounding to speak of; for queries like keys and for any others."""
    model = make_model(rates, torch.float64).eval()
    z = torch.cat([torch.randn(20, 16, dtype=torch.float64), model.dictionary.keys.detach()[:20]])
    problem, _, found, p = parts(model, z)
    low, high = across_bounds(problem.cosine, found)
    assert bool((low <= p).all())
    assert bool((p <= high).all())
    if make_model is not fitted:
        assert float((low / p).median()) > 0.01  # a bound that says something
        assert float((high / p).median()) < 1000


@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
def test_entries_left_out_change_no_logit_by_more_than_half_a_rounding(rates: str):
    """Most entries are left out here, and float64 sums over exactly those float32 would leave out show the difference."""
    model = fitted(rates, torch.float64)
    z = model.dictionary.keys.detach()[:50] + 0.2 * torch.randn(50, 16, dtype=torch.float64)
    problem, q, found, p = parts(model, z)
    layer, eps = problem.cosine, torch.finfo(torch.float32).eps
    exact = closed_logits(layer, found, p).detach()
    theta = inference.thresholds(layer, type(found)(*(t.float() for t in found)))
    kept = layer.residual.abs() > theta[:, None]
    assert 0.02 < float(kept.double().mean()) < 0.5
    g = shared_sums(q.w, layer.residual * kept, problem.unit_keys)
    found_logits = closed_logits(layer, found, across_of(layer, g, layer.unit))
    change = ((found_logits.detach() - exact) / exact).abs().max()
    assert 0 < float(change) <= eps / 2


def test_a_fresh_dictionary_leaves_out_nothing():
    """Every entry counts where values are even."""
    model = make("cosine", False, "scalar", sizes=SIZES, dtype=torch.float32).eval()
    with torch.no_grad():
        model.dictionary.value_logits.mul_(0.01)
    problem, _, found, _ = parts(model, torch.randn(9, 16))
    kept = problem.cosine.residual.abs() > inference.thresholds(problem.cosine, found)[:, None]
    assert float(kept.float().mean()) > 0.999


def awkward(model: MetaNeighborhoods, dtype: torch.dtype) -> Tensor:
    """Queries of zeros, of a weight vector, of its opposite, of keys, of huge and of tiny ones, and of any."""
    weight, keys = model.layer.weight.detach().mT, model.dictionary.keys.detach()
    some = torch.randn(30, weight.shape[1], dtype=dtype)
    return torch.cat(
        [torch.zeros(2, weight.shape[1], dtype=dtype), weight, -weight, keys[:20], some, some * 1e15, some * 1e-9]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rates", ["scalar", "diagonal"])
@pytest.mark.parametrize(
    "case", ["any", "fitted", "twins", "zero keys", "zero weights", "strong", "one entry", "still", "negative"]
)
def test_predict_is_the_argmax_of_the_logits(case: str, rates: str, dtype: torch.dtype):
    """Twins: classes with equal weights and values tie exactly. Strong: steps far longer than the weights."""
    sizes = (1, 16, 12) if case == "one entry" else SIZES
    model = fitted(rates, dtype) if case == "fitted" else make("cosine", False, rates, sizes=sizes, dtype=dtype).eval()
    dictionary, layer = model.dictionary, model.layer
    with torch.no_grad():
        if case == "twins":
            layer.weight[:, 5], dictionary.value_logits[:, 5] = layer.weight[:, 2], dictionary.value_logits[:, 2]
            layer.weight[:, 9], dictionary.value_logits[:, 9] = layer.weight[:, 2], dictionary.value_logits[:, 2]
        elif case == "zero keys":
            dictionary.keys[::3] = 0
        elif case == "zero weights":
            layer.weight[:, 3:6] = 0
        elif case in ("strong", "still"):
            model.rate.mul_(300 if case == "strong" else 0)
        elif case == "negative":
            layer.tau.neg_()
    z = awkward(model, dtype)
    with torch.no_grad():
        logits = model.logits(z)
    assert bool(logits.isfinite().all())
    assert torch.equal(model.predict(z), logits.argmax(-1))


def test_predict_computes_few_sums_for_a_fitted_network(monkeypatch: pytest.MonkeyPatch):
    """Of 600 pairs of a query and a class at most a tenth needs P."""
    model, asked = fitted(), []
    z = model.dictionary.keys.detach()[:50] + 0.1 * torch.randn(50, 16)
    pairs = inference.across_of_pairs

    def counted(layer: Any, unit_keys: Tensor, w: Tensor, query: Tensor, klass: Tensor) -> Tensor:
        asked.append(len(query))
        return pairs(layer, unit_keys, w, query, klass)

    monkeypatch.setattr(inference, "across_of_pairs", counted)
    assert torch.equal(model.predict(z), model.logits(z).detach().argmax(-1))
    assert sum(asked) <= 60


@pytest.mark.parametrize(("kind", "steps", "form"), [("dot", 1, "auto"), ("cosine", 3, "auto"), ("cosine", 1, "explicit")])
def test_predict_of_the_other_forms(kind: str, steps: int, form: str):
    """Where no bounds are used: the argmax itself."""
    model = make(kind, kind == "dot", "scalar", steps=steps, form=form).eval()
    z = torch.randn(7, 6, dtype=torch.float64)
    assert torch.equal(model.predict(z), model.logits(z).argmax(-1))


def test_what_is_kept_in_evaluation_follows_every_change():
    """Parameters changed in place, by loading, by moving to another precision, through .data with a call of eval."""
    model = make("cosine", False, "scalar", dtype=torch.float32).eval()
    z = torch.randn(4, 6)

    def logits() -> Tensor:
        with torch.no_grad():
            return model.logits(z.to(model.layer.weight.dtype))

    def fresh() -> Tensor:
        return model.logits(z.to(model.layer.weight.dtype)).detach()  # with gradients on nothing is kept

    first = logits()
    assert model._kept is not None
    assert logits().equal(first)
    for name in ("dictionary.keys", "dictionary.value_logits", "layer.weight", "layer.tau", "rate"):
        with torch.no_grad():
            model.get_parameter(name).mul_(1.3).add_(0.1)
        assert not logits().equal(first), name
        assert torch.allclose(logits(), fresh(), atol=1e-5)
        first = logits()
    other = make("cosine", False, "scalar", dtype=torch.float32)
    model.load_state_dict(other.state_dict())
    assert torch.allclose(logits(), other.logits(z).detach(), atol=1e-5)
    model.double()
    assert torch.allclose(logits(), fresh(), atol=1e-12)
    model.layer.weight.data.mul_(-1)
    model.eval()
    assert torch.allclose(logits(), fresh(), atol=1e-12)
    twin = copy.deepcopy(model)
    assert twin._kept is None
    with torch.inference_mode():
        assert twin.logits(z.double()).equal(logits())

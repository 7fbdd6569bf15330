"""The learned dictionary: starts, values, attention over kept entries, draws of entries, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from modicum.errors import ConfigError
from modicum.memory.dictionary import LearnedDictionary, drop_entries, kept_entries, one_hot_values


def test_attention_by_hand():
    """Keys (2, 0), (0, 3), (1, 1), query (5, 0), T = 0.5: exp of 2, 0 and sqrt 2. Dot products: 20, 0, 10."""
    dictionary = LearnedDictionary(3, 2, 2, temperature=0.5)
    with torch.no_grad():
        dictionary.keys.copy_(torch.tensor([[2.0, 0], [0, 3], [1, 1]]))
    parts = [math.exp(2), 1.0, math.exp(math.sqrt(2))]
    expected = torch.tensor(parts) / sum(parts)
    query = torch.tensor([5.0, 0])
    assert torch.allclose(dictionary.attend(query), expected)
    assert dictionary.attend(query.expand(4, 2, 2)).shape == (4, 2, 3)
    two = torch.tensor([parts[0], parts[2]]) / (parts[0] + parts[2])
    assert torch.allclose(dictionary.attend(query, torch.tensor([0, 2])), two)
    masked = dictionary.attend(query, torch.tensor([True, False, True]))
    assert torch.allclose(masked, torch.tensor([two[0], 0.0, two[1]]))
    assert torch.allclose(dictionary.attend(torch.zeros(2)), torch.full((3,), 1 / 3))


def test_values_are_the_softmax_of_ten_times_the_logits():
    """Logits (0.1 ln 3, 0) stand for (3/4, 1/4); without the 10 they would stand for (0.527, 0.473)."""
    dictionary = LearnedDictionary(1, 2, 2)
    with torch.no_grad():
        dictionary.value_logits.copy_(torch.tensor([[0.1 * math.log(3), 0.0]]))
    assert torch.allclose(dictionary.values(), torch.tensor([[0.75, 0.25]]))


def test_fixed_values_share_entries_among_classes_in_rows():
    """Entry j of class floor(j C / S), as the authors' code has it: 7 entries of 3 classes are 0 0 0 1 1 2 2."""
    assert one_hot_values(7, 3).argmax(1).tolist() == [0, 0, 0, 1, 1, 2, 2]
    dictionary = LearnedDictionary(7, 2, 3, values="one-hot")
    assert [name for name, _ in dictionary.named_parameters()] == ["keys"]
    assert dictionary.values().sum(1).eq(1).all()
    assert "fixed" in dictionary.state_dict()


def test_starts():
    """Keys of deviation 0.05, value logits of 0.01, targets even over their range, in each of their own."""
    dictionary = LearnedDictionary(4000, 10, 5)
    assert 0.049 < float(dictionary.keys.detach().std()) < 0.051
    assert 0.0097 < float(dictionary.value_logits.detach().std()) < 0.0103
    assert float(dictionary.sharpness) == pytest.approx(5.0)
    targets = LearnedDictionary(
        4000, 3, 2, values="targets", target_range=(torch.tensor([-1.0, 10]), torch.tensor([2.0, 11]))
    )
    found = targets.values().detach()
    assert torch.allclose(found.amin(0), torch.tensor([-1.0, 10]), atol=0.01)
    assert torch.allclose(found.amax(0), torch.tensor([2.0, 11]), atol=0.01)
    assert torch.allclose(found.mean(0), torch.tensor([0.5, 10.5]), atol=0.05)


def test_temperature_is_learned_only_where_asked():
    """A buffer that is saved, or a parameter whose size counts."""
    fixed, learned = LearnedDictionary(3, 2, 2), LearnedDictionary(3, 2, 2, learn_temperature=True)
    assert "sharpness" in fixed.state_dict()
    assert "sharpness" not in dict(fixed.named_parameters())
    assert "sharpness" in dict(learned.named_parameters())
    query = torch.randn(4, 2)
    before = learned.attend(query)
    with torch.no_grad():
        learned.sharpness.neg_()
    assert torch.equal(learned.attend(query), before)


@pytest.mark.parametrize(("entries", "share", "kept"), [(10, 0.5, 5), (7, 0.5, 3), (10, 0.0, 10), (9, 0.3, 6), (30, 0.9, 3)])
def test_draws_keep_exactly_so_many_entries_without_replacement(entries: int, share: float, kept: int):
    """int((1 - share) S): half of 7 is 3. A coin for each entry would vary; the same generator gives the same draw."""
    assert kept_entries(entries, share) == kept

    def draw(how: Any) -> torch.Tensor:
        return drop_entries(entries, share, how, 50, torch.Generator().manual_seed(5))

    mask, index = draw("query"), draw("shared")
    assert mask.shape == (50, entries)
    assert mask.sum(1).eq(kept).all()
    assert index.shape == (kept,)
    assert len(index.unique()) == kept
    assert torch.equal(mask, draw("query"))
    assert torch.equal(index, draw("shared"))
    if share:
        assert len(mask.unique(dim=0)) > 10  # every query has its own
        assert mask.double().mean(0).sub(kept / entries).abs().max() < 0.3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"entries": 0}, "entries: expected at least 1 entry in the dictionary, found 0"),
        ({"temperature": 0.0}, "temperature: expected more than 0, found 0"),
        ({"temperature": -1.0}, "temperature: expected more than 0"),
        ({"temperature": float("nan")}, "temperature: expected more than 0, found nan"),
        ({"n_features": 0}, "n_features, n_out: expected at least 1 each"),
        ({"values": "hot"}, "values: expected one of learned, one-hot, targets; found 'hot'"),
        ({"values": "targets"}, "target_range: .* found None"),
        ({"values": "targets", "target_range": (1.0, 1.0)}, "target_range: expected two different numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], told: str):
    """With the parameter's name and what was found."""
    sizes = {"entries": 3, "n_features": 2, "n_out": 2, **options}
    entries, n_features, n_out = (sizes.pop(name) for name in ("entries", "n_features", "n_out"))
    with pytest.raises(ConfigError, match=told):
        LearnedDictionary(entries, n_features, n_out, **sizes)


def test_draws_and_queries_that_make_no_sense_are_refused():
    """Nothing left, a share out of range, an unknown draw, features and masks of other shapes."""
    for share in (-0.1, 1.0, 0.9):
        with pytest.raises(ConfigError, match="share: expected 0 or more and below 1"):
            drop_entries(5, share)
    with pytest.raises(ConfigError, match="how: expected query or shared, found 'each'"):
        drop_entries(5, 0.5, "each")  # type: ignore[arg-type]
    dictionary = LearnedDictionary(3, 2, 2)
    with pytest.raises(ConfigError, match=r"query: expected \(..., 2\)"):
        dictionary.attend(torch.zeros(4, 3))
    with pytest.raises(ConfigError, match=r"keep: expected a mask \(..., 3\)"):
        dictionary.attend(torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.bool))

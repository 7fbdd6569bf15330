"""Votes of neighbours and kNN-interpolation, by hand; labels that are needed; removal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.errors import ConfigError, DataError
from modicum.memory.types import Item
from modicum.models import embed
from modicum.retrieval.neighbours import KNN, classes_of, interpolate, vote, winners

SIMILARITY = np.array([[0.8, 0.5, 0.4, -0.2]])
CLASSES = np.array([[2, 0, 0, 1]])


def item(label: str | None) -> Item:
    return Item(5, "own", "a.png", label, None, 0.0)


def test_shares_by_hand():
    """Uniform 2/4, 1/4, 1/4; by similarity .9, 0 and .8 of 1.7, where a negative cosine counts for nothing."""
    np.testing.assert_allclose(vote(SIMILARITY, CLASSES, 3), [[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(vote(SIMILARITY, CLASSES, 3, weighting="similarity"), [[0.9 / 1.7, 0, 0.8 / 1.7]])


def test_softmax_is_that_of_knn_lm():
    """exp(-squared distance) of unit vectors, |q - x|^2 = 2 - 2 s, is the softmax of temperature 1/2."""
    distance = 2 - 2 * SIMILARITY[0]
    u = np.exp(-distance)
    wanted = np.array([u[1] + u[2], u[3], u[0]]) / u.sum()
    np.testing.assert_allclose(vote(SIMILARITY, CLASSES, 3, weighting="softmax", temperature=0.5)[0], wanted)
    far = vote(SIMILARITY * 1e4, CLASSES, 3, weighting="softmax", temperature=1e-3)  # no overflow
    np.testing.assert_array_equal(far, [[0, 0, 1]])


def test_equal_shares_go_to_the_nearer_class():
    """Two votes each: class 2 comes first though its number is larger. Three votes beat the nearest."""
    classes = np.array([[2, 1, 1, 2], [2, 1, 1, 1]])
    similarity = np.array([[0.9, 0.8, 0.7, 0.6]] * 2)
    shares = vote(similarity, classes, 3)
    assert shares.argmax(1).tolist() == [1, 1]
    assert winners(shares, classes).tolist() == [2, 1]


def test_neighbours_without_a_class_do_not_vote():
    """Of two known votes each is a half; none at all leaves all classes equal; cosines below 0 count as uniform."""
    classes = np.array([[-1, 0, 1], [-1, -1, -1]])
    similarity = np.array([[0.9, -0.1, -0.3]] * 2)
    for weighting in ("uniform", "similarity"):
        assert vote(similarity, classes, 4, weighting=weighting).tolist() == [[0.5, 0.5, 0, 0], [0.25] * 4]
    alone = vote(similarity, np.array([[-1, 0, -1]] * 2), 2, weighting="softmax")
    assert alone.tolist() == [[1.0, 0.0]] * 2


def test_interpolation_by_hand():
    knn, base = torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75])
    torch.testing.assert_close(interpolate(knn, base, 0.2), torch.tensor([0.4, 0.6]))
    with pytest.raises(ConfigError, match="lambda"):
        interpolate(knn, base, 1.5)


def test_a_label_that_is_needed_and_unknown_is_refused():
    rows = [[item("cat"), item("catt")]]
    with pytest.raises(DataError, match=r"item 5 \(own/a.png\) has label 'catt' \(did you mean 'cat'\?\).*relabel"):
        classes_of(rows, ["dog", "cat"])
    with pytest.raises(DataError, match="has no label"):
        classes_of([[item(None)]], ["dog"])
    assert classes_of([*rows, [item(None), item("dog")]], ["dog", "cat"], skip_unknown=True).tolist() == [[1, -1], [-1, 0]]


def test_unknown_weighting_and_temperature_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'softmax'"):
        vote(SIMILARITY, CLASSES, 3, weighting="sofmax")
    with pytest.raises(ConfigError, match="temperature"):
        vote(SIMILARITY, CLASSES, 3, temperature=0.0)


@pytest.fixture
def digits(list_memory):
    """30 pictures of noise in 3 classes, their encoder and the memory that holds them."""
    torch.manual_seed(0)
    encoder = build_encoder("conv4-64", ImageSpec(16, 3)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), dtype=np.uint8)
    memory = list_memory(64)
    ids = memory.add(embed(encoder, pixels), [f"c{i % 3}" for i in range(30)], source="own")
    return encoder, torch.from_numpy(pixels).permute(0, 3, 1, 2), memory, ids


def test_every_item_is_its_own_nearest_neighbour_unless_left_out(digits):
    encoder, x, memory, ids = digits
    model = KNN(encoder, memory, ["c0", "c1", "c2"])
    own = model(x).argmax(1)
    assert own.tolist() == [i % 3 for i in range(30)]
    others = model(x, torch.from_numpy(ids))
    keys = embed(encoder, x.permute(0, 2, 3, 1).numpy()).astype(float)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    cosines = keys @ keys.T - 9 * np.eye(30)
    assert others.argmax(1).tolist() == [i % 3 for i in cosines.argmax(1)]
    assert not np.array_equal(others.argmax(1), own)


def test_a_removed_source_is_as_if_it_had_never_been(digits):
    encoder, x, memory, _ = digits
    model = KNN(encoder, memory, ["c0", "c1", "c2"], k=7, weighting="similarity")
    before = model(x[:5])
    memory.add(memory.vectors([item.id for item in memory.items()])[::-1], ["c0"] * 30, source="more")
    assert not torch.equal(model(x[:5]), before)
    memory.remove_source("more")
    assert torch.equal(model(x[:5]), before)


def test_unknown_labels_in_the_memory(digits):
    """Left out by the option; refused without it."""
    encoder, x, memory, ids = digits
    memory.relabel(ids[:1], "heron")
    with pytest.raises(DataError, match="label 'heron'"):
        KNN(encoder, memory, ["c0", "c1", "c2"])(x[:1])
    assert KNN(encoder, memory, ["c0", "c1", "c2"], skip_unknown=True)(x[:1]).tolist() == [[1 / 3] * 3]


def test_memory_and_k_that_do_not_fit_are_refused(digits, list_memory):
    encoder, x, memory, _ = digits
    with pytest.raises(ConfigError, match="embeddings of 3 numbers"):
        KNN(encoder, list_memory(3), ["c0"])
    with pytest.raises(ConfigError, match="at least 1"):
        KNN(encoder, memory, ["c0"], k=0)
    with pytest.raises(DataError, match="31 asked for, but the memory has 30 items"):
        KNN(encoder, memory, ["c0", "c1", "c2"], k=31)(x[:1])

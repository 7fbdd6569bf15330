"""RAC: eq. 5 by hand, what a picture may find, what an edited memory changes and puts back, gradients, and bad input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.backbones.batch_norm import copy_buffers, forward_training
from modicum.backbones.encoder import Encoder, ImageSpec, build_encoder
from modicum.errors import ConfigError, DataError
from modicum.memory.opening import create_memory, open_memory
from modicum.memory.types import MemoryInfo
from modicum.models import embed
from modicum.retrieval.embedding import embed_batch, even_pass, fitted
from modicum.retrieval.rac import RAC, combine, unit
from modicum.retrieval.text import AbstractTextEncoder, RandomWords

SIZE = 8
SPEC = ImageSpec(SIZE, 3)


class Corner(nn.Module):
    """The first two numbers of a picture: embeddings that a test can choose."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :2]


def corner() -> Encoder:
    return Encoder(Corner(), SPEC, 2, "corner", {})


def showing(rows: Sequence[tuple[float, float]]) -> Tensor:
    """Float pictures whose embedding by `corner` is the row."""
    x = torch.zeros(len(rows), 3, SIZE, SIZE)
    x[:, 0, 0, :2] = torch.tensor(rows)
    return x


class Spy(AbstractTextEncoder):
    """Records what it is given and answers with zeros."""

    n_features, trained = 3, False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[list[str]]] = []

    def forward(self, texts):
        self.seen.append([list(row) for row in texts])
        return torch.zeros(len(texts), 3)


def conv() -> Encoder:
    torch.manual_seed(5)
    return build_encoder("conv4-64", ImageSpec(16, 3))


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def as_batch(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@pytest.fixture
def small(list_memory):
    """Three items at angles of 0, 45 and 90 degrees, and a model of the retrieval branch that reads two of them."""
    memory = list_memory(2)
    memory.add([[1, 0], [1, 1], [0, 1]], ["east", "north east", "north"], ids=[1, 2, 3], names=["e", "ne", "n"])
    spy = Spy()
    model = RAC(4, encoder=corner(), memory=memory, text=spy, branches="retrieval", neighbours=2)
    return memory, spy, model


@pytest.fixture
def whole(list_memory):
    """Both branches on 40 pictures of 5 classes, and the pictures' ids in the memory."""
    encoder, memory = conv().eval(), list_memory(64)
    ids = memory.add(embed(encoder, pictures(40)), [f"class {i % 5}" for i in range(40)], source="own")
    torch.manual_seed(1)
    model = RAC(5, base=conv(), encoder=encoder, memory=memory, text=RandomWords(), neighbours=4)
    return model, memory, torch.from_numpy(ids)


def test_equation_5_by_hand():
    """L = 2, so L/2 = 1: (3, 4)/5 + (0, -2)/2 = (0.6, -0.2). Without the factor L = 4 would give half of what it does."""
    torch.testing.assert_close(combine(torch.tensor([3.0, 4.0]), torch.tensor([0.0, -2.0])), torch.tensor([0.6, -0.2]))
    four = combine(torch.tensor([[3.0, 4.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0, 7.0]]))
    torch.testing.assert_close(four, torch.tensor([[1.2, 1.6, 0.0, 2.0]]))


def test_norms_of_zero_and_extremes():
    """A branch of zeros adds nothing and gets the other's gradient's size; 1e-30 and 1e30 have squares outside float32."""
    f = torch.zeros(1, 2, requires_grad=True)
    out = combine(f, torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.6, 0.8]]))
    out[0, 0].backward()
    assert f.grad.tolist() == [[1.0, 0.0]]
    for scale in (1e-30, 1e30):
        torch.testing.assert_close(unit(torch.tensor([3.0, 4.0]) * scale), torch.tensor([0.6, 0.8]))
    assert torch.autograd.gradcheck(unit, torch.tensor([[3.0, -4.0, 1.0]], dtype=torch.float64, requires_grad=True))
    with pytest.raises(ConfigError, match="one shape"):
        combine(torch.zeros(2, 3), torch.zeros(2, 4))


def test_texts_come_nearest_first_and_a_text_goes_before_the_label(small):
    memory, spy, model = small
    memory.relabel([3], text="a place up north")
    model.eval()(showing([(0.9, 0.1), (0.0, 1.0)]))
    assert spy.seen == [[["east", "north east"], ["a place up north", "north east"]]]


def test_an_item_without_words_is_an_empty_text(small):
    memory, spy, model = small
    memory.add([[1, 0.01]], [None], ids=[9], names=["bare"])
    model.eval()(showing([(1.0, 0.01)]))
    assert spy.seen == [[["", "east"]]]


def test_a_picture_is_left_out_by_identity_and_its_duplicate_is_not(small):
    """Item 4 is a copy of item 1 under another label and comes after it, ties by id. By rank the copy of 4 finds 4."""
    memory, spy, model = small
    memory.add([[1, 0]], ["copy"], ids=[4], names=["copy"])
    x = showing([(1.0, 0.0), (1.0, 0.0)])
    model.train()(x, torch.tensor([1, 4]))
    assert spy.seen.pop() == [["copy", "north east"], ["east", "north east"]]
    model.exclude = "rank"
    model(x, torch.tensor([1, 4]))
    assert spy.seen.pop() == [["copy", "north east"], ["copy", "north east"]]
    model.exclude = "none"
    model(x, torch.tensor([1, 4]))
    assert spy.seen.pop() == [["east", "copy"], ["east", "copy"]]


def test_only_training_leaves_out_unless_asked(small):
    _, spy, model = small
    x, id = showing([(1.0, 0.0)]), torch.tensor([1])
    model.eval()(x, id)
    assert spy.seen.pop() == [["east", "north east"]]
    model.branch_logits(x, id, leave_out=True)
    assert spy.seen.pop() == [["north east", "north"]]
    for exclude in ("rank", "none"):  # what training did about itself says nothing of other pictures
        model.exclude = exclude
        model.branch_logits(x, torch.tensor([-1]), leave_out=True)
        assert spy.seen.pop() == [["east", "north east"]]
        model.branch_logits(x, id, leave_out=True)
        assert spy.seen.pop() == [["north east", "north"]]
    model.exclude = "identity"
    model.train()(x, torch.tensor([-1]))  # a training picture that the memory does not hold
    assert spy.seen.pop() == [["east", "north east"]]


def test_training_by_identity_needs_ids(small):
    _, _, model = small
    with pytest.raises(ConfigError, match="id: excluding a picture by identity needs its id"):
        model.train()(showing([(1.0, 0.0)]))


def test_branches_by_hand(whole):
    """f_base from given features, f_ret from the words of the neighbours that a plain loop finds, eq. 5 of both."""
    model, _, ids = whole
    x, features = as_batch(pictures(6, seed=9)), torch.randn(6, 64)
    out = model.eval().branch_logits(x, features=features)
    torch.testing.assert_close(out.base, F.linear(features, model.base_linear.weight, model.base_linear.bias))
    keys = embed(model.encoder, pictures(40))
    for row, query in enumerate(embed(model.encoder, pictures(6, seed=9))):
        cosines = keys @ query / np.linalg.norm(keys, axis=1) / np.linalg.norm(query)
        nearest = np.argsort(-cosines)[:4]
        assert out.neighbours.id[row].tolist() == ids[nearest].tolist()
        words = torch.cat([model.text([["class"], [str(i % 5)]]) for i in nearest])
        torch.testing.assert_close(out.retrieval[row], model.retrieval_linear(words.mean(0)))
        assert [item.label for item in out.items[row]] == [f"class {i % 5}" for i in nearest]
    torch.testing.assert_close(out.both, combine(out.retrieval, out.base))
    assert torch.equal(model.chosen(out), out.both)


def test_queries_are_the_keys_to_the_bit_whatever_the_batch():
    """As `models.embed` makes keys; batches of 1, 7, 40 and floats of the same pictures to rounding."""
    encoder, pixels = conv().eval(), pictures(40)
    keys = embed(encoder, pixels)
    for size in (1, 7, 40):
        parts = [embed_batch(encoder, as_batch(pixels[i : i + size])).numpy() for i in range(0, 40, size)]
        assert np.array_equal(np.concatenate(parts), keys)
    torch.testing.assert_close(embed_batch(encoder, as_batch(pixels) / 255), torch.from_numpy(keys))


def test_training_embeds_the_batch_at_once(whole):
    """20 pictures: one pass in training, three passes of 8 in evaluation; the same neighbours here, similar to rounding."""
    model, _, _ = whole
    x, passes = as_batch(pictures(20, seed=3)), []
    model.encoder.backbone.register_forward_hook(lambda module, given, out: passes.append(len(out)))
    trained, _ = model.train().neighbours(x, torch.full((20,), -1))
    assert passes == [20]
    evaluated, _ = model.eval().neighbours(x)
    assert passes == [20, 8, 8, 8]
    assert np.array_equal(trained.id, evaluated.id)
    np.testing.assert_allclose(trained.similarity, evaluated.similarity, atol=1e-6)
    assert [even_pass(n) for n in (0, 1, 64, 65, 200)] == [1, 1, 64, 33, 50]


def test_neighbours_do_not_depend_on_the_batch(whole):
    model, _, _ = whole
    model.eval()
    x = as_batch(pictures(30, seed=3))
    together, _ = model.neighbours(x)
    for i in (0, 17, 29):
        alone, _ = model.neighbours(x[i : i + 1])
        assert np.array_equal(alone.id[0], together.id[i])
        assert np.array_equal(alone.similarity[0], together.similarity[i])


def test_the_encoder_stays_in_evaluation_mode_without_gradient_and_out_of_the_state_dict(whole):
    """Training mode and autocast change neither its statistics nor its numbers; the memory is in no state dict either."""
    model, _, ids = whole
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    x = as_batch(pictures(40))
    keys = model.embed(x)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(x, ids).square().mean().backward()
        assert torch.equal(model.embed(x), keys)
    assert not any(part.training for part in model.encoder.modules())
    assert all(value.grad is None and not value.requires_grad for value in model.encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.encoder.state_dict().items())
    assert {name.split(".")[0] for name in model.state_dict()} == {"base", "base_linear", "retrieval_linear"}
    assert all(value.grad is not None for value in model.parameters())
    assert len(list(model.parameters())) == len(list(model.base.parameters())) + 4


def test_features_of_a_pure_training_pass_are_taken(whole):
    """The caller runs B with batch norm as a value; the module's buffers stay as they were until it puts new ones back."""
    model, _, ids = whole
    model.train()
    before, x = copy_buffers(model.base), as_batch(pictures(40))
    features, updated = forward_training(model.base, x, before)
    out = model.branch_logits(x, ids, features=features)
    assert all(torch.equal(value, before[name]) for name, value in model.base.named_buffers())
    assert any(not torch.equal(updated[name], before[name]) for name in before)
    model.chosen(out).square().sum().backward()
    assert next(model.base.parameters()).grad.abs().sum() > 0


def test_an_edited_memory_is_seen_at_once_and_put_back_to_the_bit(whole):
    """Add a source, relabel it, remove it: predictions change each time without a weight, then equal the first ones."""
    model, memory, _ = whole
    model.eval()
    x = as_batch(pictures(7, seed=4))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = model(x)
    added = memory.add(embed(model.encoder, pictures(7, seed=4)), ["heron"] * 7, source="birds")
    with_birds = model(x)
    memory.relabel(added, "grey heron")
    relabelled = model(x)
    assert not torch.equal(with_birds, first)
    assert not torch.equal(relabelled, with_birds)
    memory.remove_source("birds")
    assert torch.equal(model(x), first)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_payloads_are_read_once_until_the_memory_changes(whole):
    model, memory, _ = whole
    model.eval()
    x = as_batch(pictures(7, seed=4))
    for _ in range(3):
        model(x)
    assert memory.asked == 1
    memory.relabel(model.neighbours(x)[0].id[0, :1], "other")
    assert "other" in [item.label for item in model.neighbours(x)[1][0]]


def test_a_memory_that_does_not_count_changes_is_asked_every_time(list_memory):
    memory = list_memory(2, counting=False)
    memory.add([[1, 0]], ["east"], ids=[1], names=["e"])
    spy = Spy()
    model = RAC(2, encoder=corner(), memory=memory, text=spy, branches="retrieval", neighbours=1).eval()
    model(showing([(1, 0)]))
    memory.kept[1] = (memory.kept[1][0]._replace(label="west"), memory.kept[1][1])
    model(showing([(1, 0)]))
    assert spy.seen == [[["east"]], [["west"]]]


def test_an_item_removed_between_look_up_and_payload_is_looked_up_again(small):
    """Another process removes item 1 just after it was found."""
    memory, spy, model = small
    plain = memory.lookup

    def interrupted(query, k, exclude=None):
        found = plain(query, k, exclude)
        if 1 in memory.kept:
            memory.remove([1])
        return found

    memory.lookup = interrupted
    model.eval()(showing([(1.0, 0.0)]))
    assert spy.seen == [[["north east", "north"]]]


def test_kept_neighbours_are_those_of_the_key_once_per_state_of_the_memory(small):
    """The augmented picture shows north, its key lies east: the named option looks the key up, and only once."""
    memory, spy, _ = small
    model = RAC(
        4, encoder=corner(), memory=memory, text=spy, branches="retrieval", neighbours=2, cache_neighbours=True
    ).train()
    x, id = showing([(0.0, 1.0)]), torch.tensor([1])
    for _ in range(3):
        model(x, id)
    assert spy.seen == [[["north east", "north"]]] * 3
    assert memory.looked_up == 1
    memory.add([[1, 0.01]], ["near"], ids=[7], names=["near"])
    model(x, id)
    assert spy.seen[-1] == [["near", "north east"]]
    model.eval()(x, id)
    assert spy.seen[-1] == [["north", "north east"]]
    model.train()(x, torch.tensor([-1]))  # not an item: the picture itself is looked up
    assert spy.seen[-1] == [["north", "north east"]]


def test_a_label_the_classifier_does_not_know_is_read_as_text(whole):
    model, memory, _ = whole
    memory.add(embed(model.encoder, pictures(1, seed=8)), ["a class of another data set"], source="other")
    out = model.eval().branch_logits(as_batch(pictures(1, seed=8)))
    assert out.items[0][0].label == "a class of another data set"
    words = [[item.words for item in out.items[0]]]
    torch.testing.assert_close(out.retrieval, model.retrieval_linear(model.text(words)))


def test_too_few_items_and_no_items_are_refused(small):
    memory, _, model = small
    x = showing([(1.0, 0.0)])
    memory.remove([3])
    assert model.eval()(x).shape == (1, 4)
    with pytest.raises(DataError, match=r"neighbours: 2 asked for beside the picture itself, but the memory has 2 items"):
        model.train()(x, torch.tensor([1]))
    memory.remove([1, 2])
    with pytest.raises(DataError, match=r"neighbours: 2 asked for, but the memory has 0 items"):
        model.eval()(x)


def test_one_branch_alone(whole, list_memory):
    """Base alone reads no memory and is not normalised; retrieval alone has no base network."""
    model, memory, _ = whole
    base = RAC(5, base=conv(), branches="base").eval()
    x = as_batch(pictures(3))
    torch.testing.assert_close(base(x), base.base_linear(base.base(x)))
    assert base.branch_logits(x)[1:] == (None, None, None, None)
    assert base.memory is None
    alone = RAC(5, encoder=model.encoder, memory=memory, text=RandomWords(), branches="retrieval", neighbours=4).eval()
    assert {name.split(".")[0] for name in alone.state_dict()} == {"retrieval_linear"}
    out = alone.branch_logits(x)
    assert out.base is None
    assert torch.equal(alone(x), out.retrieval)
    with pytest.raises(ConfigError, match="reads no memory"):
        base.neighbours(x)


def test_another_memory_can_be_attached(small, list_memory):
    _, spy, model = small
    other = list_memory(2)
    other.add([[1, 0], [0, 1]], ["right", "up"], ids=[1, 2], names=["r", "u"])
    model.attach(other)
    model.eval()(showing([(1.0, 0.0)]))
    assert spy.seen == [[["right", "up"]]]


def test_pictures_of_another_size_and_colour_are_fitted():
    """2x2 blocks of a picture twice as large average to it; grey is repeated; colours weigh .299 .587 .114."""
    spec = ImageSpec(2, 1)
    red = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 255
    torch.testing.assert_close(fitted(red, spec), torch.full((1, 1, 2, 2), 0.299))
    grey = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    assert fitted(grey, spec) is grey
    assert torch.equal(fitted(grey, ImageSpec(2, 3)), (grey / 255).expand(1, 3, 2, 2))
    flat = torch.full((1, 3, 5, 5), 0.25)
    torch.testing.assert_close(fitted(flat, ImageSpec(2, 3)), torch.full((1, 3, 2, 2), 0.25))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 8, 8), "expected pictures"),
        (torch.zeros(1, 2, 8, 8), "expected pictures"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "uint8"),
        (torch.full((1, 3, 8, 8), float("nan")), "finite"),
    ],
)
def test_bad_pictures_are_refused(small, x: Tensor, message: str):
    with pytest.raises(DataError, match=message):
        small[2].eval()(x)


def test_parts_that_do_not_fit_are_refused(small, list_memory):
    memory, spy, _ = small
    encoder = corner()
    with pytest.raises(ConfigError, match="embeddings of 3 numbers, but encoder corner gives 2"):
        RAC(2, encoder=encoder, memory=list_memory(3), text=spy, branches="retrieval")
    with pytest.raises(ConfigError, match="another object than base"):
        RAC(2, base=encoder, encoder=encoder, memory=memory, text=spy)
    with pytest.raises(ConfigError, match="need an encoder to train"):
        RAC(2, encoder=encoder, memory=memory, text=spy)
    with pytest.raises(ConfigError, match="one of them missing"):
        RAC(2, base=encoder)
    with pytest.raises(ConfigError, match="did you mean 'identity'"):
        RAC(2, base=encoder, branches="base", exclude="identiy")
    with pytest.raises(ConfigError, match="at least 1"):
        RAC(2, base=encoder, branches="base", neighbours=0)


def test_the_encoder_moves_with_the_model_but_keeps_its_precision(whole):
    model, _, _ = whole
    model.double()
    assert next(model.parameters()).dtype == torch.float64
    assert next(model.encoder.parameters()).dtype == torch.float32


def test_a_stored_memory_edited_by_another_reader_is_put_back_to_the_bit(whole, tmp_path: Path):
    """The truth on disk, opened twice: what one adds, relabels and removes the other's next prediction sees.

    Batches of 1, 7 and 200; afterwards equal to a memory that never held the source.
    """
    encoder, info = whole[0].encoder, MemoryInfo(64)
    keys, labels = embed(encoder, pictures(40)), [f"class {i % 5}" for i in range(40)]
    x = as_batch(pictures(200, seed=4))
    with create_memory(str(tmp_path / "a"), info) as memory, create_memory(str(tmp_path / "never"), info) as never:
        for one in (memory, never):
            one.add(keys, labels, source="own")
        model = RAC(5, base=conv(), encoder=encoder, memory=memory, text=RandomWords(), neighbours=4).eval()
        first = [model(x[:size]) for size in (1, 7, 200)]
        with open_memory(str(tmp_path / "a")) as other:
            ids = other.add(embed(encoder, pictures(90, seed=4)), ["heron"] * 90, source="birds")
            added = model(x)
            other.relabel(ids, "grey heron")
            relabelled = model(x)
            other.remove_source("birds")
        assert not torch.equal(added, first[2])
        assert not torch.equal(relabelled, added)
        for attached in (memory, never):
            model.attach(attached)
            assert all(torch.equal(model(x[: len(logits)]), logits) for logits in first)

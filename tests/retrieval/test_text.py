"""Texts of neighbours: splitting and cutting by hand, bags of words, files of word vectors, and what bad ones get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.errors import ConfigError, DataError
from modicum.retrieval.text import RandomWords, WordVectors, read_word_vectors, tokens, words_of


def glove(folder: Path, text: str) -> Path:
    file = folder / "vectors.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_words_by_hand():
    """An underscore and a hyphen part words, case goes, digits and letters of any alphabet stay."""
    assert words_of("Apple_tree-2, Größe!") == ["apple", "tree", "2", "größe"]
    assert words_of("...") == []


def test_what_is_cut_is_the_text_of_the_farthest():
    """Three tokens of "a b", "c d", "e": the nearest is whole, the second cut, the third gone."""
    assert tokens(["a b", "c d", "e"], 3) == ["a", "b", "c"]
    assert tokens(["a b", "", "c d", "e"], 76) == ["a", "b", "c", "d", "e"]
    assert tokens([], 3) == []


def test_the_76th_word_counts_and_the_77th_does_not():
    texts = RandomWords()
    words = [f"w{i}" for i in range(78)]
    last = texts([words[:76], words[:77], [*words[:75], words[77]]])
    assert torch.equal(last[0], last[1])
    assert not torch.equal(last[0], last[2])


def test_mean_and_sum_by_hand():
    """ "a b" and "a": v = (2 a + b) / 3, not the mean of the two texts' means, which would be 3/4 a + 1/4 b."""
    mean, total = RandomWords(seed=3, n_features=5), RandomWords(seed=3, n_features=5, pooling="sum")
    a, b = (torch.from_numpy(mean.vector(word)) for word in "ab")
    assert torch.equal(mean([["a"]])[0], a)
    torch.testing.assert_close(mean([["a b", "a"]])[0], (2 * a + b) / 3)
    torch.testing.assert_close(total([["a b", "a"]])[0], 2 * a + b)


def test_random_vectors_are_a_function_of_seed_and_word():
    """Uniform on [0, 1), in 300 dimensions, whatever was asked before; 3,000 numbers have mean 1/2 to 4 standard errors.

    Centred, as by default, they are the same less 1/2.
    """
    first, second = RandomWords(seed=1, centred=False), RandomWords(seed=1, centred=False)
    np.testing.assert_array_equal(RandomWords(seed=1).vector("heron"), first.vector("heron") - np.float32(0.5))
    second([["other words come first"]])
    assert torch.equal(first([["heron"]]), second([["heron"]]))
    assert not torch.equal(first([["heron"]]), RandomWords(seed=2, centred=False)([["heron"]]))
    values = np.concatenate([first.vector(f"w{i}") for i in range(10)])
    assert values.shape == (3000,)
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
    assert abs(values.mean() - 0.5) < 4 * (1 / 12 / 3000) ** 0.5


def test_a_bag_does_not_depend_on_its_batch():
    """To the bit, for batches of 1, 7 and 200 and at any place, with the table growing in between."""
    rng = np.random.default_rng(0)
    rows = [[f"word{rng.integers(900)} word{rng.integers(900)}" for _ in range(30)] for _ in range(200)]
    texts = RandomWords(n_features=40)
    whole = texts(rows)
    assert len(texts.table) > 256
    for size in (1, 7):
        fresh = RandomWords(n_features=40)
        assert torch.equal(torch.cat([fresh(rows[i : i + size]) for i in range(0, 200, size)]), whole)


def test_no_text_and_text_without_words_give_zeros():
    texts = RandomWords(n_features=4)
    assert torch.equal(texts([[], [""], ["?!", "-"]]), torch.zeros(3, 4))
    assert texts([]).shape == (0, 4)


def test_ten_thousand_words_are_cut():
    texts = RandomWords()
    long = " ".join(f"w{i}" for i in range(10_000))
    assert torch.equal(texts([[long]]), texts([[" ".join(f"w{i}" for i in range(76))]]))
    assert texts._used == 77  # nothing was made for the words that are not read


def test_words_first_met_while_predicting_can_be_trained_on():
    texts = RandomWords(n_features=3)
    with torch.inference_mode():
        texts([[f"w{i}" for i in range(300)][j : j + 70] for j in range(0, 300, 70)])
    layer = torch.nn.Linear(3, 1)
    layer(texts([["a new word", "w299"]])).sum().backward()
    a_new_word = [texts.vector(word) for word in ("a", "new", "word", "w299")]
    torch.testing.assert_close(layer.weight.grad[0], torch.from_numpy(np.mean(a_new_word, 0)))


def test_nothing_is_stored_and_precision_follows_the_module():
    texts = RandomWords(n_features=3).double()
    assert texts.state_dict() == {}
    assert list(texts.parameters()) == []
    assert texts([["a"]]).dtype == torch.float64


def test_word_vectors_by_hand(tmp_path: Path):
    """Words without a line are not in the mean, but are in the limit."""
    file = glove(tmp_path, "red 1 2\ngreen 3 -4\nRed 9 9\n")
    texts = WordVectors(file)
    found = texts([["Red, green"], ["blue red"], ["blue"]])
    assert torch.equal(found, torch.tensor([[2.0, -1.0], [1.0, 2.0], [0.0, 0.0]]))
    assert torch.equal(WordVectors(file, limit=1)([["blue red"]]), torch.zeros(1, 2))
    assert torch.equal(WordVectors(file, pooling="sum")([["red", "red green"]]), torch.tensor([[5.0, 0.0]]))
    assert set(WordVectors(file, words={"green"})._vectors) == {"green"}


def test_files_of_other_programs(tmp_path: Path):
    """word2vec's first line is passed over; a word may hold spaces, as three in GloVe's largest file do."""
    found = read_word_vectors(glove(tmp_path, "2 3\nheron 1 2 3\nat name@domain.com 4 5 6\n"))
    assert {word: row.tolist() for word, row in found.items()} == {"heron": [1, 2, 3], "at name@domain.com": [4, 5, 6]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", "line 2"),
        ("a 1 2\nb 1 x\n", "line 2"),
        ("a 1 nan\n", "line 1.*not finite"),
        ("", "empty"),
    ],
)
def test_damaged_word_vectors_are_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_word_vectors(glove(tmp_path, text))


def test_a_missing_file_and_bad_options_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        WordVectors(tmp_path / "none.txt")
    with pytest.raises(DataError, match="none of the 1 words"):
        WordVectors(glove(tmp_path, "a 1\n"), words=["b"])
    with pytest.raises(ConfigError, match="pooling"):
        RandomWords(pooling="max")
    with pytest.raises(ConfigError, match="at least one"):
        RandomWords(limit=0)

"""Language models as text encoders, on tiny ones with random weights saved here: transformers' own numbers, cut, frozen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from modicum.errors import ConfigError

transformers = pytest.importorskip("transformers", reason='transformers is not installed (pip install "modicum[text]")')

from modicum.retrieval.transformers_text import CLIPText, SentenceText  # noqa: E402

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of both towers, 16 wide, whose tokens are letters."""
    folder = tmp_path_factory.mktemp("clip")
    tokens = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(tokens), "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    vision = {**size, "image_size": 8, "patch_size": 4}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT, 16 wide, with room for 20 tokens."""
    folder = tmp_path_factory.mktemp("bert")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "heron", "apple", "a"]
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(tokens), max_position_embeddings=20, **size)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizer({token: i for i, token in enumerate(tokens)}).save_pretrained(folder)
    return folder


def test_clip_equals_transformers_on_the_whole_text(clip: Path):
    """Texts one after another, nearest first, in one padded batch: as CLIP's own tokeniser and tower see each alone."""
    texts = [["a red", "heron"], ["apple"], []]
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    tower = transformers.CLIPModel.from_pretrained(clip).eval()
    found = CLIPText(str(clip), trained=False)(texts)
    for row, one in zip(found, texts, strict=True):
        with torch.no_grad():
            wanted = tower.get_text_features(**tokenizer(" ".join(one), return_tensors="pt")).pooler_output[0]
        torch.testing.assert_close(row, wanted)


def test_sentences_equal_the_masked_mean_of_transformers(bert: Path):
    texts = [["red heron", "green apple"], ["red"]]
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    model = transformers.AutoModel.from_pretrained(bert).eval()
    found = SentenceText(str(bert))(texts)
    for row, one in zip(found, texts, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(" ".join(one), return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(row, states.mean(0))  # with padding in it, the mean of the second would differ


def test_tokens_are_cut_from_the_farthest_with_the_marks_counted(clip: Path, bert: Path):
    """CLIP: 76 with both marks, so 74 letters; BERT here takes 20, so 18 words; ten thousand words cost no more."""
    letters = CLIPText(str(clip), trained=False)
    row = letters.rows.row(["ab", "c" * 100, "z"])
    assert len(row) == 76
    assert row[:4] == [52, 0, 26 + 1, 2]
    assert row[-1] == 53
    words = SentenceText(str(bert))
    assert words.rows.row(["red", "heron " * 10_000, "green"]) == [2, 5, *[7] * 17, 3]


def test_a_trained_tower_gets_gradients_and_is_saved(clip: Path):
    text = CLIPText(str(clip))
    text.train()
    text([["red"], ["green"]]).square().sum().backward()
    assert text.trained
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in text.parameters())
    other = CLIPText(str(clip))
    with torch.no_grad():
        for value in text.parameters():
            value.mul_(1.5)
    other.load_state_dict(text.state_dict())
    assert torch.equal(other.eval()([["red"]]), text.eval()([["red"]]))


def test_a_frozen_model_stays_in_evaluation_mode_and_out_of_the_state_dict(bert: Path):
    """BERT has dropout: in training mode two calls would differ."""
    text = SentenceText(str(bert)).train()
    first, second = text([["red"]]), text([["red"]])
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert text.state_dict() == {}
    trained = SentenceText(str(bert), trained=True).train()
    assert not torch.equal(trained([["red"]]), trained([["red"]]))


def test_precision_follows_the_module(bert: Path):
    assert SentenceText(str(bert)).double()([["red"]]).dtype == torch.float64


def test_missing_models_and_a_missing_package_are_refused(tmp_path: Path, bert: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="expected a folder or hub id"):
        SentenceText(str(tmp_path))
    with pytest.raises(ConfigError, match="it is a bert, not a CLIP"):
        CLIPText(str(bert))
    with pytest.raises(ConfigError, match="no room"):
        SentenceText(str(bert), limit=2)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install \"modicum\[text\]\""):
        CLIPText(str(bert))


def test_weights_of_another_model_are_refused(bert: Path, tmp_path: Path):
    """A BERT of one layer read as one of two: the second would start from random numbers."""
    config = transformers.AutoConfig.from_pretrained(bert)
    config.num_hidden_layers = 1
    transformers.BertModel(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(bert).save_pretrained(tmp_path)
    transformers.AutoConfig.from_pretrained(bert).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"weights lack encoder\.layer\.1"):
        SentenceText(str(tmp_path))


def test_weights_that_would_have_to_be_unpickled_are_refused(bert: Path, tmp_path: Path):
    for file in bert.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(transformers.AutoModel.from_pretrained(bert).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        SentenceText(str(tmp_path))

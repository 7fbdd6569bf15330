"""Texts of neighbours -> one vector per picture by a language model of `transformers` (pip install "modicum[text]").

| encoder | model | vector |
|---|---|---|
| `CLIPText` | text tower of a CLIP, as in RAC's paper | projected state at the end mark, as CLIP compares texts |
| `SentenceText` | any encoder that AutoModel loads | mean of the last states over the tokens that are there |

Models are a folder or a hub id; the hub's cache alone is read unless `online`. Weights are safetensors: nothing is
unpickled, and no code of a model's repository is run. The texts stand one after another, nearest first, each split into
tokens by itself, once, and kept; they are cut so that with the model's own marks at start and end 76 tokens are read (or
what the model takes, where that is less). One call of the model per batch, padded to its longest row, so bits depend on
the batch.

A trained encoder is a part of the classifier and of its state dict. A frozen one is in evaluation mode always, without
gradients, and not in the state dict: its name says where it is. Alec Radford et al., "Learning Transferable Visual Models
From Natural Language Supervision", ICML 2021, arXiv 2103.00020. Nils Reimers, Iryna Gurevych, "Sentence-BERT: Sentence
Embeddings using Siamese BERT-Networks", EMNLP 2019, arXiv 1908.10084.

Deviations: the paper cuts at 76 tokens and does not say whether marks count (CLIP has room for 77, two of them marks).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from modicum.errors import ConfigError
from modicum.retrieval.text import LIMIT, AbstractTextEncoder, Texts


class Padded(NamedTuple):
    """Token numbers (B, n) and which of them are there (B, n), 1 or 0; the others are padding at the end."""

    ids: Tensor
    mask: Tensor


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without transformers' table of the weights of a whole CLIP that a text tower does not need, and without bars."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _loaded(name: str, model: str, online: bool) -> tuple[Any, nn.Module]:
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f'text {name!r}: needs transformers; install it with pip install "modicum[text]"') from error
    local = not online
    try:
        with _quiet(transformers.utils.logging), torch.random.fork_rng(devices=[]):
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=local)
            config = transformers.AutoConfig.from_pretrained(name, local_files_only=local)
            if hasattr(config, "text_config"):  # of a whole CLIP; the width of its projection stands outside
                config.text_config.projection_dim = config.projection_dim
                config = config.text_config
            if model.startswith("CLIP") and not config.model_type.startswith("clip"):
                raise ValueError(f"it is a {config.model_type}, not a CLIP")
            found, info = getattr(transformers, model).from_pretrained(
                name, config=config, local_files_only=local, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        hint = "" if online else "; downloads need --online"
        expected = f"expected a folder or hub id with a tokenizer and the safetensors of a {model}"
        raise ConfigError(f"text {name!r}: {expected} ({reason}){hint}") from error
    lacking = [key for key in info["missing_keys"] if not key.startswith("pooler.")]  # the pooler is not used
    if lacking:
        raise ConfigError(f"text {name!r}: its weights lack {', '.join(sorted(lacking)[:3])}; expected a {model}")
    return tokenizer, found


class TokenRows:
    """Token numbers of texts, told once per text and kept. marks: what the model wants before and after a text."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[str, list[int]] = {}
        bare = self._split("a")
        whole = list(tokenizer("a")["input_ids"])
        at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), len(whole)) if bare else len(whole)
        self.marks = whole[:at], whole[at + len(bare) :]
        self.room = limit - len(self.marks[0]) - len(self.marks[1])
        if self.room < 1:
            raise ConfigError(f"text limit: {limit} tokens leave no room for a text beside the model's marks")
        self.pad = tokenizer.pad_token_id or 0

    def _split(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def row(self, texts: Sequence[str]) -> list[int]:
        """Numbers of the texts one after another, first text first, cut to the limit, between the marks."""
        found: list[int] = []
        for text in texts:
            if text not in self._texts:
                self._texts[text] = self._split(text[: 64 * self.room])[: self.room]
            found += self._texts[text]
            if len(found) >= self.room:
                break
        return [*self.marks[0], *found[: self.room], *self.marks[1]]

    def padded(self, texts: Texts, device: torch.device) -> Padded:
        """Rows of a batch, filled up to the longest one; at least one column."""
        rows = [self.row(row) for row in texts]
        length = max([1, *map(len, rows)])
        ids = torch.tensor([row + [self.pad] * (length - len(row)) for row in rows], dtype=torch.int64)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=torch.int64)
        return Padded(ids.reshape(-1, length).to(device), mask.reshape(-1, length).to(device))


class AbstractTransformerText(AbstractTextEncoder):
    """A language model and its tokens. trained: gradients reach the model, and it is saved with the classifier."""

    def __init__(self, name: str, model: str, trained: bool, limit: int, online: bool) -> None:
        super().__init__()
        tokenizer, found = _loaded(name, model, online)
        self.name, self.trained = name, trained
        self.rows = TokenRows(tokenizer, min(limit, getattr(found.config, "max_position_embeddings", limit)))
        self._frozen: tuple[nn.Module, ...] = () if trained else (found.eval().requires_grad_(False),)
        self.model: nn.Module | None = found if trained else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AbstractTransformerText:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for model in self._frozen:
            model._apply(fn)  # type: ignore[no-untyped-call]
        return self

    @abstractmethod
    def pooled(self, model: nn.Module, batch: Padded) -> Tensor:
        """Vectors (B, T) of a padded batch."""

    def forward(self, texts: Texts) -> Tensor:
        """Vectors (B, T), by one call of the model."""
        model = self._frozen[0] if self.model is None else self.model
        batch = self.rows.padded(texts, next(model.parameters()).device)
        with torch.set_grad_enabled(self.trained and torch.is_grad_enabled()):
            return self.pooled(model, batch)


@final
class CLIPText(AbstractTransformerText):
    """The text tower of a CLIP with its projection; trained by default, as in RAC's paper."""

    def __init__(self, name: str, trained: bool = True, limit: int = LIMIT, online: bool = False) -> None:
        super().__init__(name, "CLIPTextModelWithProjection", trained, limit, online)
        model = self._frozen[0] if self.model is None else self.model
        self.n_features = int(model.config.projection_dim)  # type: ignore[union-attr, arg-type]

    def pooled(self, model: nn.Module, batch: Padded) -> Tensor:
        """Projected state (B, T) at the end mark."""
        vectors: Tensor = model(input_ids=batch.ids, attention_mask=batch.mask).text_embeds
        return vectors


@final
class SentenceText(AbstractTransformerText):
    """Any text encoder; the mean over the tokens that are there, marks included, 0 where there is none."""

    def __init__(self, name: str, trained: bool = False, limit: int = LIMIT, online: bool = False) -> None:
        super().__init__(name, "AutoModel", trained, limit, online)
        model = self._frozen[0] if self.model is None else self.model
        self.n_features = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def pooled(self, model: nn.Module, batch: Padded) -> Tensor:
        """Mean (B, T) of the last states."""
        seen = batch.mask.clone()
        seen[:, 0] = 1  # a row without any token would make attention undefined; it still counts for nothing below
        states = model(input_ids=batch.ids, attention_mask=seen).last_hidden_state
        mask = batch.mask[..., None].to(states.dtype)
        vectors: Tensor = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        return vectors

"""Texts of neighbours -> one vector per picture, without a language model: bags of random or of given word vectors.

The k texts of a picture's neighbours are put one after another, nearest first, and cut after 76 tokens, so what is cut is
the text of the farthest. With w_1..w_m the words that are left and v(w) the vector of a word,

    mean: T = (1 / m) sum_i v(w_i)        sum: T = sum_i v(w_i)        m = 0: T = 0

| encoder | v(w) |
|---|---|
| `RandomWords` | uniform on [0, 1) less 1/2, 300 numbers, a function of (seed, word) alone |
| `WordVectors` | a line of a file in GloVe's text format; words without a line count for the limit, not in m |

A token is a run of letters and digits, lower-cased: "Apple_tree" is two. Alexander Long et al. (RAC, CVPR 2022, arXiv
2202.11233, figure 4) say neither how words are split nor whether a bag is a mean or a sum, which for vectors that are all
positive is the difference between a bounded and a growing length: ours is the mean, the sum an option. Their vectors are
uniform on [0, 1); ours are less 1/2, as `centred` says, because a mean of positive vectors is nearly the same for all
pictures, and what the linear layer makes of it an offset that the two branches cancel between them. With the layer's bias
the functions of the mean are the same ones; they are found in fewer steps (docs/benchmarks.md). Jeffrey Pennington,
Richard Socher, Christopher D. Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modicum.errors import ConfigError, DataError
from modicum.runtime import philox

LIMIT = 76
"""Tokens of a picture that are read, as published."""
Texts = Sequence[Sequence[str]]
Pooling = Literal["mean", "sum"]
_WORD = re.compile(r"[^\W_]+")
_ROWS = 256  # the table of vectors grows by doubling from here


def words_of(text: str, limit: int = LIMIT) -> list[str]:
    """The first `limit` words of a text, lower-cased; reads no further than it must."""
    found: list[str] = []
    for match in _WORD.finditer(text):
        if len(found) >= limit:
            break
        found.append(match[0].lower())
    return found


def tokens(texts: Sequence[str], limit: int = LIMIT) -> list[str]:
    """The words of several texts one after another, first text first, cut after `limit`."""
    found: list[str] = []
    for text in texts:
        found += words_of(text, limit - len(found))
        if len(found) >= limit:
            break
    return found


class AbstractTextEncoder(nn.Module, ABC):
    """Texts of neighbours -> vectors. n_features: their length T; trained: whether gradients reach parameters of it."""

    n_features: int
    trained: bool

    @abstractmethod
    def forward(self, texts: Texts) -> Tensor:
        """Vectors (B, T) of B lists of texts, each nearest first; no text at all is allowed and gives what `""` gives."""


class AbstractWordBag(AbstractTextEncoder):
    """Mean or sum of word vectors. Without parameters, and with nothing in the state dict: vectors are looked up anew.

    A text's words are told apart once and kept, cut at the limit, so a step costs one addition per word. Row 0 of the
    table stands for words without a vector. A bag's bits do not depend on the other bags of its batch.
    """

    trained = False
    table: Tensor

    def __init__(self, n_features: int, pooling: Pooling, limit: int) -> None:
        super().__init__()
        if n_features < 1 or limit < 1:
            raise ConfigError(f"text: expected at least one feature and one token, found {n_features} and {limit}")
        if pooling not in ("mean", "sum"):
            raise ConfigError(f"text pooling: expected 'mean' or 'sum', found {pooling!r}")
        self.n_features, self.limit = n_features, limit
        self.pooling: Pooling = pooling
        self.register_buffer("table", torch.zeros(_ROWS, n_features), persistent=False)
        self._rows: dict[str, int] = {}
        self._texts: dict[str, list[int]] = {}
        self._used = 1

    @abstractmethod
    def vector(self, word: str) -> npt.NDArray[np.float32] | None:
        """The vector (T,) of a lower-cased word, None where there is none."""

    def _row(self, word: str) -> int:
        row = self._rows.get(word)
        if row is None:
            vector = self.vector(word)
            row = self._rows[word] = 0 if vector is None else self._kept(vector)
        return row

    def _kept(self, vector: npt.NDArray[np.float32]) -> int:
        with torch.inference_mode(False):  # a table grown while predicting has to serve training later
            if self._used == len(self.table):
                self.table = torch.cat([self.table, torch.zeros_like(self.table)])
            self.table[self._used] = torch.from_numpy(vector).to(self.table)
        self._used += 1
        return self._used - 1

    def _rows_of(self, text: str) -> list[int]:
        found = self._texts.get(text)
        if found is None:
            found = self._texts[text] = [self._row(word) for word in words_of(text, self.limit)]
        return found

    def forward(self, texts: Texts) -> Tensor:
        """Vectors (B, T), in the table's precision."""
        rows: list[int] = []
        starts: list[int] = []
        for row in texts:
            starts.append(len(rows))
            end = len(rows) + self.limit
            for text in row:
                rows += self._rows_of(text)
                if len(rows) >= end:
                    del rows[end:]
                    break
        device = self.table.device
        at, offsets = (torch.tensor(part, dtype=torch.int64, device=device) for part in (rows, starts))
        return F.embedding_bag(at, self.table, offsets, mode=self.pooling, padding_idx=0)


@final
class RandomWords(AbstractWordBag):
    """A random vector per word: no file, no download, the same on every machine.

    centred: uniform on [-1/2, 1/2), else on [0, 1), as published.
    """

    def __init__(
        self, seed: int = 0, n_features: int = 300, pooling: Pooling = "mean", limit: int = LIMIT, *, centred: bool = True
    ) -> None:
        super().__init__(n_features, pooling, limit)
        self.seed, self.centred = seed, centred

    def vector(self, word: str) -> npt.NDArray[np.float32]:
        """The vector (T,) of a word, a function of (seed, word)."""
        drawn = philox(self.seed, f"retrieval/word/{word}", 0).random(self.n_features, dtype=np.float32)
        return drawn - np.float32(0.5) if self.centred else drawn


def _finite(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(vector).all():
        raise ValueError("numbers that are not finite")
    return vector


def read_word_vectors(file: Path | str, words: Collection[str] | None = None) -> dict[str, npt.NDArray[np.float32]]:
    """Word -> vector (T,) of a text file with a word and T numbers per line (GloVe; word2vec's first line is passed over).

    words: only these, lower-cased; None for all (GloVe's largest file then takes 2.6 GB). `DataError`: no such file, a line
    of another length, not numbers.
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    length = 0
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    continue
                length = length or len(parts) - 1
                word, values = " ".join(parts[:-length] if length else parts), parts[-length:] if length else []
                if not word or not length:
                    raise DataError(f"word vectors: {file}, line {number}: expected a word and {length or 'its'} numbers")
                if words is None or word in words:
                    found.setdefault(word, _finite(np.array(values, np.float32)))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"line {number}: {error}"
        raise DataError(f"word vectors: cannot read {file} ({reason})") from error
    if not length:
        raise DataError(f"word vectors: {file} is empty; expected a word and its numbers per line")
    return found


@final
class WordVectors(AbstractWordBag):
    """Vectors from a file, `read_word_vectors`; words are looked up in lower case."""

    def __init__(
        self, file: Path | str, pooling: Pooling = "mean", limit: int = LIMIT, words: Collection[str] | None = None
    ) -> None:
        self.file = str(file)
        found = read_word_vectors(file, words)
        if not found:
            raise DataError(f"word vectors: none of the {len(words or ())} words asked for is in {file}")
        super().__init__(len(next(iter(found.values()))), pooling, limit)
        self._vectors = found

    def vector(self, word: str) -> npt.NDArray[np.float32] | None:
        """The vector (T,) of a word that the file has, else None."""
        return self._vectors.get(word)

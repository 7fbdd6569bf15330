"""What has no shape, no length or no such name is refused with a message of ours, whatever numpy or torch says of it."""

from __future__ import annotations

import pytest
import torch

from modicum.errors import ConfigError, DataError
from modicum.memory import inputs
from modicum.memory.types import MemoryInfo

WRONG = {
    "rows of two lengths": lambda: inputs.as_rows([[1.0], [2.0, 3.0]], 2, "cosine", "this", keys=True),
    "a tensor that requires its gradient": lambda: inputs.as_rows(
        torch.ones(1, 2, requires_grad=True), 2, "cosine", "this", keys=True
    ),
    "a type that numpy lacks": lambda: inputs.as_rows(torch.ones(1, 2).bfloat16(), 2, "cosine", "this", keys=True),
    "ids of two lengths": lambda: inputs.as_ids([[1], [2, 3]], "this"),
    "names without a length": lambda: inputs.as_texts((name for name in "ab"), 2, "this"),
    "one name for many": lambda: inputs.as_texts("ab", 2, "this"),
    "a number for a name": lambda: inputs.as_texts([1], 1, "this"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_parameter_is_named(what):
    with pytest.raises(DataError, match=r"^this: expected .* found "):
        WRONG[what]()


def test_excluded_ids_of_two_lengths_are_refused():
    """Pad with -1 instead."""
    with pytest.raises(DataError, match=r"exclude: expected ids, .*rows of one length; found list"):
        inputs.as_exclude([[1], [2, 3]], 2)
    assert inputs.as_exclude([[1, -1], [2, 3]], 2).tolist() == [[1, -1], [2, 3]]


def test_an_unknown_metric_is_refused():
    """It would have been taken for l2."""
    with pytest.raises(ConfigError, match="metric: expected one of cosine, l2, found 'euclidean'"):
        MemoryInfo(2, "euclidean")

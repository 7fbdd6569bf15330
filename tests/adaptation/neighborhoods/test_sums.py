"""The two sums in blocks: equal to plain lines, with derivatives that gradcheck accepts."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from modicum.adaptation.neighborhoods import sums

B, S, C, D, WIDTH = 2, 5, 3, 4, 2


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    """Of these shapes, float64, with derivatives."""
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


@pytest.fixture(params=[1, 12, 40, 1 << 20], ids=lambda block: f"block-{block}")
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Sizes from a number at a time to everything at once."""
    monkeypatch.setattr(sums, "BLOCK", request.param)
    monkeypatch.setattr(sums, "ROWS", 6)
    return int(request.param)


def test_shared_sums(block: int):
    """Against einsum, and gradcheck."""
    y, residual, outer = tensors((B, S), (C, S), (S, WIDTH))
    expected = torch.einsum("bj,cj,jo->bco", y, residual, outer)
    assert torch.allclose(sums.shared_sums(y, residual, outer), expected, atol=1e-12)
    assert torch.autograd.gradcheck(sums.shared_sums, (y, residual, outer))
    assert torch.autograd.gradcheck(lambda a, b: sums.shared_sums(a, b, outer.detach()), (y, residual))


def test_own_sums(block: int):
    """Against einsum, and gradcheck; also where keys and outer are one tensor, and where outer is constant."""
    y, layers, keys, values, outer = tensors((B, S), (B, C, D), (S, D), (C, S), (S, WIDTH))
    residual = torch.einsum("bcd,jd->bcj", layers, keys).softmax(1) - values
    expected = torch.einsum("bj,bcj,jo->bco", y, residual, outer)
    assert torch.allclose(sums.own_sums(y, layers, keys, values, outer), expected, atol=1e-12)
    assert torch.autograd.gradcheck(sums.own_sums, (y, layers, keys, values, outer))
    assert torch.autograd.gradcheck(lambda a, u, k, v: sums.own_sums(a, u, k, v, k), (y, layers, keys, values))
    ones = torch.ones(S, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, u, k, v: sums.own_sums(a, u, k, v, ones), (y, layers, keys, values))


@pytest.mark.parametrize("block", [1, 100, 1_000, 1 << 20])
def test_blocks_cover_every_query_and_entry_once_and_stay_small(block: int):
    """Each is at most `block` numbers, or as many rows as a product needs, one entry at a time."""
    for queries, classes, entries in itertools.product((1, 30), (2, 100), (1, 57)):
        seen = torch.zeros(queries, entries, dtype=torch.int)
        for b, j in sums.blocks(queries, classes, entries, block):
            part = seen[b, j]
            part += 1
            assert part.numel() * classes <= max(block, classes * min(queries, -(-sums.ROWS // classes)))
        assert bool((seen == 1).all())

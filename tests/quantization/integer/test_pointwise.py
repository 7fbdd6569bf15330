"""One pass over the data against torch's operations one by one, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modicum.errors import DataError
from modicum.quantization.integer import pointwise
from modicum.quantization.integer.pointwise import Pointwise, Range, max_pool


@pytest.mark.parametrize("shape", [(1, 5, 7, 3), (2, 3, 3, 64), (4, 600), (1, 1, 1, 512), (0, 4, 4, 8)])
@pytest.mark.parametrize("act", ["", "relu", "leaky_relu"])
@pytest.mark.parametrize("by", [None, Range(3.7, 0, 15), Range(3.7, -8, 7), Range(64.0, 0, 255)])
def test_a_pass_is_torchs_operations_one_by_one(shape, act, by):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, *shape)).astype(np.float32)
    scale, shift = rng.normal(size=(2, shape[-1])).astype(np.float32)
    x.reshape(-1)[:4] = 0.5 / 3.7  # at the border between two codes
    for constants in ((None, None), (scale, shift)):
        for other in (None, y):
            run = Pointwise(*constants, act, 0.1, True, by)
            numbers, codes = run(x, other)
            v = torch.from_numpy(x)
            v = v if constants[0] is None else v * torch.from_numpy(scale) + torch.from_numpy(shift)
            v = v if other is None else v + torch.from_numpy(y)
            v = F.relu(v) if act == "relu" else F.leaky_relu(v, 0.1) if act else v
            assert np.array_equal(numbers, v.numpy())
            if by is not None:
                q = torch.round(v * torch.tensor(by.inverse)).clamp(by.low, by.top).numpy()
                assert np.array_equal(codes, (q % 256).astype(np.uint8))
            assert (codes is None) == (by is None)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1], "ceil": False},
        {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1], "ceil": False},
        {"kernel": [3, 2], "stride": [2, 3], "padding": [1, 0], "dilation": [2, 1], "ceil": True},
        {"kernel": [2, 2], "stride": [3, 3], "padding": [1, 1], "dilation": [1, 1], "ceil": True},
    ],
)
@pytest.mark.parametrize("size", [(7, 9), (8, 5)])
def test_maxima_are_torchs(monkeypatch, options, size):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 256, (2, *size, 5)).astype(np.uint8)
    geometry = (options[name] for name in ("kernel", "stride", "padding", "dilation", "ceil"))
    wanted = F.max_pool2d(torch.from_numpy(codes.astype(np.float32)).permute(0, 3, 1, 2), *geometry)
    wanted = wanted.permute(0, 2, 3, 1).numpy()
    for compiled in (pointwise._compiled(), None):
        monkeypatch.setattr(pointwise, "_compiled", lambda found=compiled: found)
        assert np.array_equal(max_pool(codes, options), wanted)
        assert np.array_equal(max_pool(codes.astype(np.float32) - 128, options), wanted - 128)


def test_without_compiled_kernels_the_bits_are_the_same(monkeypatch):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 3, 4, 4, 32)).astype(np.float32)
    run = Pointwise(x[0, 0, 0], y[0, 0, 0], "leaky_relu", 0.1, True, Range(5.0, -16, 15))
    found = run(x, y)
    monkeypatch.setattr(pointwise, "_compiled", lambda: None)
    assert all(np.array_equal(a, b) for a, b in zip(run(x, y), found, strict=True))


@pytest.mark.parametrize("compiled", [True, False])
def test_arrays_that_c_would_read_beyond_are_refused(monkeypatch, compiled):
    if not compiled:
        monkeypatch.setattr(pointwise, "_compiled", lambda: None)
    x, c = np.zeros((1, 2, 2, 3), np.float32), np.zeros(3, np.float32)
    by = Range(1.0, 0, 3)
    for scale, shift, given, other in (
        (c[:2], c, x, None), (c, c.astype(np.float64), x, None), (c, None, x, None),
        (c, c, x.astype(np.int16), None), (None, None, x, x[..., :1]),
    ):  # fmt: skip
        with pytest.raises(DataError):
            Pointwise(scale, shift, "", 0.0, True, by)(given, other)
    with pytest.raises(DataError, match="found int8"):
        max_pool(x.astype(np.int8), {})
    numbers, codes = Pointwise(c[:0], c[:0], "", 0.0, True, by)(x[..., :0])
    assert numbers.shape == codes.shape == (1, 2, 2, 0)

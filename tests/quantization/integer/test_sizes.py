"""What a step will make is known before it runs, for every operation that can make more than it gets."""

from __future__ import annotations

import pytest
import torch
from random_networks import converted

from modicum.errors import ConfigError
from modicum.quantization.integer.network import IntegerNetwork
from modicum.quantization.integer.operations import operate
from modicum.quantization.integer.sizes import check_picture, check_size, numbers_of
from modicum.quantization.integer.steps import Step

X = torch.zeros(1, 6, 9, 7)
POOL = {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 1], "dilation": [1, 1]}


def step(op: str, **options: object) -> Step:
    return Step(op, (0,), (1,), options, {}, "here")


@pytest.mark.parametrize(
    ("op", "options", "operands"),
    [
        ("pad", {"pad": [1, 2, 3, 4], "value": 0.0}, [X]),
        ("pad", {"pad": [0, 0, 0, 0, 2, 3], "value": 0.0}, [X]),
        ("max_pool", {**POOL, "ceil": False}, [X]),
        ("max_pool", {**POOL, "ceil": True}, [X]),
        ("avg_pool", {**POOL, "ceil": True, "padded": True, "divisor": None}, [X]),
        ("adaptive_avg_pool", {"size": [20, 30]}, [X]),
        ("expand", {"shape": [6, 50, 50]}, [X[:, :, :1, :1]]),
        ("expand", {"shape": [-1, 9, 50]}, [X[..., :1]]),
        ("cat", {"axis": 1}, [X, X, X]),
        ("add", {}, [X[:, :, :1], X[..., :1]]),
        ("mul", {"number": 2.0}, [X]),
        ("relu", {}, [X]),
    ],
)
def test_numbers_are_those_of_the_value(op, options, operands):
    made = operate(op, operands, options).numel()
    expected = numbers_of(step(op, **options), operands)
    assert expected == made or (op == "expand" and expected >= made / 6)  # -1 keeps a side that is not looked up


@pytest.mark.parametrize("name", ["resnet20-8", "vgg7-16", "densenet40-bc", "timm/mobilenetv3_small_050"])
def test_numbers_of_every_step_of_whole_networks(name, monkeypatch):
    """As predicted, or fewer where a mean or a slice follows."""
    found = []

    def watched(step, operands, picture):
        found.append((step, numbers_of(step, operands)))
        check_size(step, operands, picture)

    monkeypatch.setattr("modicum.quantization.integer.network.check_size", watched)
    network = IntegerNetwork.from_module(converted(name), (3, 32, 32))
    put = []
    monkeypatch.setattr(network, "_put", lambda values, index, made: (put.append(made), values.update(
        zip(network.steps.steps[index].outputs, made if isinstance(made, tuple) else (made,), strict=True))))  # fmt: skip
    network(torch.rand(1, 3, 32, 32))
    assert len(put) == len(found)
    for (made, expected), value in zip(found, put, strict=True):
        for part in value if isinstance(value, tuple) else (value,):
            size = part.numel() if isinstance(part, torch.Tensor) else part.size
            assert size == expected or (size < expected and made.op in ("mean", "slice")), made.op


def test_what_is_out_of_proportion_is_refused():
    with pytest.raises(ConfigError, match=r"'pad' of here makes 24,000,000 numbers of one picture \(3, 8, 8\), more than"):
        check_size(step("pad", pad=[0, 1_993, 0, 1_991], value=0.0), [X], (3, 8, 8))
    with pytest.raises(ConfigError, match="have more than 67,108,864 numbers"):
        check_picture((3, 8192, 8192))
    check_picture((3, 4096, 4096))

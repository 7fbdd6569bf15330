"""Draws as pure functions of (seed, stream, counter)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.cli import main
from modicum.errors import ConfigError
from modicum.runtime import Ranks, device, philox, ranks, torch_generator

FROZEN = [956, 871, 302, 656]


def test_draws_repeat_and_differ_where_any_argument_differs() -> None:
    base = philox(1, "train", 5).random(8)
    assert (philox(1, "train", 5).random(8) == base).all()
    for other in (philox(2, "train", 5), philox(1, "test", 5), philox(1, "train", 6)):
        assert not np.isin(other.random(8), base).any()


def test_long_draws_of_neighbouring_counters_do_not_overlap() -> None:
    assert len(np.intersect1d(philox(0, "a", 0).random(100_000), philox(0, "a", 1).random(100_000))) == 0


def test_draws_do_not_change_between_versions() -> None:
    """Frozen numbers: published results name seeds, so these must never change."""
    assert philox(0, "train", 0).integers(0, 1000, 4).tolist() == FROZEN
    a = torch.rand(2, generator=torch_generator(3, "x"))
    assert torch.equal(a, torch.rand(2, generator=torch_generator(3, "x")))


def test_device_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="not a torch device"):
        device("toaster")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no GPU here"):
        device("cuda")


def test_ranks_as_torchrun_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks() == Ranks(1, 4)


def test_commands_that_share_no_work_refuse_several_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for command in (["compare", "a", "b"], ["reproduce", "table_5_3"]):
        assert main(command) == 2
        assert f"{command[0]} runs in one process, found 2" in capsys.readouterr().err

"""Regression tasks: the sinusoids of table 8 by hand, draws as pure functions of their number, tables of tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.episodes.regression import AbstractTaskDistribution, Sinusoids, TableTasks, Values, sine
from modicum.errors import ConfigError, DataError
from modicum.runtime import philox


def test_sine_by_hand() -> None:
    """2 sin(0.5 * pi + pi / 2) = 2 sin(pi) = 0, and 3 sin(pi / 2) = 3; adding the phase to x before w multiplies would give
    2 sin(3 pi / 4) = 1.41."""
    found = sine(np.array([[np.pi], [0.0]]), np.array([2.0, 3.0]), np.array([0.5, 7.0]), np.array([np.pi / 2, np.pi / 2]))
    np.testing.assert_allclose(found, [[0.0], [3.0]], atol=1e-15)


def test_a_task_is_the_sine_of_its_draws() -> None:
    """Written out: amplitude, frequency and phase first, then queries, then support points."""
    episode = Sinusoids(3, "test", torch.float64).episode([17], shots=5, queries=4)
    u = philox(3, "sinusoids/test", 17).random(12)
    amplitude, frequency, phase = 0.1 + 4.9 * u[0], 0.8 + 0.4 * u[1], np.pi * u[2]
    x = -5 + 10 * u[3:]
    y = amplitude * np.sin(frequency * x + phase)
    np.testing.assert_allclose(episode.query.x[0, :, 0].numpy(), x[:4], rtol=1e-15)
    np.testing.assert_allclose(episode.support.x[0, :, 0].numpy(), x[4:], rtol=1e-15)
    np.testing.assert_allclose(episode.query.y[0, :, 0].numpy(), y[:4], rtol=1e-14)
    np.testing.assert_allclose(episode.support.y[0, :, 0].numpy(), y[4:], rtol=1e-14)
    assert episode.n_out == 1


def test_draws_cover_the_published_ranges() -> None:
    """Over 2,000 tasks x reaches within 1 % of both ends, and the largest |y| within 2 % of the largest amplitude."""
    episode = Sinusoids(0, "train", torch.float64).episode(range(2_000), 5, 50)
    x, y = episode.query.x, episode.query.y
    assert -5 <= x.min() < -4.9
    assert 4.9 < x.max() <= 5
    assert 4.9 < y.abs().max() <= 5.0


@pytest.mark.parametrize("tasks", [Sinusoids(5, "val"), None])
def test_a_task_depends_on_its_number_only_and_shots_share_queries(tasks: AbstractTaskDistribution | None) -> None:
    tasks = tasks or TableTasks(table(), "table")
    alone, among = tasks.episode([13], 3, 4), tasks.episode(range(10, 20), 3, 4)
    assert torch.equal(alone.support.x[0], among.support.x[3])
    assert torch.equal(alone.query.y[0], among.query.y[3])
    more = tasks.episode([13], 5, 4)
    assert torch.equal(more.query.x, alone.query.x)
    assert torch.equal(more.support.x[:, :3], alone.support.x)
    assert not torch.equal(tasks.episode([14], 3, 4).support.x, alone.support.x)


def test_seeds_and_streams_draw_other_tasks() -> None:
    first = Sinusoids(0, "train").episode([0], 3, 2).support.x
    assert not torch.equal(Sinusoids(1, "train").episode([0], 3, 2).support.x, first)
    assert not torch.equal(Sinusoids(0, "test").episode([0], 3, 2).support.x, first)


def table(tasks: int = 4, rows: int = 12) -> Values:
    """Row r of task t holds x = 100 t + r and y = -x."""
    task = np.tile(np.arange(tasks), rows)
    x = (100 * task + np.repeat(np.arange(rows), tasks)).astype(np.float64)[:, None]
    return Values(task, x, -x, tuple(f"task {t}" for t in range(tasks)))


def test_rows_of_a_draw_are_different_rows_of_one_task() -> None:
    tasks = TableTasks(table(), "table", dtype=torch.float64)
    episode = tasks.episode(range(40), 3, 5)
    x = torch.cat([episode.support.x, episode.query.x], 1)[..., 0]
    owners = torch.div(x, 100, rounding_mode="floor")
    assert (owners == owners[:, :1]).all()
    assert owners[:, 0].tolist() == [tasks.task_of(t) for t in range(40)]
    assert all(len(set(row.tolist())) == 8 for row in x)
    assert torch.equal(episode.support.y, -episode.support.x)


def test_every_round_meets_every_task_once() -> None:
    tasks = TableTasks(table(), "table")
    rounds = [[tasks.task_of(4 * turn + place) for place in range(4)] for turn in range(6)]
    assert all(sorted(turn) == [0, 1, 2, 3] for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) > 1


def test_too_few_rows_names_the_task_and_the_largest_number_of_queries() -> None:
    values = table()
    keep = ~((values.task == 2) & (np.arange(48) >= 24))
    short = Values(values.task[keep], values.x[keep], values.y[keep], values.names)
    with pytest.raises(DataError, match=r"task 'task 2' of table has 6 \(1 of 4 .* works with 5 shots is 1"):
        TableTasks(short, "table").episode([0], 5, 5)


def test_sizes_are_checked() -> None:
    with pytest.raises(ConfigError, match="shots: expected at least 1, found 0"):
        Sinusoids().episode([0], 0, 5)

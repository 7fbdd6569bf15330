"""The baseline augmentation: hand-worked crops and jitters, and draws that depend on (seed, stream, task) only."""

from __future__ import annotations

import numpy as np
import torch

from modicum.augmentation.baseline import augment, colour_jitter, crop_and_flip, draw


def test_crop_and_flip_by_hand() -> None:
    """3x3 picture 1..9 padded by 1, window from row 0, column 2: its first row is padding, its last column is padding."""
    x = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    crop = crop_and_flip(x, torch.tensor([0]), torch.tensor([2]), torch.tensor([False]), 1)
    assert crop[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    mirrored = crop_and_flip(x, torch.tensor([0]), torch.tensor([2]), torch.tensor([True]), 1)
    assert mirrored[0, 0].tolist() == [[0, 0, 0], [0, 3, 2], [0, 6, 5]]


def test_middle_window_is_the_picture_itself() -> None:
    x = torch.rand(4, 3, 8, 8)
    two = torch.full((4,), 2)
    assert torch.equal(crop_and_flip(x, two, two, torch.zeros(4, dtype=torch.bool), 2), x)


def test_jitter_by_hand() -> None:
    """Brightness 1.5 then contrast 0.5 about the mean grey value; a factor on the distance to black would differ."""
    x = torch.tensor([0.2, 0.6]).reshape(1, 1, 1, 2)
    out = colour_jitter(x, torch.tensor([[1.5, 0.5, 1.0]]))
    assert torch.allclose(out.flatten(), torch.tensor([0.45, 0.75]))
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert torch.allclose(colour_jitter(red, torch.tensor([[1.0, 1.0, 0.0]])).flatten(), torch.full((3,), 0.299))
    assert torch.allclose(colour_jitter(red, torch.ones(1, 3)), red)


def test_batched_jitter_equals_the_loop() -> None:
    x, factors = torch.rand(5, 3, 6, 6), 0.6 + 0.8 * torch.rand(5, 3)
    alone = torch.cat([colour_jitter(x[i : i + 1], factors[i : i + 1]) for i in range(5)])
    assert torch.allclose(colour_jitter(x, factors), alone, atol=1e-7)


def test_draws_depend_on_the_task_number_not_on_the_batch() -> None:
    together, alone = draw(np.arange(10, 14), 6, 2, 3, "a"), draw(np.array([12]), 6, 2, 3, "a")
    for many, one in zip(together, alone, strict=True):
        assert (many[2] == one[0]).all()
    assert not (draw(np.array([12]), 6, 2, 4, "a").jitter == alone.jitter).any()
    assert set(draw(np.arange(50), 20, 2, 0, "b").top.ravel().tolist()) == {0, 1, 2, 3, 4}
    assert abs(draw(np.arange(50), 20, 2, 0, "b").flip.mean() - 0.5) < 0.06


def test_pictures_of_a_task_are_augmented_apart_and_tasks_alike_whatever_the_batch() -> None:
    x = torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8)
    draws = draw(np.array([4, 5]), 3, 2, 0, "c")
    both = augment(x, draws, 2)
    second = augment(x[1:], draw(np.array([5]), 3, 2, 0, "c"), 2)
    assert torch.equal(both[1:], second)
    same = augment(x[:, :1].expand(-1, 3, -1, -1, -1), draws, 2)
    assert not torch.equal(same[0, 0], same[0, 1])

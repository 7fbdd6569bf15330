"""The outer loss: weights of the steps, shares of a batch, and statistics for the buffers."""

from __future__ import annotations

import pytest
import torch

from modicum.adaptation.gradient.meta import meta_gradients, moved_buffers, multi_step_weights
from modicum.episodes.types import LabelledSet

from .small import make, pictures


def test_weights_of_the_steps_fade_to_the_last() -> None:
    """S = 5 over 10 outer steps: 1/5 each; half-way 1/10 and 6/10; a floor of 0.03/5; then the last alone."""
    assert multi_step_weights(5, 0, 10) == pytest.approx([0.2] * 5)
    assert multi_step_weights(5, 5, 10) == pytest.approx([0.1] * 4 + [0.6])
    assert multi_step_weights(5, 9, 10) == pytest.approx([0.02] * 4 + [0.92])
    assert multi_step_weights(5, 99, 100) == pytest.approx([0.006] * 4 + [0.976])
    assert multi_step_weights(5, 10, 10) == multi_step_weights(5, 0, 0) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_shares_of_a_batch_add_up(strategy: str) -> None:
    """Two processes with a task each, at a share of one half, have the gradient of one with both."""
    learner, _, _ = make(rule="alfa-both", start="l2f", strategy=strategy)
    episode = pictures()
    meta_gradients(learner, episode)
    together = [value.grad.clone() for value in learner.parameters()]
    learner.zero_grad()
    for e in range(2):
        one = episode._replace(
            support=LabelledSet(*(value[e : e + 1] for value in episode.support[:2])),
            query=LabelledSet(*(value[e : e + 1] for value in episode.query[:2])),
        )
        meta_gradients(learner, one, share=0.5)
    for value, expected in zip(learner.parameters(), together, strict=True):
        torch.testing.assert_close(value.grad, expected, rtol=1e-9, atol=1e-12)


def test_padded_queries_do_not_count() -> None:
    learner, _, _ = make(batch_norm="support")
    episode = pictures()
    keep = torch.tensor([[True, True, True, False]] * 2)
    padded = meta_gradients(learner, episode._replace(query=episode.query._replace(mask=keep)))
    bare = LabelledSet(episode.query.x[:, :3], episode.query.y[:, :3])
    fewer = meta_gradients(learner, episode._replace(query=bare))
    torch.testing.assert_close(padded.losses, fewer.losses, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", ["shared", "l2f"])
@pytest.mark.parametrize("strategy", ["loop", "grouped", "vmap"])
def test_buffers_move_towards_the_support_sets_statistics(strategy: str, start: str) -> None:
    """Of the first step, under the parameters it begins with; mean over tasks, a tenth of the way; the module stays."""
    learner, path, _ = make(start=start, strategy=strategy, batch_norm="running")
    episode = pictures()
    new = moved_buffers(learner, meta_gradients(learner, episode).found)
    means, variances = [], []
    for e in range(2):
        weight = path(episode, e)[0]["encoder.backbone.blocks.0.conv.weight"]
        values = torch.nn.functional.conv2d(episode.support.x[e], weight, padding=1).transpose(0, 1).flatten(1)
        means.append(values.mean(1))
        variances.append(values.var(1, correction=0))
    place = "model.encoder.backbone.blocks.0.norm.running_"
    torch.testing.assert_close(new[place + "mean"], 0.1 * torch.stack(means).mean(0).detach())
    torch.testing.assert_close(new[place + "var"], 0.9 + 0.1 * torch.stack(variances).mean(0).detach())
    assert not learner.model.get_buffer((place + "mean").removeprefix("model.")).any()

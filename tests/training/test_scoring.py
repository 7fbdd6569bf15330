"""What scoring finds beside the accuracy of gradient learners: how far each task's network is from the shared one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.rules import PlainRule
from modicum.adaptation.gradient.starts import SharedStart
from modicum.adaptation.learner import HeadLearner
from modicum.adaptation.protonet import ProtoNetHead
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.episodes.cutting import cut
from modicum.episodes.sampler import EpisodeSampler
from modicum.evaluation.travelled import distances
from modicum.runtime import Ranks
from modicum.training.scoring import TASKS_PER_CALL, score_tasks


def test_distances_are_those_of_the_networks_that_are_scored_in_the_tasks_order() -> None:
    """Over more than one chunk of tasks, of the first of two learners; heads have none."""
    labels = np.repeat(np.arange(4), 5)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 16, 16, 1), dtype=np.uint8)
    tasks = EpisodeSampler(labels, 2, 1, 1, seed=0).tasks(range(TASKS_PER_CALL + 2))
    learners = []
    for rate in (0.1, 0.3):
        model = LinearNetwork(build_encoder("conv4-32", ImageSpec(16, 1)), 2)
        moves = tuple(name for name, _ in model.named_parameters())
        learners.append(GradientLearner(model, SharedStart(), PlainRule(rate), moves, 2, steps=2))
    scores = score_tasks(learners, pixels, tasks, torch.device("cpu"))
    assert scores.travelled is not None
    adapted = learners[0].adapt(cut(pixels, tasks).support, 2)
    expected = distances(dict(learners[0].model.named_parameters()), [one.parameters for one in adapted.networks])
    assert scores.travelled.whole == pytest.approx(expected.whole, rel=1e-6)
    assert scores.travelled.layers == pytest.approx(expected.layers, rel=1e-6)
    assert scores.travelled.names == expected.names
    shares = [score_tasks(learners, pixels, tasks, torch.device("cpu"), here=Ranks(rank, 2)).travelled for rank in range(2)]
    layers = [share.layers for share in shares if share is not None]
    assert layers[0] + layers[1] == pytest.approx(expected.layers, rel=1e-6)
    assert (layers[0][1::2] == 0).all()
    head = HeadLearner(build_encoder("conv4-32", ImageSpec(16, 1)), ProtoNetHead())
    assert score_tasks([head], pixels, tasks, torch.device("cpu")).travelled is None

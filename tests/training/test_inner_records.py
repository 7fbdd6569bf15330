"""What a report is told of the inner loops: the numbers of the very steps that were taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modicum.adaptation.gradient.learner import GradientLearner
from modicum.adaptation.gradient.methods import gradient_learner
from modicum.adaptation.gradient.networks import LinearNetwork
from modicum.adaptation.gradient.support import cross_entropy
from modicum.backbones.batch_norm import forward_own
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.configs import Train
from modicum.episodes.cutting import cut
from modicum.episodes.sampler import EpisodeSampler
from modicum.training.inner_records import inner_records

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 1), np.uint8)
TASKS = EpisodeSampler(np.arange(40) % 4, 3, 2, 2, seed=0).tasks(range(4))


def learner(**options: object) -> GradientLearner:
    config = Train(data="", out="", ways=3, inner_steps=3, inner_rate=0.1, **options)  # type: ignore[arg-type]
    return gradient_learner(config, LinearNetwork(build_encoder("conv4-32", ImageSpec(16, 1)), 3), 3)


def test_losses_and_distances_of_maml_are_those_of_the_steps() -> None:
    """The first loss is the network's own; a plain rule leaves no rates; distances as an independent formula has them."""
    by = learner(method="maml")
    found = inner_records(by, PIXELS, TASKS, CPU, most=2)
    assert set(found) == {"inner_layers", "inner_losses", "inner_distance"}
    assert found["inner_losses"].shape == (2, 3)
    assert tuple(found["inner_layers"]) == by.moves
    before = dict(by.model.named_parameters())
    for t in range(2):
        support = cut(PIXELS, TASKS).support
        logits = forward_own(by.model, support.x[t], before)[0]
        expected = cross_entropy(logits, torch.nn.functional.one_hot(support.y[t], 3).float())
        assert found["inner_losses"][t, 0] == pytest.approx(expected.item(), abs=1e-5)
        assert found["inner_losses"][t, -1] < found["inner_losses"][t, 0]
        after = by.adapt(support._replace(x=support.x[t], y=support.y[t], id=None), 3).networks[0].parameters
        squares = [
            (((after[name][f] - value[f]) ** 2).sum() / (value[f] ** 2).sum()).item()
            for name, value in before.items()
            if value.dim() > 1
            for f in range(len(value))
        ]
        assert found["inner_distance"][t] == pytest.approx(np.sqrt(np.sum(squares)), rel=1e-4)


def test_rates_and_decays_of_alfa_are_those_that_were_applied() -> None:
    """theta_1 = beta theta_0 - alpha g_0 with the recorded numbers, for every moving tensor of a task."""
    by = learner(method="alfa")
    found = inner_records(by, PIXELS, TASKS, CPU, most=2)
    assert found["inner_alpha"].shape == found["inner_beta"].shape == (2, 3, len(by.moves))
    support = cut(PIXELS, TASKS).support
    one = support._replace(x=support.x[1], y=support.y[1], id=None)
    ((_, path),) = by.adapt(one, 3, trace=True).paths
    for place, name in enumerate(by.moves):
        alpha, beta = (float(found[f"inner_{part}"][1, 0, place]) for part in ("alpha", "beta"))
        expected = beta * path.parameters[0][name] - alpha * path.gradients[0][name]
        assert torch.allclose(path.parameters[1][name], expected, atol=1e-6), name


def test_attenuation_of_l2f_is_recorded_and_tasks_are_no_more_than_there_are() -> None:
    by = learner(method="l2f")
    found = inner_records(by, PIXELS, TASKS, CPU)
    assert found["inner_gamma"].shape == (4, len(by.moves))
    support = cut(PIXELS, TASKS).support
    ((_, path),) = by.adapt(support._replace(x=support.x[3], y=support.y[3], id=None), 3, trace=True).paths
    own = dict(by.model.named_parameters())
    for place, name in enumerate(by.moves):
        assert torch.allclose(path.parameters[0][name], found["inner_gamma"][3, place] * own[name], atol=1e-6), name

"""The schedules of WrapNet's stages, at the epochs they were published for."""

from __future__ import annotations

import pytest

from modicum.training.schedules import learning_rate_factor


@pytest.mark.parametrize(
    ("schedule", "epochs", "falls"), [("wrapnet", 200, (60, 120, 180)), ("wrapnet-imagenet", 60, (20, 40, 50))]
)
def test_a_tenth_at_each_published_epoch(schedule, epochs, falls):
    """A step an epoch: 1 before the first fall, 1/1000 from the third on."""
    factors = [learning_rate_factor(schedule, epoch, epochs) for epoch in range(epochs)]
    expected = [10.0 ** -sum(epoch >= fall for fall in falls) for epoch in range(epochs)]
    assert factors == pytest.approx(expected)

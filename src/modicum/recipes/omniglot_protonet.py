"""Omniglot, ProtoNet with conv4-64, one model for all four settings.

Paper: Jake Snell, Kevin Swersky, Richard Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017,
arXiv 1703.05175, table 1.
Command: modicum reproduce omniglot_protonet --scale cpu --root DIR
Cost: smoke under a minute; cpu about half an hour on 2 cores; full about one and a half hours on 2 cores.
Target: 5-way 98.8 % (1-shot) and 99.7 % (5-shot), 20-way 96.0 % and 98.9 %; the paper prints no intervals.

Setting: 28x28, Vinyals split with rotations as classes of their own, 60-way 1-shot training tasks with 5 queries a
class, one task a step, Adam at 1e-3 halved every 2,000 steps, squared Euclidean distance.

Deviations: the paper trains further on training and validation classes once the number of epochs is known; here the best
validation checkpoint is tested. It trains with 1 shot for 1-shot tests and with 5 shots for 5-shot tests; here the model
of 1-shot tasks serves all rows. It does not print its number of steps; after 20,000 the rate is below a thousandth of what
it was, so full stops there. cpu takes 4,500 steps and brings the rate to 0 along a cosine, which pays at so few steps.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.configs import Train
from modicum.recipes.recipe import Recipe, Row

FULL = Train(
    data="omniglot",
    out="",
    method="protonet",
    backbone="conv4-64",
    ways=60,
    shots=1,
    queries=5,
    batch=1,
    steps=20_000,
    learning_rate=1e-3,
    schedule="halving",
    halve_every=2_000,
    validation_ways=20,
    validation_shots=1,
)
CPU = replace(FULL, steps=4_500, schedule="cosine", validation_ways=5)
SMOKE = replace(FULL, ways=20, steps=10, validation_tasks=10, validate_every=10)

RECIPE = Recipe(
    title="Omniglot, ProtoNet conv4-64",
    source="Snell et al. 2017, table 1",
    models={"omniglot-conv4-64-protonet": {"smoke": SMOKE, "cpu": CPU, "full": FULL}},
    rows=(
        Row("5way-1shot", "omniglot-conv4-64-protonet", 5, 1, paper=0.988),
        Row("5way-5shot", "omniglot-conv4-64-protonet", 5, 5, paper=0.997),
        Row("20way-1shot", "omniglot-conv4-64-protonet", 20, 1, paper=0.960),
        Row("20way-5shot", "omniglot-conv4-64-protonet", 20, 5, paper=0.989),
    ),
    cost={"smoke": "under a minute", "cpu": "about half an hour on 2 cores", "full": "about 1.5 hours on 2 cores"},
)

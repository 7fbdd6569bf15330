"""The encoder "pictures" that ships with this package: CIFAR-FS, conv4-64 trained with the R2-D2 head.

Paper: none of its own; the head is that of Bertinetto et al. 2019 (arXiv 1805.08136), the backbone that of Snell et al.
2017. In few steps a ridge head teaches conv4-64 more than prototypes do, and conv4-r2d2 costs six times as much a picture.
Command: modicum reproduce encoder_pictures --scale cpu --root DIR, then
`modicum.recipes.encoders.export("results/runs/cifar-fs-conv4-64-r2d2-cpu-seed0", "pictures", OUT)`; any run of
`modicum train` with these options and a `modicum evaluate` serves as well.
Cost: smoke under a minute; cpu about half an hour on one core; full 60,000 steps of 8 tasks, for a GPU.
Target: the numbers in its model card; 0.3 MB in float16. What ships is the cpu scale.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.recipes import cifar_fs_protonet
from modicum.recipes.recipe import Recipe, Row

MODELS = cifar_fs_protonet.MODEL
NAME = "cifar-fs-conv4-64-r2d2"

RECIPE = Recipe(
    title='The shipped encoder "pictures"',
    source="trained for this package",
    models={NAME: {scale: replace(options, method="r2d2", normalize=False) for scale, options in MODELS.items()}},
    rows=(Row("5way-1shot", NAME, 5, 1), Row("5way-5shot", NAME, 5, 5)),
    cost=cifar_fs_protonet.RECIPE.cost,
)

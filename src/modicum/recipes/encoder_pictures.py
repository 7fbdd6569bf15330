"""The encoder "pictures" that ships with this package: CIFAR-FS, R2-D2 with conv4-r2d2.

Paper: none of its own; trained as `cifar_fs_r2d2` (Bertinetto et al. 2019, arXiv 1805.08136), which says what differs. Of
the backbones here it is the strongest whose float16 weights stay well under 10 MB.
Command: modicum reproduce encoder_pictures --scale full --root DIR, then
`modicum.recipes.encoders.export("results/encoder_pictures/runs/conv4-r2d2-full-seed0", "pictures", OUT)`; any run of
`modicum train` with these options and a `modicum evaluate` serves as well.
Cost: smoke under a minute; cpu about an hour on 2 cores; full 60,000 steps of 8 tasks, for a GPU.
Target: the numbers in its model card; 5.2 MB in float16.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.recipes import cifar_fs_r2d2

RECIPE = replace(
    cifar_fs_r2d2.RECIPE,
    title='The shipped encoder "pictures"',
    source="trained for this package",
    rows=tuple(replace(row, paper=None, paper_ci95=None) for row in cifar_fs_r2d2.RECIPE.rows),
)

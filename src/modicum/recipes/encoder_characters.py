"""The encoder "characters" that ships with this package: Omniglot, ProtoNet with conv4-64.

Paper: none of its own; trained as `omniglot_protonet` (Snell et al. 2017, arXiv 1703.05175), which says what differs.
Command: modicum reproduce encoder_characters --scale full --root DIR, then
`modicum.recipes.encoders.export("results/runs/omniglot-conv4-64-protonet-full-seed0", "characters", OUT)`; any run of
`modicum train` with these options and a `modicum evaluate` serves as well.
Cost: smoke under a minute; cpu about half an hour on 2 cores; full about one and a half hours on 2 cores.
Target: the numbers in its model card; 0.2 MB in float16.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.recipes import omniglot_protonet

RECIPE = replace(
    omniglot_protonet.RECIPE,
    title='The shipped encoder "characters"',
    source="trained for this package",
    rows=tuple(replace(row, paper=None) for row in omniglot_protonet.RECIPE.rows),
)

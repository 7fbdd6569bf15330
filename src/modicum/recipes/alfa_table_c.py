"""Table C of ALFA: table 1 again, beside other methods.

Paper: Baik et al., "Meta-Learning with Adaptive Hyperparameters", NeurIPS 2020, arXiv 2011.00209, table C (supplement).
Command: modicum reproduce alfa_table_c --scale cpu --seeds 0 1 2 --root DIR
Cost: as `alfa_table_1`, whose trainings these are; measuring them again takes about 15 minutes a seed.
Target: the numbers of `alfa_table_1`, every one.

Deviations: those of `alfa_table_1`. The rows that only table C has are other methods': matching networks, the LSTM
meta-learner, prototypical and relation networks, transductive propagation, SNAIL, AdaResNet, TADAM, activation to
parameter, LEO and MetaOpt. Of these the package has prototypical networks and MetaOpt, whose tables are `table_6_5` and
`table_5_3`; the rest are left out.
"""

from __future__ import annotations

from dataclasses import replace

from modicum.recipes import alfa_table_1
from modicum.recipes.alfa_tables import claims

RECIPE = replace(
    alfa_table_1.RECIPE,
    title="ALFA on random, MAML and L2F starts, once more",
    source="ALFA table C",
    cost={**alfa_table_1.RECIPE.cost, "cpu": "as alfa_table_1, whose trainings it shares"},
    claims=claims("alfa_table_c", alfa_table_1.ORDERS),
    absent="eleven other methods; prototypical networks and MetaOpt stand in table_6_5 and table_5_3",
)

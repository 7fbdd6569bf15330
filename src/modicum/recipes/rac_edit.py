"""What changing the memory of a trained RAC does, with no weight touched: add a source, relabel it, remove it.

Paper: Long et al., "Retrieval Augmented Classification for Long-Tail Visual Recognition", CVPR 2022, arXiv 2202.11233,
section 3.4: "we can dynamically add or remove datasets" (claimed there, not measured).
Command: modicum reproduce rac_edit --scale cpu --seeds 0 1 2 --root DATA
Cost: smoke half a minute, no data needed; cpu two minutes a seed on one idle core, beside what `rac_table_3` trains; full an
hour on a GPU.
Target: ours. Added: 50 pictures of each few-shot class that the long tail left out of training, with their labels.
Relabelled: all of them as the most frequent class. Removed: the whole source. After that every logit of every branch is
what it was, to the bit: the rows "logits changed" say of how many test pictures it is not, the last one which tensors of the
network are not.

The model was trained with its memory as it was before; that its base branch keeps saying the same bounds what edits can do.
"""

from __future__ import annotations

from modicum.recipes.long_tail_models import LT
from modicum.recipes.rac_tables import SHOWN, listed_models, names_of
from modicum.recipes.recipe import Claim, Order, Recipe, Row

STAGES = ("before", "added", "relabelled", "removed")
USED = names_of(LT, "rac")


def _name(stage: str, bucket: str) -> str:
    return f"{SHOWN[LT]}, {stage}, {bucket}"


def _order(upper: str, lower: str, bucket: str, claim: str) -> Order:
    return Order(_name(upper, bucket), _name(lower, bucket), claim)


REACHES = (
    _order("added", "before", "few", "items of few-shot classes lift these classes (our question)"),
    _order("added", "relabelled", "few", "it is their labels that do (our question)"),
)

RECIPE = Recipe(
    title="Editing the memory of a trained model",
    source="RAC, section 3.4; the experiment is ours",
    models=listed_models(LT, ("RAC",)),
    rows=(
        *(
            Row(_name(stage, bucket), USED, kind="edited", branch=stage, bucket=bucket)
            for stage in STAGES
            for bucket in ("many", "medium", "few", "all")
        ),
        *(Row(f"{SHOWN[LT]}, {stage}, logits changed", USED, kind="changed", branch=stage) for stage in STAGES[1:]),
        Row(f"{SHOWN[LT]}, tensors of the network changed", USED, kind="changed", branch="weights"),
    ),
    cost={
        "smoke": "half a minute, no data needed",
        "cpu": "two minutes a seed on one idle core, beside what rac_table_3 trains",
        "full": "an hour on a GPU",
    },
    orders=(*REACHES, _order("added", "before", "all", "they do not cost the other classes as much (our question)")),
    claims=(Claim("new items change predictions without touching weights", tuple(("rac_edit", o) for o in REACHES)),),
)

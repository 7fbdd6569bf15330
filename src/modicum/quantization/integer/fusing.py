"""Neighbouring float steps as one pass over the data: scale and shift, a sum, ReLU, codes.

    affine, add, (leaky) ReLU, codes        ->  pointwise          where each is read by the next alone
    max_pool, (leaky) ReLU, codes           ->  (leaky) ReLU, codes, code-pool

The second holds because neither ReLU nor rounding turns two numbers around (a leaky one of negative slope does, and stays
where it is); maxima of bytes cost less. Bits stay the same.
"""

from __future__ import annotations

from typing import Any

from modicum.quantization.integer.operations import rises
from modicum.quantization.integer.steps import Step, Steps

ACTS = ("relu", "leaky_relu")


class _Readers:
    """Who reads what in a list of steps."""

    def __init__(self, steps: tuple[Step, ...], output: int) -> None:
        self.steps = steps
        self.of: dict[int, list[int]] = {output: [-1]}
        for index, step in enumerate(steps):
            for place in step.inputs:
                self.of.setdefault(place, []).append(index)

    def only(self, index: int) -> int | None:
        """The only step that reads a step's value."""
        readers = self.of.get(self.steps[index].outputs[0], [])
        return readers[0] if len(readers) == 1 and readers[0] >= 0 else None


def _codes_before_maxima(steps: Steps) -> Steps:
    readers, places = _Readers(steps.steps, steps.output), steps.places
    placed: dict[int, list[Step]] = {}
    gone: set[int] = set()
    for index, pool in enumerate(steps.steps):
        if pool.op != "max_pool":
            continue
        after = readers.only(index)
        behind = None if after is None else steps.steps[after]
        act = after if behind is not None and behind.op in ACTS and rises(behind.op, behind.options) else None
        found = readers.only(act) if act is not None else after
        if found is None or steps.steps[found].op != "codes" or steps.steps[found].options["low"] != 0:
            continue
        made, place, codes = [], pool.inputs[0], steps.steps[found]
        if act is not None:
            made.append(steps.steps[act]._replace(inputs=(place,), outputs=pool.outputs))
            place = pool.outputs[0]
            gone.add(act)
        made.append(codes._replace(inputs=(place,), outputs=(places,)))
        made.append(pool._replace(op="code-pool", inputs=(places,), outputs=codes.outputs))
        places += 1
        gone.add(found)
        placed[index] = made
    kept = [step for i, old in enumerate(steps.steps) for step in placed.get(i, [] if i in gone else [old])]
    return steps._replace(steps=tuple(kept), places=places)


def _chain(readers: _Readers, index: int, gone: set[int]) -> list[int]:
    """Steps from one on that make one pass: affine, add, act, each at most once and in this order, and none that is gone."""
    found, order = [index], ("affine", "add", *ACTS)
    while (after := readers.only(found[-1])) is not None:
        last, step = readers.steps[found[-1]].op, readers.steps[after]
        if after in gone or step.op not in order or last in ACTS or order.index(step.op) <= order.index(last):
            break
        if step.op == "add" and len(step.inputs) != 2:
            break
        found.append(after)
    return found


def _one_pass(readers: _Readers, chain: list[int]) -> tuple[Step, int | None]:
    """The step that does what a chain does, and the codes it makes on the way."""
    steps = [readers.steps[index] for index in chain]
    inputs, arrays, options = steps[0].inputs, {}, {"act": "", "slope": 0.0}
    for position, step in enumerate(steps):
        if step.op == "affine":
            arrays = dict(step.arrays)
        elif step.op == "add" and position:
            before = steps[position - 1].outputs[0]
            inputs = (*inputs, step.inputs[1] if step.inputs[0] == before else step.inputs[0])
        elif step.op in ACTS:
            options = {"act": step.op, "slope": step.options.get("slope", 0.0)}
    value = steps[-1].outputs[0]
    behind = readers.of.get(value, [])
    codes = next((index for index in behind if index >= 0 and readers.steps[index].op == "codes"), None)
    numbers = any(index != codes for index in behind)
    made: dict[str, Any] = {**options, "numbers": numbers, "codes": None}
    outputs: tuple[int, ...] = (value,) if numbers else ()
    if codes is not None:
        made["codes"] = dict(readers.steps[codes].options)
        outputs += readers.steps[codes].outputs
    return Step("pointwise", inputs, outputs, made, arrays, steps[-1].where), codes


def _passes(steps: Steps) -> Steps:
    readers = _Readers(steps.steps, steps.output)
    placed: dict[int, Step] = {}
    gone: set[int] = set()
    for index, step in enumerate(steps.steps):
        eligible = step.op in ("affine", *ACTS) or (step.op == "add" and len(step.inputs) == 2)
        if index in gone or not eligible:
            continue
        chain = _chain(readers, index, gone)
        made, codes = _one_pass(readers, chain)
        if codes is None and len(chain) == 1 and step.op != "affine":
            continue
        gone.update(chain if codes is None else (*chain, codes))
        placed[chain[-1]] = made  # the operands are there, and nobody has read the value yet
    kept = [placed.get(i, old) for i, old in enumerate(steps.steps) if i in placed or i not in gone]
    return steps._replace(steps=tuple(kept))


def fused(steps: Steps) -> Steps:
    """The same network in fewer passes."""
    return _passes(_codes_before_maxima(steps))

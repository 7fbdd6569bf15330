"""The models behind the tables of gradient adaptation; one training serves them all.

Named <data>-<backbone>-<method>-<shots>shot, which means the same training in every table.

Full scale, published settings. conv4-48, resnet12 (`resnet12-alfa`; Baik et al. 2020, arXiv 2011.00209, section 4.2 and
supplement E): 50,000 steps (100 epochs of 500) of 4 tasks (1-shot) or 2 (5-shot), 5-way, 15 queries, 5 inner steps at 0.01,
second order, no augmentation, batch norm by the statistics of each batch; tested is an ensemble of the five best of 100
validations. The paper names no optimiser; its released configurations have Adam at 1e-3 whose cosine schedule ends where it
begins, so the rate is constant, and no weight decay. conv4-32: MAML as Finn et al. 2017 (arXiv 1703.03400): 60,000 steps,
10 inner steps at test time, no ensemble; Reptile as Nichol et al. 2018 (arXiv 1803.02999, the transductive runs of the
released code): outer steps of 1 brought to 0 along a line, 15 training shots; 1-shot 100,000 steps of 10 tasks, 15 inner
steps on 5 pictures, 10 at test time; 5-shot 200,000 steps of 5 tasks, 8 inner steps on 10 pictures, 88 at test time.

Reduced scale: the same network and method on CIFAR-FS or FC100 at 32x32, with the numbers of `REDUCED`: fewer and smaller
steps, 5 queries, one validation, no ensemble.

Deviations: Reptile's inner steps are plain SGD at 0.01, as algorithm 4 of the dissertation has it, where its released code
has Adam at 1e-3 and 2.2e-4. The draw that "Random Init" stands for
is a run of one outer step at a rate of 1e-12, which leaves every weight of a float32 network as it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from modicum.configs import Scale, Train
from modicum.recipes import models
from modicum.recipes.models import CIFAR, MINI, Options

FC100 = "fc100"
CONV, RESNET, SMALL = "conv4-48", "resnet12", "conv4-32"
COEFFICIENTS = (1e-5, 2.5e-5, 5e-5, 7.5e-5, 1e-4, 2.5e-4, 5e-4)
"""Of weight clustering, table 5.10 of the dissertation."""


@dataclass(frozen=True)
class Size:
    """How small a training of the reduced scale is."""

    batch: int
    steps: int
    queries: int = 5
    inner_steps: int | None = None
    test_steps: int | None = None


REDUCED: Mapping[str, Size] = {
    "1-shot": Size(batch=1, steps=500),
    "5-shot": Size(batch=1, steps=250),
    "20-way": Size(batch=1, steps=100, queries=2),
    "reptile": Size(batch=5, steps=150, inner_steps=5, test_steps=15),
}
"""Trainings of a few minutes on one core. Everything that makes the reduced scale small stands here."""

ALFA = Train(
    data=MINI, out="", method="maml", backbone=CONV, ways=5, shots=5, queries=15, batch=2, steps=50_000, optimizer="adam",
    learning_rate=1e-3, schedule="constant", batch_norm="batch", inner_steps=5, inner_rate=0.01, keep_best=5,
    validate_every=500, validation_tasks=600, validation_shots=5,
)  # fmt: skip
FINN = replace(ALFA, backbone=SMALL, steps=60_000, test_steps=10, keep_best=0)
REPTILE = replace(
    FINN, method="reptile", shots=15, batch=5, steps=200_000, optimizer="sgd", learning_rate=1.0, schedule="linear",
    inner_steps=8, inner_batch=10, test_steps=88, validate_every=10_000,
)  # fmt: skip

ONE_SHOT: Mapping[str, int] = {"steps": 100_000, "batch": 10, "inner_steps": 15, "inner_batch": 5, "test_steps": 10}
"""What Reptile's 1-shot run on mini-ImageNet has in other sizes."""


def of_method(options: Train, method: str) -> Train:
    """Options of a training by the name the tables' models have for its method."""
    if method == "random":
        return replace(
            options, batch=1, steps=1, learning_rate=1e-12, keep_best=0, validate_every=1, validation_tasks=10
        )  # fmt: skip
    if method == "alfa-random":
        return replace(options, method="alfa", init="random")
    if method == "alfa-l2f":
        return replace(options, method="alfa", init="l2f")
    return replace(options, method=method)


def with_shots(options: Train, shots: int) -> Train:
    """Published options of MAML and ALFA for a number of shots."""
    return replace(options, shots=shots, batch=4 if shots == 1 else 2, validation_shots=shots)


def _reduced(options: Train, kind: str) -> Train:
    """The options at the reduced scale; a draw that is never trained stays one."""
    size = REDUCED[kind]
    small = replace(options, queries=size.queries, keep_best=0, validation_tasks=50)
    if options.steps == 1:
        return replace(small, validation_tasks=10)
    inner, test = size.inner_steps or options.inner_steps, size.test_steps or options.test_steps
    return replace(
        small, batch=size.batch, steps=size.steps, validate_every=size.steps, inner_steps=inner, test_steps=test
    )  # fmt: skip


def _scales(options: Train, kind: str) -> Options:
    """A training at every scale it has: mini-ImageNet and ResNet-12 are for full scale."""
    if options.data == MINI or options.backbone == "resnet12-alfa":
        return {"full": options}
    cpu = _reduced(options, kind)
    smoke = replace(cpu, steps=min(cpu.steps, 5), validate_every=min(cpu.steps, 5), validation_tasks=5)
    return {"smoke": smoke, "cpu": cpu, "full": options}


def _main() -> Iterator[tuple[str, Options]]:
    """Tables 1, 2, A to C and E: every start without and with ALFA."""
    for data in (CIFAR, FC100, MINI):
        for backbone in (CONV, RESNET):
            for shots in (1, 5):
                network = "resnet12-alfa" if backbone == RESNET else backbone
                base = with_shots(replace(ALFA, data=data, backbone=network), shots)
                for method in ("random", "alfa-random", "maml", "alfa", "l2f", "alfa-l2f"):
                    yield f"{data}-{backbone}-{method}-{shots}shot", _scales(of_method(base, method), f"{shots}-shot")


def _ablations() -> Iterator[tuple[str, Options]]:
    """Tables 4 to 7: 20-way, half a learning state, multipliers alone, other numbers of inner steps."""
    for data in (CIFAR, MINI):
        base = with_shots(replace(ALFA, data=data), 5)
        for method in ("maml", "alfa"):
            for shots in (1, 5):
                wide = with_shots(of_method(replace(base, ways=20, keep_best=0), method), shots)
                yield f"{data}-{CONV}-{method}-20way-{shots}shot", _scales(wide, "20-way")
        alfa = f"{data}-{CONV}-alfa"
        own = of_method(base, "alfa")
        yield f"{alfa}-weights-5shot", _scales(replace(own, alfa_state="weights"), "5-shot")
        yield f"{alfa}-gradients-5shot", _scales(replace(own, alfa_state="gradients"), "5-shot")
        for steps in (1, 2, 3, 4):
            yield f"{alfa}-{steps}step-5shot", _scales(replace(own, inner_steps=steps), "5-shot")
        for method in ("alfa", "alfa-random"):
            start = of_method(base, method)
            for ending, options in _adaptivities(start).items():
                yield f"{data}-{CONV}-{method}-{ending}-5shot", _scales(options, "5-shot")


def _adaptivities(start: Train) -> dict[str, Train]:
    """Table 6: one of learning rate and decay learned or generated, per step or per layer, the other as it starts."""
    found = {}
    for per in ("step", "layer"):
        one = replace(start, alfa_per=per)
        for how in ("learned", "generated"):
            found[f"alpha-{per}-{how}"] = replace(one, alfa_alpha=how, alfa_decay="fixed")
            found[f"beta-{per}-{how}"] = replace(one, alfa_alpha="fixed", alfa_decay=how)
    return found


def clustered(coefficient: float) -> str:
    """What a model of weight clustering is called, by its coefficient."""
    return f"reptile-wc-{coefficient:g}"


def _small() -> Iterator[tuple[str, Options]]:
    """Tables 5.5, 5.6 and 5.10 of the dissertation: conv4-32. Reptile learns the same way for any number of shots."""
    for shots in (1, 5):
        for data in (CIFAR, MINI):
            base = with_shots(replace(FINN, data=data), shots)
            for method in ("maml", "fomaml"):
                yield f"{data}-{SMALL}-{method}-{shots}shot", _scales(of_method(base, method), f"{shots}-shot")
        published = replace(REPTILE, **ONE_SHOT, validation_shots=1) if shots == 1 else REPTILE  # type: ignore[arg-type]
        for name, options in _reptiles(published):
            yield f"{MINI}-{SMALL}-{name}-{shots}shot", _scales(options, "reptile")
    for name, options in _reptiles(replace(REPTILE, data=CIFAR)):
        scales = _scales(options, "reptile")
        yield f"{CIFAR}-{SMALL}-{name}", {scale: scales[scale] for scale in ("smoke", "cpu")}


def _reptiles(base: Train) -> Iterator[tuple[str, Train]]:
    """Reptile and its clustered forms, by the ends of their names."""
    yield "reptile", base
    for coefficient in COEFFICIENTS:
        yield clustered(coefficient), replace(base, method="reptile-wc", clustering=coefficient)


MODELS: Mapping[str, Options] = {**dict(_main()), **dict(_ablations()), **dict(_small())}


def used(*names: str | None) -> dict[str, Mapping[Scale, Train]]:
    """The models of the given names, None left out, as `Recipe.models` takes them; those of chapter 5 are among them."""
    every = {**models.MODELS, **MODELS}
    return {name: every[name] for name in names if name is not None}

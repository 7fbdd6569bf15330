"""The trainings behind the tables of gradient adaptation: published settings, and small ones for one core."""

from __future__ import annotations

import pytest

from modicum.configs import Train
from modicum.recipes.gradient_models import COEFFICIENTS, MODELS, REDUCED, clustered
from modicum.recipes.runner import RECIPES, recipe_named


def differing(a: Train, b: Train) -> dict[str, tuple[object, object]]:
    """Options in which two trainings differ."""
    return {key: (vars(a)[key], vars(b)[key]) for key in vars(a) if vars(a)[key] != vars(b)[key]}


@pytest.mark.parametrize(
    ("shots", "batch", "backbone", "network"), [(1, 4, "conv4-48", "conv4-48"), (5, 2, "resnet12", "resnet12-alfa")]
)
def test_published_settings_of_alfa(shots: int, batch: int, backbone: str, network: str) -> None:
    found = MODELS[f"fc100-{backbone}-alfa-{shots}shot"]["full"]
    assert (found.data, found.backbone, found.method, found.ways, found.shots) == ("fc100", network, "alfa", 5, shots)
    assert (found.batch, found.steps, found.queries, found.inner_steps, found.inner_rate) == (batch, 50_000, 15, 5, 0.01)
    assert (found.optimizer, found.learning_rate, found.schedule, found.weight_decay) == ("adam", 1e-3, "constant", 0.0)
    assert (found.keep_best, found.steps // found.validate_every, found.batch_norm, found.augment) == (
        5,
        100,
        "batch",
        False,
    )
    assert (found.first_order, found.alfa_state, found.alfa_per, found.init) == (False, "both", "step-layer", "method")


def test_every_method_is_one_change_of_maml() -> None:
    base = MODELS["mini-imagenet-conv4-48-maml-5shot"]["full"]
    expected = {
        "alfa": {"method": ("maml", "alfa")},
        "alfa-random": {"method": ("maml", "alfa"), "init": ("method", "random")},
        "l2f": {"method": ("maml", "l2f")},
        "alfa-l2f": {"method": ("maml", "alfa"), "init": ("method", "l2f")},
        "alfa-weights": {"method": ("maml", "alfa"), "alfa_state": ("both", "weights")},
        "alfa-gradients": {"method": ("maml", "alfa"), "alfa_state": ("both", "gradients")},
        "alfa-3step": {"method": ("maml", "alfa"), "inner_steps": (5, 3)},
        "alfa-alpha-layer-learned": {
            "method": ("maml", "alfa"), "alfa_alpha": ("generated", "learned"), "alfa_decay": ("generated", "fixed"),
            "alfa_per": ("step-layer", "layer"),
        },
        "alfa-random-beta-step-generated": {
            "method": ("maml", "alfa"), "init": ("method", "random"), "alfa_alpha": ("generated", "fixed"),
            "alfa_per": ("step-layer", "step"),
        },
    }  # fmt: skip
    for method, changes in expected.items():
        for data, scale in (("mini-imagenet", "full"), ("cifar-fs", "cpu")):
            one = MODELS[f"{data}-conv4-48-maml-5shot"][scale]  # type: ignore[index]
            assert differing(one, MODELS[f"{data}-conv4-48-{method}-5shot"][scale]) == changes, method  # type: ignore[index]
    twenty = differing(base, MODELS["mini-imagenet-conv4-48-maml-20way-5shot"]["full"])
    assert twenty == {"ways": (5, 20), "keep_best": (5, 0)}


def test_a_random_start_without_a_rule_is_a_run_that_moves_nothing() -> None:
    found = MODELS["cifar-fs-conv4-48-random-1shot"]
    assert {scale: (options.steps, options.learning_rate) for scale, options in found.items()} == dict.fromkeys(
        ("smoke", "cpu", "full"), (1, 1e-12)
    )


def test_published_settings_of_reptile_and_maml_with_32_filters() -> None:
    one, five = (MODELS[f"mini-imagenet-conv4-32-reptile-{shots}shot"]["full"] for shots in (1, 5))
    assert (one.steps, one.batch, one.inner_steps, one.inner_batch, one.test_steps) == (100_000, 10, 15, 5, 10)
    assert (five.steps, five.batch, five.inner_steps, five.inner_batch, five.test_steps) == (200_000, 5, 8, 10, 88)
    assert {(found.shots, found.optimizer, found.learning_rate) for found in (one, five)} == {(15, "sgd", 1.0)}
    maml = MODELS["mini-imagenet-conv4-32-maml-1shot"]["full"]
    assert (maml.steps, maml.batch, maml.inner_steps, maml.test_steps, maml.keep_best) == (60_000, 4, 5, 10, 0)
    assert differing(maml, MODELS["mini-imagenet-conv4-32-fomaml-1shot"]["full"]) == {"method": ("maml", "fomaml")}


def test_clustering_differs_from_reptile_in_its_coefficient_only() -> None:
    for scale, base in (("full", "mini-imagenet-conv4-32-{}-1shot"), ("cpu", "cifar-fs-conv4-32-{}")):
        plain = MODELS[base.format("reptile")][scale]  # type: ignore[index]
        for coefficient in COEFFICIENTS:
            found = differing(plain, MODELS[base.format(clustered(coefficient))][scale])  # type: ignore[index]
            assert found.pop("method") == ("reptile", "reptile-wc")
            assert found in ({}, {"clustering": (5e-5, coefficient)})
    assert len(COEFFICIENTS) == 7


def test_reduced_trainings_are_small_and_equal_for_all_methods_of_a_kind() -> None:
    reduced = {name: scales["cpu"] for name, scales in MODELS.items() if "cpu" in scales}
    assert {options.data for options in reduced.values()} == {"cifar-fs", "fc100"}
    sizes = {
        (options.ways, options.shots, options.batch, options.steps, options.queries)
        for name, options in reduced.items()
        if options.steps > 1 and "reptile" not in name
    }
    one, five, wide = REDUCED["1-shot"], REDUCED["5-shot"], REDUCED["20-way"]
    assert sizes == {
        (5, 1, one.batch, one.steps, one.queries),
        (5, 5, five.batch, five.steps, five.queries),
        (20, 1, wide.batch, wide.steps, wide.queries),
        (20, 5, wide.batch, wide.steps, wide.queries),
    }
    for scales in MODELS.values():
        if "smoke" in scales:
            assert scales["smoke"].steps <= 5
            assert scales["smoke"].batch_norm == scales["cpu"].batch_norm == "batch"
            assert (scales["smoke"].keep_best, scales["cpu"].keep_best) == (0, 0)


def test_no_model_is_made_for_nothing() -> None:
    """Every full-scale model of mini-ImageNet, and every one that only the reduced scale has, stands in a table."""
    used = {model for name in RECIPES for model in recipe_named(name)[1].models}
    alone = {name for name, scales in MODELS.items() if len(scales) == 1 or "full" not in scales}
    assert alone - used == set()

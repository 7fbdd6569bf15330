"""The trainings behind the tables: the same for every row of a scale, and as published at full scale."""

from __future__ import annotations

import pytest

from modicum.recipes.models import MODELS, epoch_steps

REDUCED = {name: scales for name, scales in MODELS.items() if "cpu" in scales and "full" not in scales}


def test_reduced_models_take_the_same_number_of_steps_of_small_networks() -> None:
    assert {scales["cpu"].steps for scales in REDUCED.values()} == {1_000}
    assert {scales["cpu"].data for scales in REDUCED.values()} == {"cifar-fs"}
    assert {name.rsplit("-", 1)[0] for name, scales in REDUCED.items() if scales["cpu"].backbone != "conv4-64"} == {
        "conv4-32"
    }
    assert all(scales["smoke"].steps <= 5 for scales in REDUCED.values())
    assert len(REDUCED) == 8 + 2 * 4


def test_diversity_models_differ_from_their_base_in_what_is_restricted_only() -> None:
    for base in ("conv4-64-r2d2", "conv4-64-protonet"):
        expected = {
            "support5": {"support_pool": (None, 5)},
            "support5noise": {"support_pool": (None, 5), "support_noise": (False, True)},
            "query5": {"query_pool": (None, 5), "queries": (6, 5)},
            "task13": {"task_pool": (None, 13)},
        }
        for ending, differs in expected.items():
            a, b = vars(MODELS[base]["cpu"]), vars(MODELS[f"{base}-{ending}"]["cpu"])
            assert {key: (a[key], b[key]) for key in a if a[key] != b[key]} == differs


@pytest.mark.parametrize(
    ("name", "epochs", "regularizer", "coefficient"),
    [
        ("cifar-fs-conv4-r2d2-classical", 300, "none", None),
        ("mini-imagenet-resnet12-classical", 300, "none", None),
        ("cifar-fs-conv4-r2d2-classical-fc", 300, "feature-clustering", 0.05),
        ("mini-imagenet-conv4-r2d2-classical-hv", 300, "hyperplane-variation", 0.1),
        ("cifar-fs-resnet12-classical-fc", 300, "feature-clustering", 0.02),
        ("cifar-fs-resnet12-classical-hv", 300, "hyperplane-variation", 0.05),
        ("mini-imagenet-resnet12-classical-hv", 300, "hyperplane-variation", 0.1),
        ("cifar-fs-resnet12-metaoptnet-svm", 60, "none", None),
        ("mini-imagenet-conv4-r2d2-r2d2", 60, "none", None),
    ],
)
def test_published_epochs_and_coefficients(name: str, epochs: int, regularizer: str, coefficient: float | None) -> None:
    options = MODELS[name]["full"]
    assert options.steps / epoch_steps(options) == pytest.approx(epochs)
    assert options.regularizer == regularizer
    assert coefficient in (None, options.coefficient)


def test_published_shots_and_batches() -> None:
    cifar, mini = MODELS["cifar-fs-resnet12-r2d2"]["full"], MODELS["mini-imagenet-resnet12-r2d2"]["full"]
    assert (cifar.shots, mini.shots, cifar.batch, cifar.weight_decay) == (5, 15, 8, 5e-4)
    mct = MODELS["cifar-fs-resnet12-mct"]["full"]
    assert (mct.ways, mct.batch, mct.steps) == (15, 1, 50_000)
    large = MODELS["mini-imagenet-conv4-r2d2-classical"]["full"]
    assert (large.batch_pictures, large.warmup, large.weight_decay) == (256, 15 * 150, 1e-4)

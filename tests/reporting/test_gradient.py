"""What a page says about inner loops: labels, sentences, and pages of made-up runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modicum.reporting import write_report
from modicum.reporting.gradient import OPEN, compare_distances, inner_view
from modicum.reporting.records import Inner

Maker = Callable[..., Path]

NAMES = ("zero", "one", "two", "three", "four")
LAYERS = tuple(f"encoder.backbone.blocks.{i}.conv.weight" for i in range(OPEN + 2))


def made(place: str = "digits test", shots: int = 5, layers: tuple[str, ...] = LAYERS, seed: int = 0) -> Inner:
    rng = np.random.default_rng(seed)
    alpha = 0.2 + rng.normal(0, 1e-4, (30, 3, len(layers)))
    alpha[:, 2, 4] += 0.25
    losses = np.tile([1.6, 1.1, 0.7], (30, 1))
    return Inner(
        place, shots, (("shots", f"{shots}-shot"),), layers, losses, alpha, distances={shots: rng.uniform(1, 2, 30)}
    )


def shown(page: Path) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", " ", page.read_text(), flags=re.DOTALL)).split())


def test_sentences_name_the_layer_that_moves_and_how_the_loss_falls() -> None:
    view = inner_view([made()])
    assert view is not None
    (alpha,) = view.generated
    assert (alpha.symbol, alpha.step, len(alpha.figures), len(alpha.enlarged)) == (
        "α",
        3,
        2,
        2,
    )  # the last OPEN layers, then the rest
    assert "by layer (2.conv.weight, 3.conv.weight," in alpha.figures[0]
    assert "by layer (0.conv.weight, 1.conv.weight)" in alpha.figures[1]
    assert "over the steps they move most in 4.conv.weight, by 0.25" in alpha.told[0]
    assert view.fell == ["digits test: 1.6 before the first step, 0.7 before step 3"]
    assert view.gamma is None
    assert len(view.distances) == 1


def test_numbers_that_are_the_same_for_every_task_were_learned_not_generated() -> None:
    learned = np.tile([[0.1, 0.2], [0.1, 0.4]], (30, 1, 1))
    view = inner_view([Inner("digits test", 5, (), ("conv", "linear"), alpha=learned)])
    assert view is not None
    (alpha,) = view.generated
    assert not alpha.by_task
    assert alpha.enlarged == []
    assert alpha.told == [
        "digits test: medians of α lie between 0.1 and 0.4; over the steps they move most in linear, by 0.2."
    ]
    assert inner_view([made()]).generated[0].by_task  # type: ignore[union-attr]


def test_evaluations_on_one_data_set_are_told_apart_and_other_layers_are_not_drawn_beside() -> None:
    view = inner_view([made(), made(), made(shots=1), made("omniglot test"), made("clothing test", layers=LAYERS[:5])])
    assert view is not None
    assert [label for _, label, _ in view.legend] == [
        "digits test (5-shot)", "digits test (1-shot)", "omniglot test", "clothing test",
    ]  # fmt: skip
    assert len(view.generated[0].told) == 3
    assert [told.rsplit(" ", 1)[0] for told in view.medians] == [
        "digits test 1-shot", "digits test 5-shot", "omniglot test 5-shot", "clothing test 5-shot",
    ]  # fmt: skip


def test_nothing_recorded_is_nothing_shown() -> None:
    assert inner_view([]) is None
    assert inner_view([Inner("digits test", 5, ())]) is None
    assert compare_distances([("A", [made()]), ("B", [made("omniglot test")]), ("C", [])]) == []


def test_runs_that_met_the_same_data_share_a_histogram() -> None:
    (found,) = compare_distances([("A", [made(), made(seed=1)]), ("B", [made(seed=2), made("omniglot test")])])
    assert found.place == "digits test"
    median = np.median(made().distances[5])
    assert found.medians[0] == f"A 5-shot {median:.3g}"  # the first evaluation of each run
    assert len(found.medians) == 2
    assert len(found.figures) == 1


def test_page_of_a_run_shows_its_inner_loops_and_both_modes(tmp_path: Path, gradient_folder: Maker) -> None:
    nasty = ("encoder.<b>conv.weight", "linear.weight")
    run = gradient_folder(tmp_path / "run", NAMES, places=("digits", "<i>omniglot"), layers=nasty)
    page = write_report([run], tmp_path / "report.html")
    text = shown(page)
    assert "What seeing all new pictures at once is worth" in text
    assert text.count("seeing the other queries helps it") == 4  # two data sets, two numbers of shots
    assert "&lt;i&gt;omniglot test (40 tasks)" in text
    assert "<i>" not in page.read_text()
    assert "<b>conv" not in page.read_text()
    assert "over the steps they move most in linear.weight, by 0.2" in text
    assert "Generated β" in text
    assert "γ" not in text
    assert page.read_text().count("<svg ") == 8  # accuracy, curves, losses, 2 x (boxes, enlarged), distances
    assert "results/0.npz" in text
    said = text[text.index("How good is it?") : text.index("How sure is that?")]
    assert "all at once" not in said  # the sentence on how good it is speaks of what predict does
    assert said.count("names") == 4


def test_page_of_a_plain_rule_has_no_boxes_and_one_mode_no_pair(tmp_path: Path, gradient_folder: Maker) -> None:
    run = gradient_folder(tmp_path / "run", NAMES, generated=False, modes=("support",))
    text = shown(write_report([run], tmp_path / "report.html"))
    assert "What happens inside a task" in text
    assert "Generated" not in text
    assert "all new pictures at once" not in text


def test_page_of_another_run_says_nothing_of_inner_steps(tmp_path: Path, run_folder: Maker) -> None:
    text = shown(write_report([run_folder(tmp_path / "run", NAMES)], tmp_path / "report.html"))
    assert "inside a task" not in text
    assert "travel" not in text


def test_runs_are_compared_under_the_mode_of_predict_and_in_one_histogram(tmp_path: Path, gradient_folder: Maker) -> None:
    both = gradient_folder(tmp_path / "both", NAMES)
    one = gradient_folder(tmp_path / "one", NAMES, modes=("support",), seed=1)
    text = shown(write_report([both, one], tmp_path / "report.html"))
    compared = text[: text.index("Settings that differ")]
    assert "digits test: 5-way 1-shot: B minus A" in compared
    assert "How far the networks travel" in compared
    assert "5-way 1-shot, all at once" in compared


@pytest.mark.parametrize("batch_norm", ["batch", "support"])
def test_a_run_measured_in_one_mode_only_says_that_number(tmp_path: Path, gradient_folder: Maker, batch_norm: str) -> None:
    run = gradient_folder(tmp_path / "run", NAMES, modes=(batch_norm,))
    text = shown(write_report([run], tmp_path / "report.html"))
    assert "With 5 classes and 1 labelled picture of each it names" in text

"""A run's tensors in layers of another form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from modicum.configs import Quantize
from modicum.configs.low_bit import LowBit
from modicum.quantization.layers import low_bit_layers
from modicum.training.low_bit.begun import begun
from modicum.training.low_bit.forms import Form, accuracies, other_forms, write_copy
from modicum.training.low_bit.pipeline import quantize
from modicum.training.neighborhoods.runs import load_neighborhoods

Asking = Callable[..., Quantize]


@pytest.fixture(scope="module")
def made(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantize:
    """A quantised classifier of 8-bit sums, many of which overflow."""
    out = tmp_path_factory.mktemp("forms") / "out"
    asked = Quantize(str(classifier), str(out), steps=3, calibration=60, measure=False, threads=1, overflow=15, penalty=0.0)
    quantize(asked)
    return asked


def logits(run: Path, x: torch.Tensor) -> torch.Tensor:
    network = load_neighborhoods(run).network
    with torch.no_grad():
        return network.logits(network.features(x))


def test_a_copy_in_its_own_form_computes_the_same_and_in_others_something_else(made: Quantize, tmp_path: Path):
    out, begin, x = Path(made.out), begun(made), torch.randint(0, 256, (16, 1, 16, 16), dtype=torch.uint8)
    same = write_copy(out, begin, tmp_path / "same")
    assert torch.equal(logits(same, x), logits(out, x))
    others = {
        "exact": LowBit(accumulator=None), "naked": LowBit(cyclic="none"), "wide": LowBit(accumulator=16, cyclic="none"),
    }  # fmt: skip
    found = {name: logits(write_copy(out, begin, tmp_path / name, Form(name, form)), x) for name, form in others.items()}
    assert torch.equal(found["exact"], found["wide"])  # no sum of 288 codes of 8 bits leaves 16 bits
    assert not torch.equal(found["exact"], logits(out, x))
    assert not torch.equal(found["naked"], logits(out, x))


def test_the_forms_that_are_tried(asking: Asking, classifier: Path):
    def names(**options: object) -> list[str]:
        return [form.name for form in other_forms(asking(classifier, **options), None, None)]  # type: ignore[arg-type]

    exact, naked = "exact 32-bit sums", "8-bit sums that wrap, no cyclic function"
    assert names() == [exact, naked, "(c) carries of neighbours, their means taken away"]
    assert names(weights="3") == [exact, naked]
    assert names(carries="simulate") == [exact, naked, "(v) no carries of neighbours"]
    assert names(carries="buffer") == [exact, "7-bit sums that wrap, no cyclic function"]
    assert names(accumulator="none") == [naked]
    assert names(accumulator="none", step_bits=12) == ["12-bit sums that wrap, no cyclic function"]
    assert names(weights="float") == names(accumulator="none", activations="float") == []


def test_carries_are_let_through_in_a_copy_alone(made: Quantize, tmp_path: Path):
    from modicum.training.low_bit.stages import Stages, encoder_of

    out, begin = Path(made.out), begun(made)
    pictures = Stages(made, begin, 1, None).pictures
    assert len(pictures) == 60
    form = other_forms(made, None, pictures)[-1]  # type: ignore[arg-type]
    copied = write_copy(out, begin, tmp_path / "carried", form)
    layers = [low_bit_layers(encoder_of(run, begin)) for run in (out, copied)]
    assert [int(layer.carry) for layer in layers[0].values()] == [0, 0, 0]
    assert [int(layer.carry) for layer in layers[1].values()] == [1, 1, 1]
    assert layers[1]["blocks.3.conv"].carry_mean.shape == (32, 2, 2)


def test_accuracy_is_that_of_the_held_out_pictures_by_the_copy(made: Quantize):
    """Counted here picture by picture."""
    import numpy as np

    from modicum.training.supervised_tests import tested_pictures

    out, begin = Path(made.out), begun(made)
    loaded = load_neighborhoods(out)
    tested = tested_pictures(loaded, "test", None, None, None, None)
    pixels = torch.from_numpy(np.ascontiguousarray(tested.pictures.pixels[tested.rows])).permute(0, 3, 1, 2)
    right = (logits(out, pixels).argmax(1).numpy() == tested.labels).mean()
    found = accuracies(out, begin, made)
    assert found["test"] is not None
    assert found["test"]["accuracy"] == pytest.approx(right, abs=2 / len(tested.labels))
    assert found["val"] is not None

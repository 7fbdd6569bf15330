"""The stages of `quantize`: what each leaves, that a stop loses nothing, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modicum.backbones.encoder import ImageSpec
from modicum.configs import Evaluate, Quantize, Train
from modicum.errors import ConfigError, DataError, FileFormatError, WriteError
from modicum.files import read_json, read_tensors, write_json
from modicum.models import load_encoder
from modicum.quantization.layers import low_bit_layers
from modicum.training.checkpoints import LAST
from modicum.training.evaluate import evaluate
from modicum.training.low_bit.pipeline import quantize
from modicum.training.neighborhoods.runs import load_neighborhoods
from modicum.training.runs import read_record

Asking = Callable[..., Quantize]
ENDING = "+low-bit-binary-8-smooth-2"
LAYERS = ["blocks.1.conv", "blocks.2.conv", "blocks.3.conv"]


def buffers(run: Path, name: str) -> list[float]:
    """A buffer of all low-bit layers of the encoder that a run keeps."""
    return [float(getattr(layer, name)) for layer in low_bit_layers(load_encoder(run)).values()]


@pytest.fixture(scope="module")
def made(few_shot: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A quantised few-shot run with everything measured, and its result."""
    out = tmp_path_factory.mktemp("made") / "out"
    result = quantize(Quantize(str(few_shot), str(out), steps=4, calibration=60, threads=1))
    return out, result.record


def test_every_stage_is_a_run_of_the_low_bit_backbone(made):
    out, _ = made
    for folder, stage in ((out / "weights", 0), (out / "warm-up", 1), (out, 2)):
        config, record = read_record(folder)
        assert (config.backbone, config.steps, config.schedule) == (f"conv4-32{ENDING}", 4, "wrapnet")
        assert record["low_bit"]["from"] == "run"
        assert buffers(folder, "stage") == [stage] * 3


def test_steps_are_chosen_before_the_warm_up_and_then_fixed(made):
    out, record = made
    chosen = [row["step"] for row in read_record(out / "warm-up")[1]["low_bit"]["calibration"]]
    assert (
        chosen == buffers(out / "warm-up", "step") == buffers(out, "step") == [row["step"] for row in record["layers"][1:]]
    )
    assert buffers(out / "weights", "step") == [1.0] * 3


def test_the_result_tells_of_layers_stages_accumulators_and_costs(made):
    out, record = made
    assert record == read_json(out / "results" / "low_bit.json")
    assert [row["name"] for row in record["layers"]] == ["blocks.0.conv", *LAYERS]
    assert [row["stage"] for row in record["layers"]] == ["float", "codes", "codes", "codes"]
    first = record["layers"][1]
    assert (first["shape"], first["fan_in"], first["macs"]) == ([32, 32, 3, 3], 288, 32 * 8 * 8 * 288)
    assert [row["name"] for row in record["stages"]] == ["weights", "warm-up", "codes"]
    assert [row["name"] for row in record["accumulators"]] == [
        "as trained", "exact 32-bit sums", "8-bit sums that wrap, no cyclic function",
        "(c) carries of neighbours, their means taken away",
    ]  # fmt: skip
    assert all(0 < row[split]["accuracy"] < 1 for row in record["accumulators"] for split in ("val", "test"))
    network, whole = record["cost"]["network"], record["cost"]["reference"]
    assert network["macs"] == whole["macs"] == sum(row["macs"] for row in record["layers"])
    assert whole["energy"] == pytest.approx(2 * whole["macs"] * 428e-6)
    assert network["energy"] < whole["energy"] / 2


def test_the_accuracy_as_trained_is_what_evaluate_says(made):
    out, record = made
    found = evaluate(Evaluate(str(out), ways=3, shots=[1], tasks=4, pictures=False))["rows"][0]
    assert record["accumulators"][0]["test"]["accuracy"] == found["accuracy"]
    assert sorted(path.name for path in (out / "results").iterdir() if "3way" not in path.name) == ["low_bit.json"]


def test_measuring_leaves_no_results_in_the_stages_or_the_run(made, few_shot):
    out, _ = made
    assert not (out / "weights" / "results").exists()
    assert not (few_shot / "results").exists()


@pytest.mark.parametrize("at", [2, 10])
def test_a_stop_in_any_stage_loses_nothing(asking: Asking, classifier: Path, tmp_path: Path, at: int):
    """Stopped in the first stage or the last and gone on with: the same weights to the bit."""
    whole = asking(classifier)
    quantize(whole)
    cut = replace(whole, out=str(tmp_path / "cut"))

    def interrupt(done: int, total: int) -> None:
        if (done, total) == (at, 12):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(cut, interrupt)
    quantize(replace(cut, resume=True))
    for folder in ("weights", "warm-up", "."):
        first, second = (read_tensors(Path(run.out) / folder / LAST)[0] for run in (whole, cut))
        assert [name for name in first if not torch.equal(first[name], second[name])] == []
        assert first.keys() == second.keys()


def test_finished_stages_are_not_trained_again(asking: Asking, classifier: Path):
    asked = asking(classifier)
    quantize(asked)
    before = {path: path.stat().st_mtime_ns for path in Path(asked.out).rglob(LAST.name)}
    calls: list[tuple[int, int]] = []
    quantize(replace(asked, resume=True), lambda done, total: calls.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not [each for each in calls if each[1] == 12]


def test_a_stage_of_no_steps_is_left_out(asking: Asking, classifier: Path):
    asked = asking(classifier, pretrain_steps=0, warmup_steps=0, overflow=20.0)
    record = quantize(asked).record
    out = Path(asked.out)
    assert [row["name"] for row in record["stages"]] == ["codes"]
    assert not (out / "weights").exists()
    assert not (out / "warm-up").exists()
    assert buffers(out, "stage") == [2] * 3
    assert all(row["overflow_at_first"] == pytest.approx(0.2, abs=0.01) for row in record["layers"][1:])


def test_exact_sums_take_wrapnets_precision_before_the_last_stage(asking: Asking, classifier: Path):
    """BWN-QA: no warm-up on wrapped numbers; steps for 8 bits, though nothing wraps."""
    asked = asking(classifier, accumulator="none")
    record = quantize(asked).record
    out = Path(asked.out)
    assert read_record(out)[0].backbone == "conv4-32+low-bit-binary-none"
    assert buffers(out / "warm-up", "stage") == [0] * 3
    assert buffers(out, "stage") == [2] * 3
    assert "calibration" in read_record(out)[1]["low_bit"]
    assert all(row["overflow_at_first"] <= 0.05 for row in record["layers"][1:])
    assert [row["accumulator"] for row in record["layers"]] == [None] * 4


@pytest.mark.parametrize(
    ("options", "stage"), [({"weights": "float"}, None), ({"accumulator": "none", "activations": "float"}, 0)]
)
def test_baselines_with_float_activations(asking: Asking, classifier: Path, options: dict[str, str], stage: int | None):
    asked = asking(classifier, **options)
    record = quantize(asked).record
    name = read_record(Path(asked.out))[0].backbone
    assert name == ("conv4-32" if stage is None else "conv4-32+low-bit-binary-none")
    assert [row["overflow"] for row in record["layers"]] == [None] * 4
    assert record["cost"]["network"]["energy"] == record["cost"]["reference"]["energy"]
    assert record["accumulators"] == []


def test_a_layer_kept_in_float_stays_so_through_all_stages(asking: Asking, classifier: Path):
    asked = asking(classifier, keep_float=["blocks.2.conv"])
    record = quantize(asked).record
    assert buffers(Path(asked.out), "stage") == [2, 255, 2]
    assert [row["stage"] for row in record["layers"]] == ["float", "codes", "float", "codes"]


def test_a_buffer_bit_takes_a_bit_from_every_sum(asking: Asking, classifier: Path):
    record = quantize(asking(classifier, carries="buffer")).record
    assert [row["accumulator"] for row in record["layers"]] == [None, 7, 7, 7]
    assert [row["carries"] for row in record["layers"]] == [None] + ["buffer bit"] * 3
    assert all(row["overflow_at_first"] == pytest.approx(0.05, abs=0.01) for row in record["layers"][1:])


def test_the_integer_network_names_the_classes_of_the_quantised_run(asking: Asking, classifier: Path, tmp_path: Path):
    from modicum.quantization.integer.network import IntegerNetwork

    asked = asking(classifier, export=str(tmp_path / "net.bin"))
    record = quantize(asked).record
    assert record["export"]["bytes"] == (tmp_path / "net.bin").stat().st_size < record["export"]["float_bytes"] / 5
    network, trained = IntegerNetwork.load(tmp_path / "net.bin"), load_neighborhoods(asked.out).network
    x = torch.rand(20, 1, 16, 16)
    with torch.no_grad():
        theirs = trained.logits(trained.features(x))
        assert torch.equal(network.logits(trained.encoder.normalised(x)).argmax(1), theirs.argmax(1))


def test_calibration_pictures_that_say_nothing_are_refused(asking: Asking, tmp_path: Path):
    """Pictures of one grey: a trained network, but nothing to choose step sizes on."""
    from PIL import Image

    from modicum.training.trainer import train

    for name in ("a", "b"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for place in range(12):
            Image.new("L", (16, 16), 90).save(tmp_path / "grey" / name / f"{place}.png", comment=str(place))
    run = tmp_path / "run"
    train(Train(str(tmp_path / "grey"), str(run), method="meta-neighborhoods", baseline="vanilla", output_layer="dot",
                backbone="conv4-32", image_size=16, steps=2, batch_pictures=4, augmentation="none", threads=1,
                tensorboard=False))  # fmt: skip
    with pytest.raises(DataError, match="all numbers of all pictures are the same"):
        quantize(asking(run))


def test_out_that_is_in_use_is_refused(asking: Asking, classifier: Path, few_shot: Path):
    asked = asking(classifier, pretrain_steps=0, warmup_steps=0)
    quantize(asked)
    with pytest.raises(ConfigError, match="give --resume to go on with it"):
        quantize(asked)
    with pytest.raises(ConfigError, match=r"begun with other options: overflow \(then: 5.0, now: 7.0\)"):
        quantize(replace(asked, resume=True, overflow=7.0))
    with pytest.raises(ConfigError, match="already holds a run"):
        quantize(replace(asked, out=str(few_shot)))
    with pytest.raises(ConfigError, match="out: the run itself"):
        quantize(replace(asked, out=str(classifier)))


def test_what_could_not_be_written_stops_the_command_before_any_training(
    asking: Asking, classifier: Path, tmp_path, monkeypatch
):
    for option in ("export", "json"):
        with pytest.raises(ConfigError, match=f"{option}: .* is a folder; give the name of a file"):
            quantize(asking(classifier, **{option: str(tmp_path)}))
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"cannot create the folder .*file"):
        quantize(asking(classifier, export=str(tmp_path / "file" / "net.bin")))
    monkeypatch.setenv("MODICUM_KERNELS", "nonsense")
    asked = asking(classifier, export=str(tmp_path / "net.bin"))
    with pytest.raises(ConfigError, match="MODICUM_KERNELS: unknown kernel 'nonsense'"):
        quantize(asked)
    assert not Path(asked.out).exists()


def changed(run: Path, out: Path, **options: object) -> Path:
    """A run's folder with other options in its record, and its checkpoints."""
    record = read_json(run / "config.json")
    del record["schema"]
    write_json(out / "config.json", {**record, "config": {**record["config"], **options}})
    (out / "checkpoints").symlink_to(run / "checkpoints")
    return out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "maml"}, "adapts all weights by gradient steps"),
        ({"modulate": "all"}, "modulated batch norms"),
    ],
)
def test_runs_without_a_low_bit_form_are_refused_with_the_reason(
    asking: Asking, classifier: Path, few_shot: Path, tmp_path: Path, options: dict[str, object], said: str
):
    run = changed(few_shot if "method" in options else classifier, tmp_path / "changed", **options)
    with pytest.raises(ConfigError, match=said):
        quantize(asking(run))


@pytest.mark.parametrize("backbone", ["timm/test_convnext", "timm/test_vit"])
def test_a_network_that_cannot_be_exported_stops_the_command_before_any_training(
    asking: Asking, few_shot: Path, tmp_path: Path, backbone: str
):
    run = changed(few_shot, tmp_path / "changed", backbone=backbone)
    record = read_json(run / "config.json")
    record["encoder"].update(backbone=backbone, spec=ImageSpec(32, 3).as_record())
    write_json(run / "config.json", {key: value for key, value in record.items() if key != "schema"})
    asked = asking(run, export=str(tmp_path / "net.bin"))
    with pytest.raises(ConfigError, match=r"^export: .* in network.*; or leave --export out"):
        quantize(asked)
    assert not Path(asked.out).exists()


def test_a_table_a_quantised_run_and_one_without_a_checkpoint_are_refused(
    asking: Asking, made, few_shot: Path, tmp_path: Path
):
    out, _ = made
    with pytest.raises(ConfigError, match="is of low-bit layers already"):
        quantize(asking(out))
    empty = changed(few_shot, tmp_path / "empty")
    (empty / "checkpoints").unlink()
    with pytest.raises(FileFormatError, match="has no checkpoint yet"):
        quantize(asking(empty))
    (tmp_path / "table.csv").write_text("x,y\n" + "\n".join(f"{i},{i % 3}" for i in range(60)))
    from modicum.training.trainer import train

    run = tmp_path / "table"
    train(Train(str(tmp_path / "table.csv"), str(run), method="meta-neighborhoods", baseline="vanilla", target="y", steps=2,
                threads=1, tensorboard=False))  # fmt: skip
    with pytest.raises(ConfigError, match="takes no pictures"):
        quantize(asking(run))


def test_other_pictures_than_the_runs_are_refused(asking: Asking, few_shot: Path, tmp_path: Path):
    """Other splits: what was held out would be trained on."""
    names = [str(name) for name in range(10)]
    (tmp_path / "splits.json").write_text(json.dumps({"train": names[3:], "val": names[1:3], "test": names[:1]}))
    wrong = asking(few_shot, splits=str(tmp_path / "splits.json"))
    for _ in range(2):  # nothing was begun, so OUT is free again
        with pytest.raises(ConfigError, match="what it held out may have been seen"):
            quantize(wrong)


def test_unknown_layers_and_several_processes_are_refused(asking: Asking, classifier: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"expected names of layers.*blocks.1.conv.*found 'blocks.9'"):
        quantize(asking(classifier, keep_float=["blocks.9"]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="quantize runs in one process"):
        quantize(asking(classifier))

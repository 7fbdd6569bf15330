"""Training of Meta-Neighborhoods on pictures: a step against plain loops, decay, draws, resumption, learning, bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from modicum.augmentation.auto_augment import augment_pictures
from modicum.configs import Train
from modicum.errors import ConfigError, TrainingError
from modicum.models import fingerprint, load_encoder
from modicum.training.checkpoints import BEST, LAST
from modicum.training.classical import epoch_batch
from modicum.training.neighborhoods.networks import WidenedNetwork, hidden_width
from modicum.training.neighborhoods.objective import augmentation_of, entries_kept
from modicum.training.neighborhoods.runs import load_neighborhoods
from modicum.training.runs import load_learner, read_record
from modicum.training.subject_of import open_data
from modicum.training.trainer import Trainer, train


def config(out: Path, **changes: object) -> Train:
    options = {
        "data": "digits", "out": str(out), "method": "meta-neighborhoods", "image_size": 8, "batch_pictures": 12,
        "steps": 6, "validate_every": 3, "tensorboard": False, "threads": 1, "entries": 14, **changes,
    }  # fmt: skip
    if options.get("baseline") in ("vanilla", "knn"):
        del options["entries"]
    return Train(**options)  # type: ignore[arg-type]


def trainer_of(given: Train) -> Trainer:
    return Trainer(*open_data(given))


def plain_logits(z: Tensor, kept: Tensor, network: torch.nn.Module, steps: int) -> Tensor:
    """Logits (C,) of one picture's features z (D,) by the definition: kept (S',) entries, a copy of the layer, autograd."""
    keys, layer = network.dictionary.keys[kept], network.layer
    values = (10 * network.dictionary.value_logits[kept]).softmax(1)
    weight, bias = layer.weight, layer.bias
    w = torch.stack([5 * z @ k / (z.norm() * k.norm()) for k in keys]).softmax(0)

    def logits(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            return x @ weight + bias
        return torch.stack([layer.tau * x @ weight[:, c] / (x.norm() * weight[:, c].norm()) for c in range(10)])

    for _ in range(steps):
        losses = [-(v * logits(k, weight, bias).log_softmax(0)).sum() for k, v in zip(keys, values, strict=True)]
        loss = sum(a * b for a, b in zip(w, losses, strict=True))
        moved = torch.autograd.grad(loss, [weight] if bias is None else [weight, bias], create_graph=True)
        rate = network.rate.abs()
        weight = weight - (rate if rate.dim() == 0 else rate[:, None]) * moved[0]
        if bias is not None:
            bias = bias - (rate if network.bias_rate is None else network.bias_rate.abs()) * moved[1]
    return logits(z, weight, bias)


CASES: dict[str, dict[str, object]] = {
    "cosine": {"augmentation": "crop"},
    "dot, diagonal, two steps, shared": {
        "output_layer": "dot", "inner_rates": "diagonal", "inner_steps": 2, "dropout_draw": "shared", "augmentation": "none",
        "inner_rate": 0.5,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_step_equals_plain_loops(tmp_path: Path, case: str) -> None:
    """Entries dropped, attention, inner steps by autograd, AdamW with decay on the encoder alone, clipping by value."""
    given = config(tmp_path, batch_pictures=5, clip=0.02, **CASES[case])
    ours, plain = trainer_of(given), trainer_of(replace(given, out=str(tmp_path / "plain")))
    for trainer in (ours, plain):
        trainer.module.double()
    network, pictures, rows = plain.module, plain.subject.pictures, plain.subject.parts.train
    labels = pictures.labels[rows]
    places = epoch_batch(labels, 5, 0, 0)
    x = torch.from_numpy(np.asarray(pictures.pixels)[rows[places]]).permute(0, 3, 1, 2)
    z = network.encoder.train()(augment_pictures(x, 0, 0, None, given.augmentation))
    keep = entries_kept(given, 5, 0, slice(0, 5))
    assert keep is not None
    drawn = [keep if keep.dtype != torch.bool else keep[i].nonzero()[:, 0] for i in range(5)]
    assert {len(each) for each in drawn} == {7}
    logits = torch.stack([plain_logits(z[i], drawn[i], network, given.inner_steps) for i in range(5)])
    loss = F.cross_entropy(logits, torch.from_numpy(labels[places]))
    encoder = list(network.encoder.parameters())
    others = [p for name, p in network.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": encoder, "weight_decay": 0.075}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 1e-3)
    loss.backward()
    largest = max(float(p.grad.abs().max()) for p in network.parameters() if p.grad is not None)
    torch.nn.utils.clip_grad_value_(network.parameters(), 0.02)
    optimizer.step()
    value, _ = ours.advance()
    assert value == pytest.approx(float(loss.detach()), rel=1e-6)
    assert largest > 0.02
    for (name, own), other in zip(ours.module.named_parameters(), network.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-7, atol=1e-12), name
        assert float(other.grad.abs().max()) > 0, name
        assert torch.allclose(own, other, rtol=0, atol=1e-7), name  # Adam's first step magnifies what is near 0


@pytest.mark.parametrize(("form", "share"), [("tensorflow", 0.1), ("torch", 0.1 * 2e-3)])
def test_weight_decay_shrinks_the_encoder_by_what_was_asked(tmp_path: Path, form: str, share: float) -> None:
    """One step: what is left after Adam's own step is w (1 - share), for the encoder; dictionary and layer do not shrink."""
    trainer = trainer_of(config(tmp_path, weight_decay=0.1, learning_rate=2e-3, decay_form=form, modulate="all"))
    trainer.module.double()
    before = {name: p.detach().clone() for name, p in trainer.module.named_parameters()}
    trainer.advance()
    shrunk: dict[str, float] = {}
    for name, p in trainer.module.named_parameters():
        adam = 2e-3 * p.grad / (p.grad.abs() + 1e-8)
        w = before[name]
        shrunk[name] = float(((w - adam - p.detach()) * w).sum() / w.square().sum()) if bool(w.any()) else 0.0
    encoder = {name: value for name, value in shrunk.items() if name.startswith("encoder.") and before[name].any()}
    assert any("norms" in name for name in encoder)
    assert list(encoder.values()) == pytest.approx([share] * len(encoder), rel=1e-6)
    rest = {name: value for name, value in shrunk.items() if not name.startswith("encoder.")}
    assert {"dictionary.keys", "dictionary.value_logits", "layer.weight", "layer.tau", "rate"} == set(rest)
    assert list(rest.values()) == pytest.approx([0.0] * len(rest), abs=1e-9)


def test_the_penalty_of_sgd_is_the_encoders_too(tmp_path: Path) -> None:
    """Nesterov's first step is 1.9 times the gradient, penalty included: 1.9 * 0.1 * 0.5 of an encoder's weight."""
    trainer = trainer_of(config(tmp_path, baseline="vanilla", optimizer="sgd", learning_rate=0.1, weight_decay=0.5))
    trainer.module.double()
    before = {name: p.detach().clone() for name, p in trainer.module.named_parameters()}
    trainer.advance()
    for name, p in trainer.module.named_parameters():
        penalty = 0.5 * before[name] if name.startswith("encoder.") else 0.0
        assert torch.allclose(p, before[name] - 0.19 * (p.grad + penalty), rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("how", ["query", "shared"])
def test_draws_of_entries_depend_on_step_and_place_alone(tmp_path: Path, how: str) -> None:
    """Whoever has a part of the step draws what one process draws; int((1 - share) S) entries each; every entry comes."""
    given = config(tmp_path, dropout_draw=how, entries=15, entry_dropout=0.7)
    whole = entries_kept(given, 40, 3, slice(0, 40))
    halves = [entries_kept(given, 40, 3, part) for part in (slice(0, 20), slice(20, 40))]
    assert whole is not None
    if how == "shared":
        assert whole.dtype == torch.int64
        assert torch.equal(whole, halves[0])
        assert torch.equal(whole, halves[1])
        assert len(set(whole.tolist())) == 4
    else:
        assert torch.equal(whole, torch.cat(halves))
        assert (whole.sum(1) == 4).all()
        assert whole.any(0).all()
        assert len({tuple(row) for row in whole.tolist()}) > 20
    other = entries_kept(given, 40, 4, slice(0, 40))
    assert not torch.equal(whole, other)
    assert entries_kept(replace(given, entry_dropout=0.0), 40, 3, slice(0, 40)) is None


RESUMED: dict[str, dict[str, object]] = {
    "query": {"backbone": "conv4-192"},
    "two steps, modulated": {"inner_steps": 2, "modulate": "before-fc", "augmentation": "auto-augment"},
    "parameters": {"baseline": "parameters"},
    "knn": {"baseline": "knn", "neighbours": 3, "output_layer": "dot"},
}


@pytest.mark.parametrize("case", RESUMED)
def test_resumed_training_is_the_same_to_the_bit(tmp_path: Path, assert_resumes: Callable[..., None], case: str) -> None:
    whole, cut = (config(tmp_path / name, **RESUMED[case]) for name in ("whole", "cut"))
    assert_resumes(whole, cut, (LAST, BEST, Path("voters.safetensors")) if case == "knn" else (LAST, BEST))


def test_a_small_network_learns_digits(tmp_path: Path) -> None:
    """A minute of training on a laptop gives 98 %; here 60 small steps, far above the 10 % of guessing."""
    given = config(tmp_path, entries=100, steps=60, validate_every=60, batch_pictures=32, backbone="conv4-32", image_size=16)
    assert (train(given).validation or 0) > 0.8


def test_defaults_and_what_a_run_records(tmp_path: Path) -> None:
    """Full backbone name, entries and neighbours by the data, RUN/encoder for `fit`, `adapt` and `compare`."""
    given = Train(data="digits", out=str(tmp_path), method="meta-neighborhoods", epochs=1, image_size=8, batch_pictures=400)
    trained = replace(given, entries=30, tensorboard=False)
    train(trained)
    found, record = read_record(tmp_path)
    assert (found.optimizer, found.schedule, found.clip, found.weight_decay) == ("adamw", "three-quarters", 10.0, 7.5e-5)
    assert (found.backbone, found.steps, found.temperature) == ("conv4-192-signed", 3, 0.2)
    assert record["augmentation"] == "crop"
    assert record["parameters"]["others"] == 30 * (192 + 10) + 192 * 10 + 2
    assert record["data"]["parts"] == {"train": 1295, "validation": 143, "test": 359}
    learner, config_of, _ = load_learner(tmp_path)
    assert config_of.method == "meta-neighborhoods"
    assert fingerprint(learner.encoder) == fingerprint(load_encoder(tmp_path))
    assert load_neighborhoods(tmp_path).config.entries == 30
    assert "30 entries" in (tmp_path / "encoder" / "README.md").read_text()
    assert augmentation_of(given, 3) == "auto-augment"


def test_the_widened_baseline_has_as_many_parameters_more(tmp_path: Path) -> None:
    """4,985 units for S = 5,000, D = 192, C = 10: 1,010,000 parameters more, to half a unit's 203."""
    assert hidden_width(5_000, 192, 10) == 4_985
    assert hidden_width(1, 192, 10) >= 1
    trainer = trainer_of(config(tmp_path, baseline="parameters", entries=50))
    network = trainer.module
    assert isinstance(network, WidenedNetwork)
    extra = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("encoder.")) - 192 * 10 - 1
    assert abs(extra - 50 * 202) <= 203 / 2
    z = torch.randn(3, 192)
    hidden = (z @ network.hidden.weight.T + network.hidden.bias).clamp(min=0)
    cosines = F.normalize(hidden, dim=1) @ F.normalize(network.layer.weight, dim=0)
    assert torch.allclose(network.logits(z), 10 * cosines, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"entries": 0}, "entries: expected at least 1"),
        ({"temperature": 0.0}, "temperature: expected more than 0"),
        ({"entry_dropout": 1.0}, "entry_dropout: expected 0 or more and below 1"),
        ({"baseline": "vanilla", "temperature": 0.5}, "temperature: --baseline vanilla has no dictionary"),
        ({"baseline": "vanilla", "inner_steps": 5}, "inner_steps: --baseline vanilla has no dictionary"),
        ({"test_steps": 3}, "test_steps: meta-neighborhoods takes --inner_steps"),
        ({"backbone": "resnet29+ifilm-all-10", "modulate": "last"}, "the backbone's name says ifilm-all-10"),
        ({"optimizer": "adam", "decay_form": "torch"}, "decay_form: of --optimizer adamw"),
        ({"ways": 3}, "ways: not with meta-neighborhoods"),
        ({"loss": "ce"}, "loss: belongs to --method rac"),
        ({"optimizer": "sgd"}, "optimizer: sgd is for baselines"),
        ({"baseline": "trees"}, "trees predict columns"),
        ({"neighbours": 3}, "neighbours: items that vote under --baseline knn"),
        ({"method": "protonet", "entries": 9}, "entries: belongs to --method meta-neighborhoods"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Train(**{"data": "d", "out": "o", "method": "meta-neighborhoods", **changes})  # type: ignore[arg-type]


def test_what_memory_cannot_hold_and_more_voters_than_pictures_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"entries: 10,000,000,000 of 192 features .* GiB are free; take at most"):
        train(config(tmp_path / "large", entries=10**10))
    with pytest.raises(ConfigError, match="neighbours: 2000 asked for, but there are 1295 training pictures"):
        train(config(tmp_path / "voters", baseline="knn", neighbours=2_000))
    assert not (tmp_path / "large").exists()


def test_a_loss_that_is_not_finite_stops_the_training_or_is_left_out(tmp_path: Path) -> None:
    trainer = trainer_of(config(tmp_path))
    with torch.no_grad():
        trainer.module.dictionary.keys.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 0: parameter 'dictionary\.keys' is not finite"):
        trainer.advance()
    trainer = trainer_of(config(tmp_path / "skip", skip_diverged=1))
    with torch.no_grad():
        trainer.module.layer.tau.fill_(float("inf"))
    trainer.advance()
    assert (trainer.step, trainer.skipped) == (1, 1)


def test_classes_with_one_picture_train_and_are_not_tested(tmp_path: Path) -> None:
    """Ten pictures, five and one of three classes: the one trains; nothing is held out of its class."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, count in {"many": 10, "some": 5, "one": 1}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"data/{name}/{number}.png")
    train(config(tmp_path / "run", data=str(tmp_path / "data"), steps=2, batch_pictures=4, entries=5))
    record = read_record(tmp_path / "run")[1]
    assert record["data"]["counts"][record["data"]["classes"].index("one")] == 1
    assert "1 class has no test picture" in record["split_rule"]
    assert record["augmentation"] == "auto-augment"


def test_files_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(12):
        folder = tmp_path / "data" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "data" / "a" / "torn.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "data" / "b" / "empty.png").write_bytes(b"")
    trainer = trainer_of(config(tmp_path / "run", data=str(tmp_path / "data"), batch_pictures=4))
    note = trainer.subject.note
    assert "left out: a/torn.png (" in note
    assert "and 1 more; modicum check" in note
    assert trainer.subject.record()["note"] == note

"""Classifiers from training runs: a trained head gives what it gave in training, another one is fitted anew."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from modicum.adaptation.cosine import CosineHead
from modicum.adaptation.mct import MCTHead, MCTTransductiveHead
from modicum.adaptation.metaoptnet import MetaOptNetRRHead, MetaOptNetSVMHead
from modicum.adaptation.probes import LinearProbeHead, SVMProbeHead
from modicum.adaptation.protonet import ProtoNetHead
from modicum.adaptation.r2d2 import R2D2Head
from modicum.adaptation.ridge import RidgeHead
from modicum.backbones.encoder import ImageSpec, build_encoder
from modicum.classifiers.classifier import Request
from modicum.classifiers.fitting import fit_classifier
from modicum.classifiers.rules import fit_rule
from modicum.classifiers.runs import open_run, request_of, request_of_run, trained_lengths, trained_settings
from modicum.classifiers.storage import load_classifier
from modicum.cli import main
from modicum.data.pictures import PictureSet, open_pictures
from modicum.episodes.types import LabelledSet
from modicum.errors import ConfigError
from modicum.models import load_encoder, save_encoder
from modicum.training.runs import load_learner

FEW = "--ways 3 --shots 2 --queries 2 --batch 1 --backbone conv4-32 --threads 1 --no_tensorboard"


def _probabilities(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits - logits.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "head",
    [
        ProtoNetHead(scale=0.3),
        ProtoNetHead(scale=2.0, normalize=True),
        CosineHead(scale=4.0),
        RidgeHead(penalty=3.0),
        R2D2Head(penalty=2.0, scale=3.0, bias=0.7),
        MetaOptNetRRHead(penalty=3.0, scale=4.0),
        MetaOptNetSVMHead(C=0.3, scale=4.0),
        LinearProbeHead(probe_c=2.0, scale=1.5),
        SVMProbeHead(probe_c=0.2, scale=1.5),
        "mct",
    ],
)
def test_a_trained_head_gives_the_probabilities_it_gave_in_training(head: torch.nn.Module | str, mct) -> None:
    rng = np.random.default_rng(0)
    features, query = (rng.normal(size=(n, 10)).astype(np.float32) for n in (20, 6))
    labels = np.arange(20) % 4
    trained = mct(10) if isinstance(head, str) else head
    with torch.no_grad():
        adapted = trained.fit(LabelledSet(torch.from_numpy(features), torch.from_numpy(labels)), 4)
        expected = adapted(torch.from_numpy(query)).softmax(-1).numpy()
    logits = fit_rule(features, labels, 4, trained_settings(trained, 10), trained_lengths(trained)).logits(query)
    assert _probabilities(logits) == pytest.approx(expected, abs=1e-5)


def test_heads_without_a_rule_are_refused() -> None:
    for head in (MetaOptNetSVMHead(ridge=1.0), MCTTransductiveHead(8, pairwise=True)):
        with pytest.raises(ConfigError, match="has no linear form"):
            trained_settings(head, 8)


def test_the_lengths_of_a_transductive_run_serve_mct() -> None:
    torch.manual_seed(0)
    transductive, inductive = MCTTransductiveHead(8), MCTHead(8)
    inductive.load_state_dict(transductive.state_dict())
    x = np.random.default_rng(0).normal(size=(4, 8))
    theirs, mine = trained_lengths(transductive), trained_lengths(inductive)
    assert theirs is not None
    assert mine is not None
    assert (theirs(x) == mine(x)).all()
    assert trained_settings(transductive, 8) == trained_settings(inductive, 8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of three steps by each method, on digits."""
    top = tmp_path_factory.mktemp("runs")
    found = {}
    for method in ("metaoptnet-rr", "metaoptnet-svm", "mct", "mct-transductive", "linear", "svm", "classical"):
        found[method] = top / method
        words = f"train --data digits --out {top / method} --method {method} --steps 3 --validate_every 3 {FEW}"
        assert main([*words.split(), "--validation_tasks", "2", "--validation_ways", "2"]) == 0
    return found


@pytest.mark.parametrize("method", ["metaoptnet-rr", "metaoptnet-svm", "mct", "linear", "svm"])
def test_a_run_adapts_with_its_own_head(runs: dict[str, Path], digits: Path, method: str) -> None:
    """The classifier's logits are those of the run's learner on the same support pictures."""
    pictures, encoder, request = open_run(str(runs[method]), str(digits / "first"))
    assert request.head == method
    classifier = fit_classifier(pictures, encoder, request=request)
    assert classifier.tried == (method,)
    learner, _, _ = load_learner(runs[method])
    features = torch.from_numpy(classifier.support.features)
    with torch.no_grad():
        adapted = learner.head.fit(LabelledSet(features, torch.from_numpy(classifier.labels)), len(classifier.classes))
        expected = adapted(features).softmax(-1).numpy()
    found = _probabilities(classifier.rule.logits(classifier.support.features))
    assert found == pytest.approx(expected, abs=1e-4)


def test_another_head_is_fitted_to_the_runs_embeddings(runs: dict[str, Path]) -> None:
    encoder, request = request_of_run(runs["linear"], "ridge")
    assert request == Request("ridge")
    assert request_of_run(runs["linear"], "auto")[1] == Request("auto")
    assert request_of_run(runs["classical"])[1] == Request("auto")  # classical training trains no head for new classes
    assert encoder.n_features == load_learner(runs["linear"])[0].encoder.n_features


def test_transductive_runs_make_inductive_classifiers_where_asked(runs: dict[str, Path], digits: Path) -> None:
    with pytest.raises(ConfigError, match=r"mct-transductive makes no classifier: .* take mct"):
        request_of_run(runs["mct-transductive"])
    encoder, request = request_of_run(runs["mct-transductive"], "mct")
    assert request.trained is not None
    pictures = _open(digits / "first", encoder.spec.size, encoder.spec.channels)
    classifier = fit_classifier(pictures, encoder, request=request)
    one_by_one = [classifier.predict(row[None])[0] for row in classifier.support.features]
    assert classifier.predict(classifier.support.features) == one_by_one


def _open(folder: Path, size: int, channels: int) -> PictureSet:
    return open_pictures(str(folder), size=size, channels=channels)


@pytest.mark.parametrize("head", ["metaoptnet-rr", "metaoptnet-svm", "linear", "svm", "mct"])
def test_the_command_fit_takes_every_head(runs: dict[str, Path], digits: Path, tmp_path: Path, head: str) -> None:
    """Digits are told apart; the record and the page say which heads were tried."""
    words = ["fit", str(digits / "first"), "--out", str(tmp_path / "fit"), "--encoder", str(runs["mct"]), "--head", head]
    assert main([*words, "--folds", "2", "--json", str(tmp_path / "fit.json")]) == 0
    row = json.loads((tmp_path / "fit.json").read_text())["rows"][0]
    assert (row["head"], row["tried"]) == (head, [head])
    assert row["balanced_accuracy"] > 0.6
    classifier = load_classifier(tmp_path / "fit")
    assert [p.label for p in classifier.predict(classifier.support.features)].count("0") > 8


def test_the_page_says_which_heads_were_tried(runs: dict[str, Path], digits: Path, tmp_path: Path) -> None:
    words = ["adapt", str(runs["svm"]), "--support", str(digits / "first"), "--out", str(tmp_path / "adapted")]
    assert main([*words, "--head", "auto"]) == 0
    page = (tmp_path / "adapted" / "report.html").read_text()
    assert "protonet, cosine, ridge, linear, svm, metaoptnet-svm" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit {data} --out {out} --head linaer", r"head: unknown 'linaer' \(did you mean 'linear'\?\)"),
        ("fit {data} --out {out} --head mct", "only a run trained with it holds"),
        ("fit {data} --out {out} --head mct-transductive", "take mct"),
        ("fit {data} --out {out} --head fine-tune", "evaluate RUN --head fine-tune"),
        ("adapt {run} --support {data} --out {out} --head fine-tune", "evaluate RUN --head fine-tune"),
        ("adapt {run} --support {data} --out {out} --head mct", "only a run trained with it holds"),
        ("adapt {run} --support {data} --out {out} --head svn", r"did you mean 'svm'"),
    ],
)
def test_heads_that_make_no_classifier_say_why(
    runs: dict[str, Path], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    filled = words.format(data=digits / "first", out=tmp_path / "out", run=runs["svm"])
    assert main(filled.split()) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "out").exists()


def test_a_saved_encoder_has_no_lengths_for_mct(tmp_path: Path) -> None:
    save_encoder(build_encoder("conv4-32", ImageSpec(16, 1)), tmp_path, "card")
    with pytest.raises(ConfigError, match="head: mct has learned lengths, which only a run trained with it holds"):
        request_of("mct", str(tmp_path))


def test_fit_takes_mct_from_the_run_it_embeds_with(runs: dict[str, Path]) -> None:
    state, other = load_encoder(runs["mct"]).state_dict(), load_learner(runs["mct"])[0].encoder.state_dict()
    assert all((state[name] == other[name]).all() for name in other)  # lengths and embeddings are of one checkpoint
    assert request_of("mct", str(runs["mct"]), 3, 1).learned is not None
    assert request_of("mct", str(runs["mct"]), 3, 1).folds == 3
    with pytest.raises(ConfigError, match="needs a run trained with mct, found one trained with linear"):
        request_of("mct", str(runs["linear"]))
    with pytest.raises(ConfigError, match="only a run trained with it holds"):
        request_of("mct", "pictures")
    with pytest.raises(ConfigError, match="only a run trained with it holds"):
        request_of_run(runs["linear"], "mct")
    assert request_of("ridge", "pictures", 4, 2) == Request("ridge", 4, 2)

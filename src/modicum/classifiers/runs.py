"""Classifiers from training runs: the run's encoder, and its head as it was trained or another one; or, after training by a
gradient method, its network adapted to the support pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modicum.classifiers.classifier import Request
from modicum.classifiers.learned import LearnedLength, learned_length
from modicum.classifiers.rules import Settings
from modicum.errors import ConfigError, FileFormatError
from modicum.registry import GRADIENT_METHODS
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.adaptation.gradient.learner import GradientLearner
    from modicum.backbones.encoder import Encoder
    from modicum.data.pictures import PictureSet
    from modicum.episodes.interfaces import AbstractHead

LEARNED_BY = ("mct", "mct-transductive")
"""Methods whose runs hold the lengths that the head mct needs."""


def trained_settings(head: AbstractHead, n_features: int) -> Settings:
    """A trained head's parameters as settings: the rule they give is the head's own, but for a constant on all logits.

    mct also needs `trained_lengths`; mct-transductive gives the settings of mct. `ConfigError` for a head without rule.
    """
    from modicum.adaptation.cosine import CosineHead
    from modicum.adaptation.metaoptnet import MetaOptNetRRHead, MetaOptNetSVMHead
    from modicum.adaptation.probes import LinearProbeHead, SVMProbeHead
    from modicum.adaptation.protonet import ProtoNetHead
    from modicum.adaptation.r2d2 import R2D2Head
    from modicum.adaptation.ridge import RidgeHead

    if isinstance(head, ProtoNetHead):
        return Settings("protonet", "none", scale=head.scale.item() / (n_features if head.normalize else 1))
    if isinstance(head, CosineHead):
        return Settings("cosine", "none", scale=head.scale.item())
    if isinstance(head, RidgeHead):
        return Settings("ridge", "none", penalty=head.penalty, relative=False, scale=head.scale.item())
    if isinstance(head, MetaOptNetRRHead):
        return Settings("metaoptnet-rr", "none", penalty=head.penalty, relative=False, scale=2 * head.scale.item())
    if isinstance(head, R2D2Head):
        penalty = head.log_penalty.exp().item()
        return Settings("r2d2", "none", penalty=penalty, relative=False, scale=head.scale.item())
    if isinstance(head, MetaOptNetSVMHead) and head.ridge == 0:
        return Settings("metaoptnet-svm", "none", c=head.C, relative=False, scale=head.scale.item())
    if isinstance(head, LinearProbeHead):
        return Settings("linear", "none", c=head.probe_c, relative=False, scale=head.scale.item())
    if isinstance(head, SVMProbeHead):
        return Settings("svm", "none", c=head.probe_c, relative=False, scale=head.scale.item())
    if trained_lengths(head) is not None:
        return Settings("mct", "none")
    raise ConfigError(f"head: {type(head).__name__} has no linear form; make a classifier of the encoder with `modicum fit`")


def trained_lengths(head: AbstractHead) -> LearnedLength | None:
    """The lengths that a run of mct, or of mct-transductive in the instance-wise metric, has learned; else None."""
    from modicum.adaptation.mct import MCTHead, MCTTransductiveHead

    if isinstance(head, MCTHead) or (isinstance(head, MCTTransductiveHead) and not head.pairwise):
        return learned_length(head.metric)
    return None


def request_of_run(run: Path | str, head: str | None = None, folds: int = 5, seed: int = 0) -> tuple[Encoder, Request]:
    """The encoder of a run and what is asked for.

    head: None or the run's own for its trained head as it is ("auto" after classical training and gradient methods, which
    train none); another name for that head, its settings chosen as in `fit`. "mct" also takes the lengths of a run of
    mct-transductive.
    """
    from modicum.training.checkpoints import OF_ALL_CLASSES
    from modicum.training.runs import load_learner

    learner, config, _ = load_learner(run)
    own = "auto" if config.method in (*OF_ALL_CLASSES, *GRADIENT_METHODS) else config.method
    plain = Request("auto", folds, seed)
    if head == "mct" and config.method in LEARNED_BY and trained_lengths(learner.head) is not None:
        own = "mct"
    name = head or own
    if name != own or own == "auto":
        return learner.encoder, replace(plain, head=name)
    if own == "mct-transductive":
        Request(own)  # raises: it makes no classifier
    settings = trained_settings(learner.head, learner.encoder.n_features)
    return learner.encoder, replace(plain, head=name, trained=settings, learned=trained_lengths(learner.head))


def request_of(head: str, encoder: str, folds: int = 5, seed: int = 0) -> Request:
    """What `fit` asks for: a head whose settings are chosen; mct with the lengths of `encoder`, a run trained with it."""
    if head == "mct" and (Path(encoder) / "config.json").is_file():
        from modicum.training.runs import read_run

        try:
            method = read_run(encoder)[0].method
        except FileFormatError:  # an encoder's folder, no run
            return Request(head, folds, seed)
        if method in LEARNED_BY:
            return request_of_run(encoder, head, folds, seed)[1]
        raise ConfigError(f"head: mct needs a run trained with mct, found one trained with {method}; take another head")
    return Request(head, folds, seed)


def open_run(
    run: str, support: str, head: str | None = None, *, group: str | None = None, progress: Progress | None = None
) -> tuple[PictureSet, Encoder, Request]:
    """Support pictures as the encoder of a training run reads them, that encoder, and `request_of_run`.

    Embeddings are made with the running statistics of batch norm, whatever mode the run was evaluated in.
    """
    from modicum.data.pictures import open_pictures

    encoder, request = request_of_run(run, head)
    spec = encoder.spec
    pictures = open_pictures(support, size=spec.size, channels=spec.channels, group=group, progress=progress)
    return pictures, encoder, request


def adapts_by_gradient(run: Path | str) -> bool:
    """Whether a run was trained by a gradient method; `FileFormatError` where it is no run."""
    from modicum.training.runs import read_run

    return read_run(run)[0].method in GRADIENT_METHODS


def open_gradient_run(
    run: str, support: str, *, group: str | None = None, progress: Progress | None = None
) -> tuple[PictureSet, GradientLearner, str]:
    """Support pictures as a run of a gradient method reads them, its learner, and the method.

    A run in batch-norm mode `batch` adapts in the mode `support`: a classifier's answer depends on its picture alone.
    """
    from modicum.data.pictures import open_pictures
    from modicum.training.runs import load_gradient_learner, read_run

    mode = read_run(run)[0].norm_mode
    learner, config, _ = load_gradient_learner(run, "support" if mode == "batch" else mode)
    spec = learner.encoder.spec
    pictures = open_pictures(support, size=spec.size, channels=spec.channels, group=group, progress=progress)
    return pictures, learner, config.method

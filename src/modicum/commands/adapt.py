"""`modicum adapt`: a classifier from a training run and a folder of support pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modicum.commands.fitted import check_out, finish, show_skipped
from modicum.commands.progress import progress
from modicum.configs import Adapt

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder
    from modicum.classifiers.classifier import Classifier


def run(config: Adapt) -> int:
    """Adapt the run's network, or embed with its encoder and fit a head; write and show the classifier."""
    from modicum.classifiers.runs import adapts_by_gradient

    check_out(config.out)
    by_gradient = config.head is None and adapts_by_gradient(config.run)
    classifier, encoder = _network(config) if by_gradient else _head(config)
    return finish(classifier, config.out, encoder, config.json)


def _head(config: Adapt) -> tuple[Classifier, Encoder]:
    """The run's encoder with its trained head as it is, or with another one."""
    from modicum.classifiers.fitting import fit_classifier
    from modicum.classifiers.runs import open_run

    with progress("reading pictures") as tick:
        pictures, encoder, request = open_run(config.run, config.support, config.head, group=config.group, progress=tick)
    show_skipped(pictures.skipped)
    with progress("adapting") as tick:
        return fit_classifier(pictures, encoder, name=config.run, request=request, progress=tick), encoder


def _network(config: Adapt) -> tuple[Classifier, Encoder]:
    """The run's network after its inner steps on the pictures."""
    from modicum.classifiers.adapted import adapt_classifier
    from modicum.classifiers.runs import open_gradient_run

    with progress("reading pictures") as tick:
        pictures, learner, method = open_gradient_run(config.run, config.support, group=config.group, progress=tick)
    show_skipped(pictures.skipped)
    with progress("adapting") as tick:
        return adapt_classifier(pictures, learner, method=method, name=config.run, progress=tick)

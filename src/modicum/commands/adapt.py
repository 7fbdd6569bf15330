"""`modicum adapt`: a classifier from a training run and a folder of support pictures."""

from __future__ import annotations

from modicum.commands.fitted import check_out, finish, show_skipped
from modicum.commands.progress import progress
from modicum.configs import Adapt


def run(config: Adapt) -> int:
    """Embed with the run's encoder, take its trained head as it is or another one; write and show the classifier."""
    from modicum.classifiers.fitting import fit_classifier
    from modicum.classifiers.runs import open_run

    check_out(config.out)
    with progress("reading pictures") as tick:
        pictures, encoder, request = open_run(config.run, config.support, config.head, group=config.group, progress=tick)
    show_skipped(pictures.skipped)
    with progress("adapting") as tick:
        classifier = fit_classifier(pictures, encoder, name=config.run, request=request, progress=tick)
    return finish(classifier, config.out, encoder, config.json)

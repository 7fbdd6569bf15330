"""`modicum fit`: a classifier from a folder of pictures."""

from __future__ import annotations

from modicum.commands.fitted import check_out, finish, show_skipped
from modicum.commands.progress import progress
from modicum.configs import Fit


def run(config: Fit) -> int:
    """Embed, choose, estimate; write and show the classifier."""
    from modicum.classifiers.fitting import fit_classifier, open_with_encoder
    from modicum.classifiers.runs import request_of

    check_out(config.out)
    request = request_of(config.head, config.encoder, config.folds, config.seed)
    with progress("reading pictures") as tick:
        pictures, encoder, name = open_with_encoder(
            config.data, config.encoder, root=config.root, group=config.group, online=config.online, progress=tick
        )
    show_skipped(pictures.skipped)
    with progress("fitting") as tick:
        classifier = fit_classifier(pictures, encoder, name=name, request=request, thumbnails=config.pictures, progress=tick)
    return finish(classifier, config.out, encoder, config.json)

"""`modicum forget`: remove pictures or a class from a classifier."""

from __future__ import annotations

from modicum.commands.fitted import check_out, encoder_for, finish
from modicum.commands.progress import progress
from modicum.configs import Forget


def run(config: Forget) -> int:
    """Build the classifier of what is left; write and show it."""
    from modicum.classifiers.storage import load_classifier

    target = config.out or config.classifier
    check_out(target)
    old = load_classifier(config.classifier)
    encoder = encoder_for(old, config.classifier, config.out)
    with progress("forgetting") as tick:
        new = old.forgetting(config.id, config.class_name, tick)
    print(f"forgot {len(old.support) - len(new.support):,} pictures; this equals a classifier fitted without them")
    return finish(new, target, encoder, config.json)

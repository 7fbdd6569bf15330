"""`modicum extend`: more pictures or new classes for a classifier."""

from __future__ import annotations

from modicum.commands.fitted import check_out, finish, show_skipped
from modicum.commands.progress import progress
from modicum.configs import Extend


def run(config: Extend) -> int:
    """Embed the new pictures, build the classifier of old and new; write and show it."""
    from modicum.classifiers.fitting import extend_classifier
    from modicum.classifiers.storage import load_classifier, load_encoder_of
    from modicum.data.pictures import open_pictures

    target = config.out or config.classifier
    check_out(target)
    old = load_classifier(config.classifier)
    encoder = load_encoder_of(config.classifier, old)
    spec = encoder.spec
    with progress("reading pictures") as tick:
        pictures = open_pictures(
            config.data, size=spec.size, channels=spec.channels, group=config.group, min_classes=1, progress=tick
        )
    show_skipped(pictures.skipped)
    with progress("extending") as tick:
        new = extend_classifier(old, pictures, encoder, progress=tick)
    added, classes = len(new.support) - len(old.support), [name for name in new.classes if name not in old.classes]
    print(f"added {added:,} pictures" + (f", new classes: {', '.join(classes)}" if classes else ""))
    return finish(new, target, encoder, config.json)

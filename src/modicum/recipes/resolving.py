"""What a recipe's options refer to: runs of other models, folders under the root, memories made for a recipe.

| in a recipe | is |
|---|---|
| data="clothing" (rac, meta-neighborhoods; no known name) | the folder ROOT/clothing |
| encoder, pretrained="run:NAME@0" | RESULTS/runs/NAME-<scale>-seed0, trained first; "run:NAME": of the row's own seed |
| memory="made:DATA/CLASSES/PICTURES" | RESULTS/memories/...: so many pictures of each of so many classes, by `encoder` |

Classes and pictures of a made memory are drawn in one seeded order, so a smaller one is part of a larger one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from modicum.configs import KNOWN_SETS, Quantize, Scale, Train
from modicum.configs.long_tail import OWN_TEXTS, RAC
from modicum.configs.neighborhoods import is_table
from modicum.configs.supervised import SUPERVISED
from modicum.errors import ConfigError, DataError
from modicum.recipes.measuring import set_to_test
from modicum.recipes.recipe import Machine, Options, Trained
from modicum.recipes.regression_tables import on_table

if TYPE_CHECKING:
    import numpy as np

    from modicum.data.picture_set import PictureSet

RUN, MADE = "run:", "made:"
SHORT: Mapping[str, str] = {"pictures": "pictures (shipped; 64 classes of CIFAR-100)", "pixels": "pixels (no weights)"}
"""What the column "ours with" says of encoders that are no run."""
PUBLISHED = ("timm/", "torchvision/")
COMMIT = 512


def referred(options: Train | Quantize | Machine) -> list[str]:
    """Names of the models that options refer to."""
    if isinstance(options, Machine):
        return []
    if isinstance(options, Quantize):
        return [options.run.removeprefix(RUN)]
    named = (options.encoder, options.pretrained)
    return [name.removeprefix(RUN).partition("@")[0] for name in named if name and name.startswith(RUN)]


def resolved(
    options: Trained, seed: int, root: str | None, results: Path, scale: Scale, run: Callable[[str, int], Path]
) -> Trained:
    """Options of a recipe as `train` and `quantize` take them, what they refer to being made first.

    run: (model, seed) -> trained run. `DataError` where a folder or published weights are not there, before anything is
    trained; errors of `train` and `quantize`.
    """
    if isinstance(options, Quantize):
        return replace(options, run=str(run(options.run.removeprefix(RUN), seed)))
    if is_table(options):
        return on_table(options, seed, root)
    if options.method not in SUPERVISED or options.target is not None:
        return options
    data = options.data if options.data in KNOWN_SETS else set_to_test(options.data, root)
    assert data is not None
    if options.method != RAC:
        return replace(options, data=data)
    _require_weights(options)
    found = replace(options, data=data, root=root)
    for field in ("encoder", "pretrained"):
        name = getattr(options, field)
        if name and name.startswith(RUN):
            model, _, fixed = name.removeprefix(RUN).partition("@")
            folder = str(run(model, int(fixed) if fixed else seed).resolve())
            found = replace(found, encoder=folder) if field == "encoder" else replace(found, pretrained=folder)
    if options.memory and options.memory.startswith(MADE):
        told = re.sub(r"[^\w.-]+", "-", f"{options.memory}-{options.encoder}-{scale}")
        found = replace(found, memory=str(_made(options.memory, found, results / "memories" / told)))
    return found


def _require_weights(options: Train) -> None:
    """`DataError` where published weights that options name are not on this machine."""
    from modicum.models import load_encoder
    from modicum.training.supervised_networks import make_text

    try:
        for name in (options.encoder, options.pretrained):
            if name and name.startswith(PUBLISHED):
                load_encoder(name)
        if options.text not in OWN_TEXTS:
            make_text(options.text, options.seed)
    except ConfigError as error:
        raise DataError(str(error)) from error


def _made(asked: str, options: Train, folder: Path) -> Path:
    """The memory in a folder, completed where it is not whole; its pictures are the training pictures of their data."""
    import numpy as np

    from modicum.data.holdout import holdout
    from modicum.data.picture_splits import open_split_pictures
    from modicum.memory.opening import create_memory, open_memory
    from modicum.memory.types import MemoryInfo
    from modicum.models import embed, fingerprint, load_encoder

    data, classes, pictures = asked.removeprefix(MADE).rsplit("/", 2)
    encoder = load_encoder(str(options.encoder))
    if not (folder / "memory.sqlite3").is_file():
        info = MemoryInfo(encoder.n_features, "cosine", str(options.encoder), fingerprint(encoder), time.time())
        create_memory(str(folder), info).close()
    place = data if data in KNOWN_SETS else str(set_to_test(data, options.root))
    spec = encoder.spec
    source = open_split_pictures(place, root=options.root, size=spec.size, channels=spec.channels)
    rows = drawn(source, holdout(source, validation=0.0).train, int(classes), int(pictures))
    with open_memory(str(folder), fingerprint=fingerprint(encoder)) as memory:
        missing = rows[np.asarray(memory.ids_of(source.name, [source.ids[row] for row in rows])) < 0]
        for start in range(0, len(missing), COMMIT):
            part = missing[start : start + COMMIT]
            memory.add(
                embed(encoder, source.pixels[part]), [source.classes[label] for label in source.labels[part]],
                names=[source.ids[row] for row in part], source=source.name, digests=[source.digests[row] for row in part],
            )  # fmt: skip
    return folder


def drawn(pictures: PictureSet, rows: np.ndarray, classes: int, each: int) -> np.ndarray:
    """At most `each` of the given rows of every one of so many classes, rising; one order of both for all sizes."""
    import numpy as np

    from modicum.runtime import philox

    order = philox(0, "recipes/memory/classes", 0).permutation(len(pictures.classes))[:classes]
    found = []
    for label in order.tolist():
        own = rows[pictures.labels[rows] == label]
        found.append(philox(0, "recipes/memory/pictures", label).permutation(own)[:each])
    return np.sort(np.concatenate(found))


def described(options: Train, models: Mapping[str, Options], scale: Scale) -> str:
    """Of rac base branch, data and what both encoders were trained on before, in a line; models: those referred to.

    Of meta-neighborhoods backbone, data and, where there is a dictionary (or a layer of its size), S.
    """
    if options.method != RAC:
        size = f"; S = {options.entries:,}" if options.baseline in ("none", "parameters") else ""
        return f"{options.backbone}, {options.data.rpartition('/')[2]}{size}"

    def before(name: str | None) -> str:
        """What the encoder of that name, or of that model, was trained on."""
        if name is None:
            return "random weights"
        if not name.startswith(RUN):
            return SHORT.get(name, name)
        other = models[referred(replace(options, encoder=name, pretrained=None, branches="both"))[0]][scale]
        assert isinstance(other, Train)
        what = f"{other.backbone}, {other.data}"
        return what if other.data != options.data else f"{what} (the same data)"

    tail = f" with factor {options.imbalance:g}" if options.imbalance != 1 else ""
    told = [f"{options.data}{tail}"]
    if options.branches != "retrieval":
        told.append(f"B: {options.backbone}, from {before(options.pretrained)}")
    if options.branches != "base":
        told.append(f"E: {before(options.encoder or 'pictures')}")
    if options.memory:
        told.append(f"memory: {options.memory.removeprefix(MADE)}")
    return "; ".join(told)

"""From pictures to a classifier: choose an encoder, embed, build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from modicum.classifiers.classifier import Classifier, EncoderReference, Request, build_classifier
from modicum.classifiers.support import of_pictures
from modicum.errors import DataError
from modicum.runtime import Progress

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder
    from modicum.data.pictures import PictureSet

SAMPLE = 200
"""Pictures looked at to tell line drawings from photographs."""


def is_line_drawing(picture: npt.NDArray[np.uint8]) -> bool:
    """Whether a picture (H, W, C) looks drawn with a pen: grey, and light or dark with little between.

    Grey: channels differ by less than 8 of 255 on average. Light or dark: with the threshold half way between the 2nd and
    the 98th percentile of brightness, which must be 64 or more apart, the variance within the two sides is at most a
    quarter of the whole, one side fills most of the border, and strokes (the other side) cover at most half.
    """
    x = picture.astype(np.float64)
    if float((x.max(-1) - x.min(-1)).mean()) >= 8:
        return False
    grey = x.mean(-1)
    low, high = np.percentile(grey, [2, 98])
    if high - low < 64:
        return False
    light = grey > (low + high) / 2
    if light.all() or not light.any():
        return False
    share = float(light.mean())
    within = share * grey[light].var() + (1 - share) * grey[~light].var()
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    paper = float(border.mean())
    strokes = 1 - share if paper > 0.5 else share
    return bool(within <= grey.var() / 4 and max(paper, 1 - paper) >= 0.75 and strokes <= 0.5)


def automatic_encoder(pixels: npt.NDArray[np.uint8]) -> str:
    """The shipped encoder for pictures (n, H, W, C): "characters" where most of up to SAMPLE look drawn, else "pictures"."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(SAMPLE, len(pixels))).round().astype(int))
    drawn = [is_line_drawing(np.asarray(pixels[i])) for i in rows]
    return "characters" if np.mean(drawn) > 0.5 else "pictures"


def reference(encoder: Encoder, name: str) -> EncoderReference:
    """How a classifier refers to its encoder."""
    from modicum.models import fingerprint

    return EncoderReference(name, fingerprint(encoder))


def fit_classifier(
    pictures: PictureSet,
    encoder: Encoder,
    *,
    name: str = "",
    request: Request | None = None,
    thumbnails: bool = True,
    progress: Progress | None = None,
) -> Classifier:
    """A classifier of pictures, which must have the encoder's size and channels.

    name: how results call the encoder (default: its own). request: head, folds and seed (default: all automatic).
    thumbnails: keep small copies of the pictures for reports. `DataError` for fewer than 2 classes.
    """
    from modicum.models import embed

    if len(np.unique(pictures.labels)) < 2:
        found = len(np.unique(pictures.labels))
        raise DataError(
            f"data: expected at least 2 classes to tell apart, found {found} in {pictures.name or 'the pictures'}"
        )
    support = of_pictures(pictures, embed(encoder, pictures.pixels, progress=progress), thumbnails=thumbnails)
    return build_classifier(support, request or Request(), reference(encoder, name or encoder.name), progress)


def extend_classifier(
    classifier: Classifier, pictures: PictureSet, encoder: Encoder, *, progress: Progress | None = None
) -> Classifier:
    """The classifier of the old pictures and of these; the encoder must be the one it was made with, else `DataError`."""
    from modicum.models import embed, fingerprint

    if fingerprint(encoder) != classifier.encoder.fingerprint:
        raise DataError("encoder: not the one the classifier was made with; load it from the classifier's folder")
    kept = classifier.support.thumbnails is not None
    more = of_pictures(pictures, embed(encoder, pictures.pixels, progress=progress), thumbnails=kept)
    return classifier.extended(more, progress)


def open_with_encoder(
    data: str,
    encoder: str = "auto",
    *,
    root: str | None = None,
    group: str | None = None,
    online: bool = False,
    progress: Progress | None = None,
) -> tuple[PictureSet, Encoder, str]:
    """Pictures as an encoder reads them, the encoder, and its name; "auto" looks at the pictures (`automatic_encoder`)."""
    from modicum.data.pictures import open_pictures
    from modicum.models import load_encoder

    if encoder == "auto":
        encoder = automatic_encoder(
            open_pictures(data, root=root, size=32, channels=3, group=group, progress=progress).pixels
        )
    loaded = load_encoder(encoder, online=online)
    spec = loaded.spec
    pictures = open_pictures(data, root=root, size=spec.size, channels=spec.channels, group=group, progress=progress)
    return pictures, loaded, encoder

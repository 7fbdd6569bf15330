"""A classifier as a folder.

| file | holds |
|---|---|
| `support.safetensors` | the classifier: embeddings, rule, held-out probabilities, thumbnails; the rest as its record |
| `encoder-XXXXXXXXXXXX/` | the encoder, named after its fingerprint |
| `classifier.json`, `results.json`, `artifacts.npz` | for people and reports, made from the above; nothing reads them back |

Only the first file decides, and it is written whole or not at all, after the encoder it names: a kill at any moment
leaves the old classifier or the new one. Its digest and the encoder's fingerprint are checked when it is read. Nothing is
pickled.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modicum import __version__
from modicum.classifiers.classifier import Classifier, EncoderReference, Request
from modicum.classifiers.learned import LearnedLength
from modicum.classifiers.results import artifacts, result_row
from modicum.classifiers.rules import LinearRule, Preparation, Settings
from modicum.classifiers.selection import Estimate
from modicum.classifiers.support import Support
from modicum.errors import ConfigError, FileFormatError, ModicumError
from modicum.files import make_folder, read_tensors, write_bytes, write_json, write_tensors

if TYPE_CHECKING:
    from modicum.backbones.encoder import Encoder

WHOLE = "support.safetensors"
ARRAYS = "artifacts.npz"
LEARNED = "learned."
CARD = """# Encoder of a classifier

A copy of `{name}` (fingerprint {fingerprint}), kept beside the classifier that was made with it. See the model card where
it came from.
"""


def check_target(folder: Path | str) -> Path:
    """The folder, if a classifier may be written there: new, empty, or a classifier already; else `ConfigError`."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"out: {folder} is a file; expected the name of a folder for the classifier")
    if folder.is_dir() and not (folder / WHOLE).is_file() and any(not _ours(path) for path in folder.iterdir()):
        raise ConfigError(f"out: {folder} holds other files and no classifier; give a new or empty folder")
    return folder


def _ours(path: Path) -> bool:
    """Whether something in a folder is what an interrupted `fit` may leave."""
    return path.name.startswith(("encoder-", f".{WHOLE}."))


def encoder_folder(folder: Path, reference: EncoderReference) -> Path:
    """Where the encoder of a classifier lies."""
    return folder / f"encoder-{reference.fingerprint[:12]}"


def save_classifier(classifier: Classifier, folder: Path | str, encoder: Encoder | None = None) -> Path:
    """Write a classifier's folder and return it. encoder: the one its embeddings were made with, None where it is already
    there or where there is none (plain embeddings)."""
    fresh = not (check_target(folder) / WHOLE).is_file()
    folder = make_folder(folder)
    try:
        if encoder is not None:
            _write_encoder(encoder, folder, classifier.encoder)
        _write_whole(classifier, folder)
    except BaseException:
        if fresh and not (folder / WHOLE).is_file():
            _remove(encoder_folder(folder, classifier.encoder), folder)
        raise
    write_derived(classifier, folder)
    for path in folder.glob("encoder-*"):
        if path != encoder_folder(folder, classifier.encoder):
            shutil.rmtree(path, ignore_errors=True)
    return folder


def _remove(encoder: Path, folder: Path) -> None:
    """Leave nothing of a classifier that was never written."""
    shutil.rmtree(encoder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _write_whole(classifier: Classifier, folder: Path) -> None:
    import torch

    arrays, record = _packed(classifier)
    write_tensors(folder / WHOLE, {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, record)


def _write_encoder(encoder: Encoder, folder: Path, reference: EncoderReference) -> None:
    from modicum.models import fingerprint, load_encoder, save_encoder

    target = encoder_folder(folder, reference)
    if target.is_dir():
        with contextlib.suppress(ModicumError):
            if fingerprint(load_encoder(target)) == reference.fingerprint:
                return
    save_encoder(encoder, target, CARD.format(name=reference.name, fingerprint=reference.fingerprint))


def write_derived(classifier: Classifier, folder: Path) -> None:
    """Write what people and reports read."""
    import io

    row = result_row(classifier)
    write_json(folder / "results.json", {"rows": [row]})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **artifacts(classifier))
    write_bytes(folder / ARRAYS, buffer.getvalue())
    record = {
        "kind": "classifier",
        "version": __version__,
        "classes": list(classifier.classes),
        "pictures": len(classifier.support),
        "head": row["head"],
        "settings": {**_asked(classifier.request), **asdict(classifier.settings)},
        "encoder": asdict(classifier.encoder),
        "temperature": classifier.temperature,
        "calibrated": classifier.calibrated,
        "private": classifier.support.thumbnails is None,
        "ids": list(classifier.support.ids),
    }
    write_json(folder / "classifier.json", record)


def _asked(request: Request) -> dict[str, Any]:
    """A request without its arrays."""
    return {name: value for name, value in asdict(request).items() if name != "learned"}


def _packed(classifier: Classifier) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and the record."""
    support, rule, honest = classifier.support, classifier.rule, classifier.estimate
    arrays: dict[str, np.ndarray] = {
        "features": support.features,
        "weight": rule.weight,
        "bias": rule.bias,
        "known": classifier.known,
        "held_out.rows": honest.rows,
        "held_out.probabilities": honest.probabilities,
        "held_out.measured": honest.measured,
    }
    if rule.prepare.centre is not None:
        arrays["centre"] = rule.prepare.centre
    if support.thumbnails is not None:
        arrays["thumbnails"] = support.thumbnails
    if classifier.request.learned is not None:
        arrays |= {f"{LEARNED}{name}": array for name, array in classifier.request.learned.arrays().items()}
    record = {
        "kind": "classifier",
        "version": __version__,
        "encoder": asdict(classifier.encoder),
        "request": _asked(classifier.request),
        "settings": asdict(classifier.settings),
        "temperature": classifier.temperature,
        "note": classifier.note,
        "tried": list(classifier.tried),
        "rule": {"unit": rule.unit, "scale": rule.scale, "lengths": rule.prepare.unit},
        "estimate": {
            "calibrated": honest.calibrated,
            "folds": honest.n_folds,
            "chosen": [asdict(settings) for settings in honest.chosen],
        },
        "ids": list(support.ids),
        "labels": list(support.labels),
        "digests": list(support.digests),
        "groups": list(support.groups),
    }
    return arrays, record


def load_classifier(folder: Path | str) -> Classifier:
    """The classifier of a folder; `FileFormatError` where it is none, damaged, or of another version."""
    folder = Path(folder)
    if not (folder / WHOLE).is_file():
        raise FileFormatError(f"{folder}: not a classifier (no {WHOLE}); make one with `modicum fit`")
    tensors, record = read_tensors(folder / WHOLE)
    try:
        return _unpacked({name: tensor.numpy() for name, tensor in tensors.items()}, record)
    except (KeyError, TypeError, ValueError) as error:
        version = record.get("version")
        raise FileFormatError(
            f"{folder / WHOLE}: written by modicum {version}, not readable by {__version__} ({error}); make it anew"
        ) from error


def _unpacked(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> Classifier:
    support = Support(
        arrays["features"],
        tuple(record["ids"]),
        tuple(record["labels"]),
        tuple(record["digests"]),
        tuple(record["groups"]),
        arrays.get("thumbnails"),
    )
    rule, told = record["rule"], record["estimate"]
    request = dict(record["request"])
    if request["trained"] is not None:
        request["trained"] = Settings(**request["trained"])
    found = {name.removeprefix(LEARNED): array for name, array in arrays.items() if name.startswith(LEARNED)}
    learned = LearnedLength.from_arrays(found) if found else None
    prepare = Preparation(arrays.get("centre"), rule["lengths"], learned if record["settings"]["head"] == "mct" else None)
    return Classifier(
        support,
        Request(**request, learned=learned),
        EncoderReference(**record["encoder"]),
        Settings(**record["settings"]),
        LinearRule(prepare, arrays["weight"], arrays["bias"], rule["unit"], rule["scale"]),
        record["temperature"],
        Estimate(
            arrays["held_out.rows"],
            arrays["held_out.probabilities"],
            arrays["held_out.measured"],
            told["calibrated"],
            tuple(Settings(**settings) for settings in told["chosen"]),
            told["folds"],
        ),
        arrays["known"],
        record["note"],
        tuple(record.get("tried", ())),
    )


def load_encoder_of(folder: Path | str, classifier: Classifier) -> Encoder:
    """The encoder beside a classifier; `FileFormatError` where it is not the one the classifier was made with."""
    from modicum.models import fingerprint, load_encoder

    if not classifier.encoder.fingerprint:
        raise ConfigError(f"{folder}: made from embeddings, without an encoder; it predicts embeddings, not pictures")
    path = encoder_folder(Path(folder), classifier.encoder)
    if not path.is_dir():
        raise FileFormatError(f"{path}: the classifier's encoder is missing; copy the whole folder, or fit anew")
    encoder = load_encoder(path)
    if (found := fingerprint(encoder)) != classifier.encoder.fingerprint:
        raise FileFormatError(
            f"{path}: not the encoder the classifier was made with (fingerprint {found[:12]}, expected "
            f"{classifier.encoder.fingerprint[:12]}); fit anew"
        )
    return encoder

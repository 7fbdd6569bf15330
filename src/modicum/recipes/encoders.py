"""From a run to an encoder that ships: export in float16, with a model card.

The recipes are `encoder_characters` and `encoder_pictures`. The card's figures come from RUN/config.json and RUN/results
only; what was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.errors import ConfigError, FileFormatError
from modicum.files import read_json
from modicum.registry import suggest


@dataclass(frozen=True)
class About:
    """What a card says besides numbers."""

    purpose: str
    data: str
    licence: str
    limits: str


ABOUT: Mapping[str, About] = {
    "characters": About(
        purpose="Line drawings and handwritten characters, grey, 28 pixels a side.",
        data="Omniglot (B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum, \"Human-level concept learning through probabilistic "
        "program induction\", Science 2015): 1,623 characters of 50 alphabets, drawn online by 20 people each. Trained on "
        "the training classes of the split of Vinyals et al. 2016, each in four rotations.",
        licence="The data set's repository is under the MIT licence. These weights: Apache-2.0, as the package.",
        limits="Thin strokes on a plain ground only; pictures are made grey and small. A rotated character counted as "
        "another class in training, so rotations are told apart. It was never shown photographs.",
    ),
    "pictures": About(
        purpose="Small colour photographs of things and animals, 32 to 64 pixels a side.",
        data="CIFAR-100 (A. Krizhevsky, \"Learning Multiple Layers of Features from Tiny Images\", 2009), split by class as "
        "CIFAR-FS (Bertinetto et al. 2019). Trained on its 64 training classes, 32 pixels a side.",
        licence="CIFAR-100 states no licence; it was collected from the web for research and its authors ask to be cited. "
        "These weights: Apache-2.0, as the package.",
        limits="It is small and saw 38,400 pictures of 64 everyday classes at 32 pixels: fine detail is lost, and a model "
        "pre-trained on many large pictures (timm/NAME) will often be better. Any bias of the web pictures is kept.",
    ),
}  # fmt: skip


def export(run: Path | str, name: str, out: Path | str) -> Path:
    """Write the best encoder of a run to `out` in float16 with a model card and checksums, to ship as `name`; returns `out`.

    Raises `ConfigError` for an unknown name, `FileFormatError` where the run has no results to put into the card.
    """
    if name not in ABOUT:
        raise ConfigError(f"name: unknown encoder {name!r}{suggest(name, ABOUT)}; known: {', '.join(ABOUT)}")
    from modicum.models import save_encoder, write_sums
    from modicum.training.runs import load_learner

    run, out = Path(run), Path(out)
    results = [read_json(file) for file in sorted((run / "results").glob("*.json"))]
    if not results:
        raise FileFormatError(f"{run}: no results, and a card without figures says nothing; run `modicum evaluate {run}`")
    learner, _, record = load_learner(run)
    save_encoder(learner.encoder, out, card(name, record, results), half=True)
    write_sums(out)
    return out


def card(name: str, record: Mapping[str, Any], results: list[dict[str, Any]]) -> str:
    """The model card (Markdown) of a run's record (config.json, with the step of the checkpoint) and evaluations."""
    about, config = ABOUT[name], record["config"]
    return f"""# {name}: a small encoder of modicum

{about.purpose}

Maps a picture to a feature vector; meant as the fixed encoder under a few-shot head (`modicum fit --encoder {name}`).

## Data

{about.data}

## Licence

{about.licence}

## Training

{_training(record, config)}

## Measured

Classes that training never saw; the encoder as it was before its weights were rounded to float16.

{_measured(results)}

## Limits

{about.limits}
"""


def _training(record: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    environment, spec = record.get("environment") or {}, (record.get("encoder") or {}).get("spec") or {}
    return (
        f"{config['backbone']}, {spec.get('size', '-')} x {spec.get('size', '-')} pixels, {spec.get('channels', '-')} "
        f"channel(s), trained by {config['method']}: tasks of {config['ways']} classes with {config['shots']} labelled and "
        f"{config['queries']} further pictures each, {config['batch']} task(s) a step; the weights of step "
        f"{record.get('step', '-')} of {config['steps']} (best on validation classes), {config['optimizer']} from "
        f"{config['learning_rate']}, schedule {config['schedule']}, augmentation {'on' if config['augment'] else 'off'}, "
        f"seed {config['seed']}. modicum {record.get('version', '-')}, torch {environment.get('torch', '-')}, "
        f"{environment.get('device', '-')}."
    )


def _measured(results: list[dict[str, Any]]) -> str:
    lines = ["| data | split | ways | shots | accuracy | 95 % interval | tasks | head |", "|---" * 8 + "|"]
    for result in results:
        lines += [
            f"| {result['data']} | {result['split']} | {row['ways']} | {row['shots']} | {100 * row['accuracy']:.2f} % | "
            f"± {100 * row['ci95']:.2f} | {row['tasks']} | {result.get('head', '-')} |"
            for row in result["rows"]
        ]
    overs = dict.fromkeys(str(result.get("interval_over") or "-") for result in results)
    return "\n".join([*lines, "", *(f"Intervals are over {over}." for over in overs)])

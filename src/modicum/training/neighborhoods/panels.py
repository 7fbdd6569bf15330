"""What a dictionary learned, as arrays and numbers for the report: figures 9 and 10 of Meta-Neighborhoods, and more.

Siyuan Shan, Yang Li, Junier Oliva, "Meta-Neighborhoods", NeurIPS 2020, arXiv 1909.09140, appendix A.8. Of n test pictures
and S entries, C classes:

| array | shape | is |
|---|---|---|
| entry_usage | (S,) float32 | mean attention over the test pictures; sums to 1 |
| entry_class, entry_value | (S,) int64, float32 | the likeliest class of its value, and its probability |
| entry_agreement | (S,) float32 | share of its NEAR nearest test pictures that are labelled with its class |
| group_entries | (R, P) int64 | entries shown, those of a class in a row; -1 where a class has fewer |
| group_classes, group_values | (R, P, 3) int64, float32 | the three likeliest classes of their values |
| group_near, group_cosine | (R, P, NEAR) int64, float32 | test pictures of the largest cosine to the key, places 0..n-1 |
| asked | (Q,) int64 | test pictures shown with what they attend to, places |
| asked_drawn | (Q,) text | from which pictures they were drawn: `corrected`, `spoiled`, `all` |
| asked_before, asked_after | (Q, C) float32 | probabilities before the first and after the last inner step |
| asked_votes | (Q, C) float32 | sum_j w_j v_j, the mean of the values by attention |
| asked_effective | (Q,) float32 | exp(entropy of w): as many entries with equal weights have that entropy |
| asked_entries, asked_weights | (Q, TOP) int64, float32 | the entries attended to most, and how much |
| asked_near | (Q, TOP) int64 | the test picture nearest to each of them, another one than the picture itself; -1 for none |
| shown, shown_pixels | (U,) int64, (U, h, w, channels) uint8 | thumbnails of all places above; absent without pictures |

Entries in use: the fewest that together carry 90 % of the attention. Only they are shown, drawn by seed and by nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from modicum.adaptation.neighborhoods.classifier import MetaNeighborhoods
from modicum.runtime import philox
from modicum.training.neighborhoods.networks import Network
from modicum.training.neighborhoods.scoring import SCORED, Scored
from modicum.training.retrieval_panels import panel_places, thumbnail
from modicum.training.supervised_tests import Tested

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]
NEAR, TOP, LIKELY = 5, 5, 3
"""Pictures of an entry, entries of a picture, classes of a value."""
ROWS, ENTRIES = 10, 3
"""Classes with entries shown, one in a row, and entries of each: 30 as in figure 10; figure 9 is two of six rows."""
ASKED, CHANGED = 12, 3
"""Pictures whose attention is shown; at most so many of them are drawn from those corrected, as many from those spoiled."""
CARRIED = 0.9
PART = 1024
"""Entries compared with all pictures at a time."""


class Looked(NamedTuple):
    """Numbers, as JSON, and arrays about a dictionary."""

    record: dict[str, Any]
    arrays: Arrays


def nearest_pictures(keys: Tensor, features: Tensor, k: int) -> tuple[Ints, Floats]:
    """The k of features (n, D) with the largest cosine to each key (S, D), falling: places, cosines (S, min(k, n))."""
    unit, near, cosines = F.normalize(features.float(), dim=-1), [], []
    for start in range(0, len(keys), PART):
        best = (F.normalize(keys[start : start + PART].float(), dim=-1) @ unit.mT).topk(min(k, len(unit)), dim=-1)
        near.append(best.indices.cpu())
        cosines.append(best.values.cpu())
    return torch.cat(near).numpy(), torch.cat(cosines).numpy()


def attention_over(network: MetaNeighborhoods, features: Tensor) -> tuple[Floats, Floats]:
    """The mean attention (S,) of features (n, D), and their votes sum_j w_j v_j (n, C)."""
    assert network.dictionary is not None
    where, votes = network.layer.weight.device, []
    with torch.inference_mode():
        values = network.dictionary.values()
        total = torch.zeros(len(values), dtype=torch.float64, device=where)
        for start in range(0, len(features), SCORED):
            w = network.attention(features[start : start + SCORED].to(where))
            total += w.double().sum(0)
            votes.append((w @ values).cpu())
    return (total / len(features)).float().cpu().numpy(), torch.cat(votes).numpy()


def in_use(usage: NDArray[Any], share: float = CARRIED) -> NDArray[np.bool_]:
    """Which of S entries are among the fewest that carry a share of the attention, by usage (S,); equal ones: the first."""
    order = np.argsort(-usage, kind="stable")
    carried = np.cumsum(usage[order], dtype=np.float64)
    found = np.zeros(len(usage), bool)
    found[order[: int(np.searchsorted(carried, share * carried[-1] * (1 - 1e-9))) + 1]] = True
    return found


def effective_number(weights: NDArray[Any]) -> NDArray[np.float64]:
    """exp(entropy) of distributions (..., S): S where all weigh alike, 1 where one has all."""
    w = np.asarray(weights, np.float64)
    found: NDArray[np.float64] = np.exp(-(w * np.log(np.where(w > 0, w, 1))).sum(-1))
    return found


def usage_record(usage: NDArray[Any]) -> dict[str, Any]:
    """How evenly S entries are used, by usage (S,): effective number, shares of the most used, how many carry 90 %."""
    falling = np.sort(usage.astype(np.float64))[::-1]
    return {
        "entries": len(usage),
        "effective": float(effective_number(usage)),
        "shares": {str(m): float(falling[:m].sum()) for m in (1, 10, 100) if m <= len(usage)},
        "carrying_90": int(in_use(usage).sum()),
    }


def value_record(usage: NDArray[Any], classes: Ints, value: NDArray[Any], agreement: NDArray[Any], n: int) -> dict[str, Any]:
    """What S entries stand for: usage, class, probability of it and agreement (S,), among n classes."""
    used = in_use(usage)
    ends = np.quantile(value, [0.05, 0.5, 0.95])
    return {
        "of_class": np.bincount(classes, minlength=n).tolist(),
        "of_class_in_use": np.bincount(classes[used], minlength=n).tolist(),
        "usage_of_class": np.bincount(classes, usage.astype(np.float64), n).tolist(),
        "sharpness": {"mean": float(value.mean()), "quantiles": ends.tolist()},
        "agreement": {
            "near": NEAR, "all": float(agreement.mean()), "in_use": float(agreement[used].mean()),
            "by_usage": float(agreement @ usage / usage.sum()),
        },
    }  # fmt: skip


def chosen_entries(classes: Ints, used: NDArray[np.bool_], rows: int, each: int, seed: int = 0) -> Ints:
    """Entries shown (R, each), -1 for none: `rows` classes in class order, up to `each` entries in use of each.

    classes, used (S,): class of an entry, and whether it is in use. Classes with enough entries come before others, drawn
    by seed beyond that; so are the entries of a class, which stand by number.
    """
    draw = philox(seed, "neighborhoods/entries", 0)
    mixed = draw.permutation(len(classes))
    mixed = mixed[used[mixed]]
    held = np.bincount(classes[mixed], minlength=1).clip(max=each)
    order = draw.permutation(len(held))
    order = order[np.argsort(-held[order], kind="stable")][:rows]
    found = np.full((int((held[order] > 0).sum()), each), -1, np.int64)
    for row, c in enumerate(np.sort(order[held[order] > 0])):
        own = np.sort(mixed[classes[mixed] == c][:each])
        found[row, : len(own)] = own
    return found


def asked_places(labels: Ints, before: Ints, after: Ints, counts: Ints, seed: int = 0) -> tuple[Ints, NDArray[Any]]:
    """(places (Q,), from which pictures each was drawn (Q,)) of n test pictures; labels and answers (n,), counts (C,).

    Up to CHANGED of those that adaptation corrected, as many of those it spoiled, the others from all that are left.
    """
    right, was = after == labels, before == labels
    places, drawn = np.zeros(0, np.int64), []
    for name, pool in (("corrected", right & ~was), ("spoiled", was & ~right), ("all", np.ones(len(labels), bool))):
        left = np.setdiff1d(np.flatnonzero(pool), places)
        most = ASKED - len(places) if name == "all" else CHANGED
        if len(left) and most:
            new = left[panel_places(labels[left], counts, seed, most)]
            places = np.concatenate([places, new])
            drawn += [name] * len(new)
    return places, np.array(drawn, dtype="<U9")


def look(network: Network, scored: Scored, tested: Tested, counts: Ints, pictures: bool, seed: int = 0) -> Looked | None:
    """What the dictionary of a network says about test pictures as they were scored; None for one without a dictionary.

    counts (C,): training pictures of classes. pictures: whether thumbnails are kept.
    """
    if not isinstance(network, MetaNeighborhoods) or network.dictionary is None:
        return None
    with torch.inference_mode():
        keys, values = network.dictionary.keys, network.dictionary.values().cpu().numpy()
        near, cosine = nearest_pictures(keys, scored.features.to(keys.device), NEAR)
    usage, votes = attention_over(network, scored.features)
    classes = values.argmax(-1).astype(np.int64)
    agreement = (tested.labels[near] == classes[:, None]).mean(1, dtype=np.float32)
    found: Arrays = {
        "entry_usage": usage, "entry_class": classes, "entry_value": values.max(-1), "entry_agreement": agreement
    }  # fmt: skip
    record = {**usage_record(usage), **value_record(usage, classes, values.max(-1), agreement, values.shape[1])}
    record |= {"votes": float((votes.argmax(-1) == tested.labels).mean()), "seed": seed}
    found |= _groups(chosen_entries(classes, in_use(usage), ROWS, ENTRIES, seed), values, near, cosine)
    found |= _asked(network, scored, tested, counts, near, votes, seed)
    if pictures:
        found |= _thumbnails(found, tested)
    return Looked(record, found)


def _groups(entries: Ints, values: Floats, near: Ints, cosine: Floats) -> Arrays:
    likely = np.argsort(-values[entries], axis=-1, kind="stable")[..., :LIKELY]
    return {
        "group_entries": entries,
        "group_classes": likely,
        "group_values": np.take_along_axis(values[entries], likely, -1),
        "group_near": near[entries],
        "group_cosine": cosine[entries],
    }


def _asked(
    network: MetaNeighborhoods, scored: Scored, tested: Tested, counts: Ints, near: Ints, votes: Floats, seed: int
) -> Arrays:
    guess = scored.logits[[0, -1]].argmax(-1).numpy()
    places, drawn = asked_places(tested.labels, guess[0], guess[1], counts, seed)
    with torch.inference_mode():
        w = network.attention(scored.features[places].to(network.layer.weight.device))
        top = w.topk(min(TOP, w.shape[-1]), dim=-1)
    entries = top.indices.cpu().numpy()
    others = near[entries]  # (Q, TOP, NEAR)
    other = (others != places[:, None, None]).argmax(-1)
    nearest = np.take_along_axis(others, other[..., None], -1)[..., 0]
    probabilities = scored.logits[[0, -1]][:, places].softmax(-1).float().numpy()
    return {
        "asked": places, "asked_drawn": drawn, "asked_before": probabilities[0], "asked_after": probabilities[1],
        "asked_votes": votes[places], "asked_effective": effective_number(w.cpu().numpy()).astype(np.float32),
        "asked_entries": entries, "asked_weights": top.values.cpu().numpy(),
        "asked_near": np.where(nearest == places[:, None], -1, nearest),
    }  # fmt: skip


def _thumbnails(found: Arrays, tested: Tested) -> Arrays:
    """Every picture that other arrays name, once."""
    named = np.concatenate([found[name].ravel() for name in ("asked", "asked_near")])
    there = found["group_entries"] >= 0
    shown = np.unique(np.concatenate([named[named >= 0], found["group_near"][there].ravel()]))
    pixels = [thumbnail(tested.pictures.pixels[row]) for row in tested.rows[shown].tolist()]
    return {"shown": shown, "shown_pixels": np.stack(pixels)}

"""k-NN by the features of a vanilla network: training pictures with the largest cosines vote, each vote counts alike.

The features of the training pictures are made once, behind the training, and kept in RUN/voters.safetensors with the digest
of the checkpoint they belong to; where that is another one they are made anew. Equal numbers of votes go to the class that
comes first, as in scikit-learn's `KNeighborsClassifier(metric="cosine")`; equal cosines to the picture that comes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from modicum.data.picture_set import PictureSet
from modicum.errors import DataError, FileFormatError
from modicum.files import read_tensors, sha256, write_tensors
from modicum.runtime import Progress
from modicum.training.neighborhoods.runs import NeighborhoodsRun, checkpoint_of, load_neighborhoods
from modicum.training.neighborhoods.scoring import score_pictures
from modicum.training.supervised_tests import open_run_pictures, parts_of

Ints = NDArray[np.int64]
VOTERS = "voters.safetensors"
ASKED = 1_024
"""Pictures asked about together."""


class Voters(NamedTuple):
    """Training pictures: features (n, D) of length 1, float32, labels (n,), ids n."""

    features: Tensor
    labels: Tensor
    ids: list[str]


class Votes(NamedTuple):
    """Of m pictures: shares (m, C) of the votes; the k voters (m, k), nearest first, and their cosines (m, k)."""

    shares: Tensor
    voter: Tensor
    cosine: Tensor


def keep_voters(
    run: Path, pictures: PictureSet, rows: Ints, device: torch.device, progress: Progress | None = None
) -> Voters:
    """Make and write the voters of a run, its training pictures at rows (n,)."""
    checkpoint = checkpoint_of(run)
    network = load_neighborhoods(run).network.to(device)
    features = score_pictures(network, pictures.pixels, rows, device, progress=progress).features.float()
    found = Voters(F.normalize(features, dim=-1), torch.from_numpy(pictures.labels[rows]), [pictures.ids[r] for r in rows])
    record = {"kind": "voters", "checkpoint": sha256(checkpoint), "ids": found.ids}
    write_tensors(run / VOTERS, {"features": found.features, "labels": found.labels}, record)
    return found


def voters_of(loaded: NeighborhoodsRun, root: str | None, device: torch.device, progress: Progress | None = None) -> Voters:
    """The voters of a run, made anew from its training pictures where there are none, or those of another checkpoint."""
    run = Path(loaded.config.out)
    if (run / VOTERS).is_file():
        tensors, record = read_tensors(run / VOTERS)
        if record.get("kind") != "voters":
            raise FileFormatError(f"{run / VOTERS}: holds {record.get('kind')!r}, expected features of training pictures")
        if record["checkpoint"] == sha256(checkpoint_of(run)):
            return Voters(tensors["features"], tensors["labels"], record["ids"])
    pictures = open_run_pictures(loaded, root, progress)
    return keep_voters(run, pictures, parts_of(loaded, pictures).train, device, progress)


def vote(voters: Voters, features: Tensor, k: int, classes: int) -> Votes:
    """The votes of the k training pictures nearest to features (m, D). `DataError` for k above their number."""
    if k > len(voters.labels):
        raise DataError(f"neighbours: {k} asked for, but {len(voters.labels)} training pictures vote; take at most as many")
    parts = []
    for start in range(0, len(features), ASKED):
        cosines = F.normalize(features[start : start + ASKED].float(), dim=-1) @ voters.features.mT
        voter, cosine = _nearest(cosines, k)
        shares = F.one_hot(voters.labels[voter], classes).sum(1) / k
        parts.append(Votes(shares, voter, cosine))
    return Votes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _nearest(cosines: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Places and values (m, k) of the largest of cosines (m, n), falling, ties by rising place."""
    found = cosines.topk(k, dim=-1)
    place, value = found.indices.sort(dim=-1)[0], found.values
    crowded = (cosines >= value[:, -1:]).sum(-1) > k  # equal ones at the end: which of them came is not said
    if bool(crowded.any()):
        place[crowded] = cosines[crowded].sort(dim=-1, descending=True, stable=True).indices[:, :k].sort(dim=-1)[0]
    order = cosines.gather(1, place).sort(dim=-1, descending=True, stable=True)
    return place.gather(1, order.indices), order.values

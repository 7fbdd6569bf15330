"""Which pictures an encoder has seen: themselves, their copies, and the others of their groups."""

from __future__ import annotations

import numpy as np
import pytest

from modicum.classifiers.candidates import search_of
from modicum.classifiers.classifier import EncoderReference, Request, build_classifier
from modicum.classifiers.rules import Settings
from modicum.classifiers.seen import require_unseen, seen_by
from modicum.classifiers.selection import Labelled, choose, estimate
from modicum.classifiers.support import support_of
from modicum.errors import DataError


def test_copies_and_groups_of_seen_pictures_count_as_seen() -> None:
    groups = ["anna", None, "anna", None, "ben"]
    support = support_of(np.eye(5), list("aabbb"), list("vwxyz"), ["1", "2", "3", "2", "5"], groups)
    found = seen_by(["v", "w", "gone"], support)
    assert found is not None
    assert found.tolist() == [True, True, True, True, False]
    assert seen_by([], support) is None


def test_seen_pictures_take_part_in_choosing_but_measure_nothing(support) -> None:
    """The first twelve are seen: held-out rows are the others; training parts still hold the seen ones."""
    pictures = support([12, 12], apart=0.5)
    seen = np.arange(24) % 12 < 6
    labels = np.repeat([0, 1], 12)
    data = Labelled(pictures.features, labels, np.arange(24), 2, None, seen)
    search = search_of(Settings("protonet", "none"), 3)
    assert search is not None
    whole, honest = (estimate(one, search, 3, 0) for one in (data._replace(seen=None), data))
    assert honest.rows.tolist() == np.flatnonzero(~seen).tolist()
    wholly = dict(zip(whole.rows.tolist(), whole.probabilities.argmax(1), strict=True))
    assert [wholly[row] for row in honest.rows.tolist()] == honest.probabilities.argmax(1).tolist()
    best, plain = (choose(one, search.candidates, 3, 0) for one in (data, data._replace(seen=None)))
    assert best.score == plain.score
    assert set(best.rows.tolist()) == set(np.flatnonzero(~seen).tolist())
    assert best.temperature != plain.temperature


def test_where_all_pictures_are_seen_nothing_is_measured(support) -> None:
    pictures = support([6, 6])
    found = build_classifier(pictures, Request(folds=2), EncoderReference("", "", pictures.ids))
    assert len(found.estimate.rows) == len(found.known) == 0
    assert not found.estimate.measured.any()
    assert not found.calibrated


def test_what_trained_the_encoder_cannot_go(support) -> None:
    pictures = support([3, 3])
    left = pictures.without([pictures.ids[0]])
    require_unseen((), pictures, left)
    require_unseen(pictures.ids[1:], pictures, left)
    with pytest.raises(DataError, match=r"adapted to 1 of these pictures \(c0/0000\)"):
        require_unseen(pictures.ids[:1], pictures, left)

"""Tasks as pure functions of (seed, stream, t); unequal shots and ways by masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modicum.episodes.cutting import cut
from modicum.episodes.frozen import freeze, replay
from modicum.episodes.sampler import EpisodeSampler
from modicum.errors import ConfigError, DataError, FileFormatError
from modicum.runtime import Ranks

LABELS = np.repeat(np.arange(12), [20, 9, 30, 20, 20, 20, 7, 20, 20, 20, 20, 20])[np.random.default_rng(0).permutation(226)]


def sampler(**changes: object) -> EpisodeSampler:
    options = {"ways": 5, "shots": 2, "queries": 3, "seed": 7, "stream": "train", **changes}
    return EpisodeSampler(LABELS, **options)  # type: ignore[arg-type]


def test_labels_and_classes_of_a_task_agree_and_no_picture_stands_twice() -> None:
    tasks = sampler().tasks(range(50))
    for t in range(50):
        assert (LABELS[tasks.support[t]] == tasks.classes[t][tasks.support_y[t]]).all()
        assert (LABELS[tasks.query[t]] == tasks.classes[t][tasks.query_y[t]]).all()
        both = np.concatenate([tasks.support[t], tasks.query[t]])
        assert len(set(both.tolist())) == len(both) == 5 * 5
        assert len(set(tasks.classes[t].tolist())) == 5


def test_a_task_depends_on_seed_stream_and_number_only() -> None:
    alone, among = sampler().tasks([13]), sampler().tasks(range(10, 20))
    assert (alone.support[0] == among.support[3]).all()
    assert (alone.query[0] == among.query[3]).all()
    for other in (sampler(seed=8), sampler(stream="test")):
        assert not (other.tasks([13]).support == alone.support).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_ranks_share_out_the_tasks_of_one_process(size: int) -> None:
    whole = sampler().step(3, 8)
    parts = [sampler().step(3, 8, Ranks(rank, size)) for rank in range(size)]
    numbers = np.concatenate([part.number for part in parts])
    order = np.argsort(numbers)
    assert (numbers[order] == whole.number).all()
    assert (whole.number == np.arange(24, 32)).all()
    assert (np.concatenate([part.query for part in parts])[order] == whole.query).all()


def test_label_order_is_drawn_afresh() -> None:
    """A class must not always get the same label: over 400 tasks class 0 takes every label about equally often."""
    tasks = sampler().tasks(range(400))
    places = np.where(tasks.classes == 0)[1]
    counts = np.bincount(places, minlength=5)
    assert counts.sum() > 120
    assert counts.min() > 0.5 * counts.mean()


def test_support_and_query_are_drawn_alike() -> None:
    """Every picture of a class is as likely in the support as in the query set, relative to their sizes."""
    tasks = sampler(shots=3, queries=4).tasks(range(900))
    picture = np.flatnonzero(LABELS == 6)
    assert np.isin(tasks.support, picture).sum() == 3 * (tasks.classes == 6).sum()
    per_picture = np.array([(tasks.support == p).sum() for p in picture])
    assert per_picture.min() > 0.6 * per_picture.mean()


def test_unequal_ways_and_shots_are_masked_within_bounds() -> None:
    tasks = sampler(ways=(3, 6), shots=(1, 4)).tasks(range(60))
    ways = tasks.way_mask.sum(1)
    assert set(ways.tolist()) == {3, 4, 5, 6}
    shots = tasks.support_mask.reshape(60, 6, 4).sum(2)
    assert set(shots[tasks.way_mask].tolist()) == {1, 2, 3, 4}
    assert (shots[~tasks.way_mask] == 0).all()
    assert (tasks.query_mask.reshape(60, 6, 3).all(2) == tasks.way_mask).all()


def test_too_few_classes_says_the_largest_ways_that_works() -> None:
    with pytest.raises(ConfigError, match=r"largest ways that works is 12"):
        sampler(ways=13)


def test_small_classes_are_named_or_left_out() -> None:
    with pytest.raises(DataError, match=r"shots \+ queries = 10: horse \(9\), sheep \(7\)"):
        sampler(shots=5, queries=5, names=["cat", "horse", *"abcd", "sheep", *"efghi"])
    tasks = sampler(shots=5, queries=5, drop_small=True).tasks(range(40))
    assert not np.isin(tasks.classes, [1, 6]).any()


def test_cutting_gathers_the_right_pictures_channels_first() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (len(LABELS), 4, 4, 3), dtype=np.uint8)
    tasks = sampler().tasks([0, 1])
    episode = cut(pixels, tasks)
    assert episode.support.x.shape == (2, 10, 3, 4, 4)
    expected = pixels[tasks.query[1, 4]].transpose(2, 0, 1)
    assert (episode.query.x[1, 4].numpy() == expected).all()


def test_frozen_tasks_are_replayed_and_tied_to_their_pictures(tmp_path: Path) -> None:
    ids = [str(i) for i in range(len(LABELS))]
    tasks = sampler().tasks(range(5))
    freeze(tmp_path / "tasks.safetensors", tasks, ids)
    again = replay(tmp_path / "tasks.safetensors", ids)
    assert all((a == b).all() for a, b in zip(tasks, again, strict=True))
    with pytest.raises(DataError, match="other pictures"):
        replay(tmp_path / "tasks.safetensors", ids[:-1])
    data = bytearray((tmp_path / "tasks.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "tasks.safetensors").write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="checksum"):
        replay(tmp_path / "tasks.safetensors", ids)

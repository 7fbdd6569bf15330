"""Pools of pictures and tasks: who is drawn from where, that nothing else changes, and what is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from modicum.episodes.cutting import cut
from modicum.episodes.diversity import class_sets, draw_from_pools, picture_pools, with_noise_support
from modicum.episodes.sampler import EpisodeSampler, Tasks
from modicum.errors import ConfigError, DataError

SIZES = [20, 9, 30, 20, 20, 20, 7, 20, 20, 20, 20, 20]
LABELS = np.repeat(np.arange(12), SIZES)[np.random.default_rng(0).permutation(226)]


def sampler(**changes: object) -> EpisodeSampler:
    options = {"ways": 5, "shots": 2, "queries": 3, "seed": 7, "stream": "train", **changes}
    return EpisodeSampler(LABELS, **options)  # type: ignore[arg-type]


def drawn(tasks: Tasks, part: str) -> dict[int, set[int]]:
    """Class -> pictures of it that were drawn as support (or query)."""
    pictures, labels = getattr(tasks, part), getattr(tasks, f"{part}_y")
    found: dict[int, set[int]] = {}
    for index, label in zip(pictures.ravel(), np.take_along_axis(tasks.classes, labels, 1).ravel(), strict=True):
        found.setdefault(int(label), set()).add(int(index))
    return found


@pytest.mark.parametrize(
    ("changes", "digest"),
    [
        ({}, "a1c6a068fde25d93"),
        ({"ways": (3, 6), "shots": (1, 4)}, "1616cc6da8d3362a"),
        ({"shots": 5, "queries": 5, "drop_small": True, "stream": "test", "seed": 0}, "0184ea077e886e97"),
    ],
)
def test_without_the_options_tasks_are_those_drawn_before_there_were_any(changes: dict[str, object], digest: str) -> None:
    """Digests recorded with the sampler that knew no pools."""
    state = hashlib.sha256()
    for part in sampler(**changes).tasks(range(40)):
        state.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
    assert state.hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("restricted", "other", "option"), [("support", "query", "support_pool"), ("query", "support", "query_pool")]
)
def test_a_pool_holds_so_many_pictures_of_each_class_and_the_other_role_takes_all(
    restricted: str, other: str, option: str
) -> None:
    tasks = sampler(**{option: 4}).tasks(range(1_500))
    few, all_of = drawn(tasks, restricted), drawn(tasks, other)
    assert {len(pictures) for pictures in few.values()} == {4}
    for label in range(12):
        own = np.flatnonzero(np.equal(LABELS, label)).tolist()
        assert few[label] < set(own)
        assert all_of[label] == set(own)


def test_what_support_leaves_of_its_pool_is_as_likely_a_query_as_any_other_picture() -> None:
    """Class 2: 30 pictures, 2 of the pool's 4 are support, so a pool picture is free in half of the tasks."""
    tasks = sampler(support_pool=4).tasks(range(3_000))
    pool = drawn(tasks, "support")[2]
    counts = {picture: int((tasks.query == picture).sum()) for picture in np.flatnonzero(LABELS == 2).tolist()}
    ratio = np.mean([counts[p] for p in pool]) / np.mean([n for p, n in counts.items() if p not in pool])
    assert 0.42 < ratio < 0.58


@pytest.mark.parametrize("pools", [(4, None), (None, 4), (4, 4), (2, 3), (5, 3), (2, None), (None, 3), (40, 40)])
def test_no_picture_is_support_and_query_of_a_task(pools: tuple[int | None, int | None]) -> None:
    """Also where a pool is exactly as large as needed, in classes of 7 pictures, and where pools overlap."""
    tasks = sampler(support_pool=pools[0], query_pool=pools[1]).tasks(range(300))
    for t in range(300):
        both = np.concatenate([tasks.support[t], tasks.query[t]])
        assert len(set(both.tolist())) == 5 * 5
    for part, pool in zip(("support", "query"), pools, strict=True):
        limits = {label: min(pool or size, size) for label, size in enumerate(SIZES)}
        assert all(len(pictures) <= limits[label] for label, pictures in drawn(tasks, part).items())


def test_pools_that_overlap_in_a_class_of_just_enough_pictures_always_leave_a_draw() -> None:
    """5 pictures, 2 shots, 3 queries, pools of 4 and 4: they share 3 pictures, of which support may take one."""
    pools = picture_pools(np.array([3]), np.array([5]), 4, 4, seed=1)
    assert (pools.support & pools.query).sum() == 3
    for draw in range(200):
        place = draw_from_pools(np.random.default_rng(draw), pools, 2, 3)[0]
        assert sorted(place.tolist()) == [0, 1, 2, 3, 4]
        assert pools.support[0, place[:2]].all()
        assert pools.query[0, place[2:]].all()


def test_the_pool_of_a_class_depends_on_seed_and_class_only() -> None:
    """Not on the other classes, the stream, the order of tasks, nor on the other pool."""
    few = drawn(sampler(support_pool=4).tasks(range(1_500)), "support")
    alone = drawn(sampler(support_pool=4, query_pool=8, stream="other", ways=3).tasks(range(1_500)), "support")
    assert few == alone
    fewer = EpisodeSampler(np.where(LABELS < 6, LABELS, 0)[LABELS < 6], 5, 2, 3, seed=7, support_pool=4)
    places = {label: {int(np.flatnonzero(LABELS < 6)[i]) for i in pictures} for label, pictures in
              drawn(fewer.tasks(range(1_500)), "support").items()}  # fmt: skip
    assert places == {label: few[label] for label in range(6)}
    assert few != drawn(sampler(support_pool=4, seed=8).tasks(range(1_500)), "support")


def test_a_task_is_a_function_of_its_number_under_every_option() -> None:
    options = {"support_pool": 4, "query_pool": 5, "task_pool": 4}
    alone, among = sampler(**options).tasks([13]), sampler(**options).tasks(range(10, 20))
    assert (alone.support[0] == among.support[3]).all()
    assert (alone.query[0] == among.query[3]).all()


def test_thirteen_tasks_of_64_classes_use_all_of_them() -> None:
    """12 sets of 5 and the 4 classes left over with one used before: the paper's 13 tasks."""
    sets = class_sets(64, 5, 13, seed=0, stream="train")
    assert sets.shape == (13, 5)
    assert sorted(np.bincount(sets.ravel(), minlength=64).tolist()) == [1] * 63 + [2]
    assert all(len(set(row)) == 5 for row in sets.tolist())
    assert not (class_sets(64, 5, 13, seed=1, stream="train") == sets).all()


def test_task_pool_draws_only_its_sets_in_every_label_order() -> None:
    tasks = sampler(task_pool=3).tasks(range(600))
    assert len({tuple(sorted(row)) for row in tasks.classes.tolist()}) == 3
    assert set(tasks.classes.ravel().tolist()) == set(range(12))
    places = np.bincount(np.where(tasks.classes == 0)[1], minlength=5)
    assert places.min() > 0.5 * places.mean()
    assert sampler(task_pool=3).note == sampler().note == ""


def test_more_sets_than_one_round_are_distinct_up_to_all_there_are() -> None:
    assert len({tuple(row) for row in class_sets(6, 3, 20, seed=0, stream="train").tolist()}) == 20  # 6 over 3
    with pytest.raises(ConfigError, match="6 classes make 20 sets of 3; expected 1 to that, found 21"):
        class_sets(6, 3, 21, seed=0, stream="train")


def test_too_few_sets_for_all_classes_are_allowed_and_said() -> None:
    assert sampler(task_pool=2).note == "task_pool: 2 sets of 5 use 10 of 12 classes only"


def test_noise_is_the_support_of_its_class_and_queries_stay_real() -> None:
    pixels = np.zeros((226, 4, 4, 3), np.uint8)
    more, noise = with_noise_support(pixels, 12, 5, seed=3)
    assert more.shape == (226 + 60, 4, 4, 3)
    assert more.dtype == np.uint8
    tasks = sampler(support_pool=5, noise=noise).tasks(range(200))
    few = drawn(tasks, "support")
    assert few == {label: set(noise[label].tolist()) for label in range(12)}
    assert (LABELS[tasks.query] == np.take_along_axis(tasks.classes, tasks.query_y, 1)).all()
    assert {len(pictures) for pictures in drawn(tasks, "query").values()} == set(SIZES)  # all pictures, none set aside
    episode = cut(more, tasks)
    assert 120 < episode.support.x.float().mean() < 135  # uniform on 0..255: 127.5
    assert episode.query.x.max() == 0


def test_the_noise_of_a_class_depends_on_seed_and_class_only() -> None:
    pixels = np.zeros((3, 8, 8, 1), np.uint8)
    (many, places), (few, _) = with_noise_support(pixels, 4, 5, seed=3), with_noise_support(pixels[:1], 2, 5, seed=3)
    assert (many[places[1]] == few[-5:]).all()
    assert len({picture.tobytes() for picture in many[3:]}) == 20
    assert not (with_noise_support(pixels, 4, 5, seed=4)[0][3:] == many[3:]).all()


def test_noise_needs_no_real_support_picture() -> None:
    """A class of as many pictures as queries will do: here the 7 of class 6, with 7 queries and 2 shots."""
    _, noise = with_noise_support(np.zeros((226, 1, 1, 1), np.uint8), 12, 5, seed=0)
    assert 6 in sampler(queries=7, noise=noise).tasks(range(60)).classes
    with pytest.raises(DataError, match=r"fewer pictures than queries = 8: 6 \(7\)"):
        sampler(queries=8, noise=noise)


def test_pools_too_small_for_a_task_are_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"support_pool: 5 pictures per class, but a task takes 6 shots"):
        sampler(shots=6, queries=1, support_pool=5)
    with pytest.raises(ConfigError, match=r"query_pool: 5 pictures per class, but a task takes 6 queries"):
        sampler(shots=1, queries=6, query_pool=5)
    with pytest.raises(ConfigError, match=r"support_pool: 1 pictures"):
        sampler(noise=np.zeros((12, 1), np.int64))
    with pytest.raises(ConfigError, match=r"12 classes make 792 sets of 5; expected 1 to that, found 793"):
        sampler(task_pool=793)
    with pytest.raises(DataError, match=r"shots \+ queries = 8: 6 \(7\)"):
        sampler(shots=4, queries=4, support_pool=4, query_pool=4)

"""Support sets: order, union, removal, thumbnails."""

import numpy as np
import pytest

from modicum.classifiers.support import Support, support_of, thumbnails_of
from modicum.errors import DataError


def _support(ids: str = "abcd", labels: str = "xxyy", features: np.ndarray | None = None) -> Support:
    x = np.arange(2.0 * len(ids)).reshape(-1, 2) if features is None else features
    return support_of(x, list(labels), list(ids), [f"hash-{i}" for i in ids], [None] * len(ids))


def test_order_of_ids_whatever_the_order_of_pictures() -> None:
    there, back = _support(), _support("dcba", "yyxx", np.arange(8.0).reshape(-1, 2)[::-1])
    assert (there.ids, there.labels, there.digests) == (back.ids, back.labels, back.digests)
    assert (there.features == back.features).all()


def test_union_counts_a_picture_once() -> None:
    both = _support("ab", "xx").joined(_support("cab", "yxx"))
    assert both.ids == ("a", "b", "c")
    assert both.classes == ("x", "y")


def test_an_id_that_means_something_else_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 pictures have the id of another.*: a;"):
        _support().joined(_support("a", "y"))
    with pytest.raises(DataError, match="id of another"):
        _support().joined(support_of(np.zeros((1, 2)), ["x"], ["a"], ["other content"]))
    with pytest.raises(DataError, match="'a' twice"):
        _support("aa", "xy")
    with pytest.raises(DataError, match="equally many features, found 2 and 3"):
        _support().joined(support_of(np.zeros((1, 3)), ["x"], ["e"]))


def test_forgetting_by_id_and_by_class() -> None:
    three = _support("abcdef", "xxyyzz")
    assert three.without(["a", "d"]).ids == ("b", "c", "e", "f")
    assert three.without(class_name="y").classes == ("x", "z")
    assert (three.without(["a"]).features == three.features[1:]).all()


def test_unknown_names_are_answered_with_the_nearest_and_nothing_is_lost() -> None:
    cats = support_of(np.zeros((3, 2)), ["cat", "cat", "dog"], ["cat/one.png", "cat/two.png", "dog/one.png"])
    with pytest.raises(DataError, match=r"'cat/oen.png'.*did you mean 'cat/one.png'.*nothing was forgotten"):
        cats.without(["cat/oen.png"])
    with pytest.raises(DataError, match=r"no class 'cta'.*did you mean 'cat'"):
        cats.without(class_name="cta")
    with pytest.raises(DataError, match="1 class would be left"):
        cats.without(class_name="dog")
    with pytest.raises(DataError, match="nothing to forget"):
        cats.without()
    assert len(cats) == 3


def test_bad_embeddings_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        support_of([[np.nan, 0.0]], ["x"], ["a"])
    with pytest.raises(DataError, match="expected n of each"):
        support_of([[1.0, 0.0]], ["x", "y"], ["a", "b"])


def test_thumbnails_are_means_over_blocks() -> None:
    """64 wide: blocks of 2 x 2 (0, 0, 100, 101 -> 50.25 -> 50); 28 wide: as it is."""
    picture = np.tile(np.array([[0, 0], [100, 101]], np.uint8), (32, 32))[None, :, :, None]
    assert thumbnails_of(picture).shape == (1, 32, 32, 1)
    assert (thumbnails_of(picture) == 50).all()
    small = np.random.default_rng(0).integers(0, 255, (3, 28, 28, 3), np.uint8)
    assert (thumbnails_of(small) == small).all()
    assert thumbnails_of(np.zeros((1, 84, 84, 3), np.uint8)).shape == (1, 28, 28, 3)

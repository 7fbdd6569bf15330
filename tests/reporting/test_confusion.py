"""Which classes a small matrix shows, and what becomes of the others."""

from __future__ import annotations

import numpy as np

from modicum.reporting.confusion import mistakes, recalls, table, worst_classes

COUNTS = np.array([[8, 2, 0, 0], [0, 10, 0, 0], [0, 0, 5, 5], [1, 0, 3, 6]])
NAMES = ("a", "b", "c", "d")


def test_mistakes_are_counted_per_direction_and_never_on_the_diagonal() -> None:
    found = [(m.true, m.predicted, m.count, m.total) for m in mistakes(COUNTS, NAMES)]
    assert found == [("c", "d", 5, 10), ("d", "c", 3, 10), ("a", "b", 2, 10), ("d", "a", 1, 10)]
    assert mistakes(COUNTS, NAMES)[0].share == 0.5


def test_recalls_of_classes_with_pictures() -> None:
    counts = np.array([[1, 3, 0], [0, 2, 0], [0, 0, 0]])
    found = [(recall.name, recall.value, recall.n) for recall in recalls(counts, ("x", "y", "never seen"))]
    assert found == [("x", 0.25, 4), ("y", 1.0, 2)]


def test_worst_classes_are_those_of_the_most_frequent_mistakes_not_the_largest_classes() -> None:
    large = COUNTS.copy()
    large[1, 1] = 1_000_000
    assert worst_classes(large, most=2) == [2, 3]


def test_the_other_classes_are_summed_so_that_nothing_is_lost() -> None:
    shown = table(COUNTS, NAMES, most=2)
    assert shown.names == ("c", "d", "the other 2 classes")
    np.testing.assert_array_equal(shown.counts, [[5, 5, 0], [3, 6, 1], [0, 0, 20]])
    assert shown.others == 2
    assert shown.counts.sum() == COUNTS.sum()


def test_few_classes_are_shown_whole_with_their_names_as_heads_only_where_short() -> None:
    assert table(COUNTS, NAMES).keys == NAMES
    assert table(COUNTS, ("a", "b", "c", "a long class name")).keys == ("1", "2", "3", "4")

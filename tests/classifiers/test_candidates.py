"""What a search tries: order, budgets, and what the page says of it."""

import pytest

from modicum.classifiers.candidates import AUTO, BUDGET, SCALES, cost, grid, narrowed
from modicum.classifiers.margins import MARGINS
from modicum.registry import HEADS


def test_small_searches_try_every_head_simplest_first() -> None:
    search = narrowed(200, 256, 5, 5, "auto")
    assert (search.heads, search.note) == (AUTO, "")
    for head in MARGINS:
        strengths = [s.c for s in search.candidates if s.head == head]
        assert strengths == sorted(strengths)
    penalties = [s.penalty for s in search.candidates if s.head == "ridge" and not s.balanced and s.phi == "l2"]
    assert penalties == sorted(penalties, reverse=True)


def test_a_search_is_narrowed_by_counts_alone() -> None:
    """The dearest heads go first, then ridge gets fewer candidates, then it goes too; the note says so."""
    clothing = narrowed(5_096, 256, 17, 5, "auto")
    assert clothing.heads == ("protonet", "cosine", "ridge", "linear")
    assert clothing.note == "without svm, metaoptnet-svm"
    huge = narrowed(10_000, 8_192, 100, 5, "auto")
    assert huge.heads == ("protonet", "cosine")
    assert huge.note == "3 inner folds, no ridge, without linear, svm, metaoptnet-svm"
    assert narrowed(10_000, 8_192, 100, 5, "ridge").heads == ("ridge",)
    middle = narrowed(3_000, 1_600, 20, 5, "auto")
    assert middle.note
    assert cost(3_000, 1_600, 20, 5, middle) <= BUDGET


@pytest.mark.parametrize("head", [name for name in SCALES if name != "mct"])
def test_a_named_head_is_the_only_one_and_its_settings_are_searched(head: str) -> None:
    search = narrowed(100, 64, 5, 5, head)
    assert search.heads == (head,)
    assert len(search.candidates) == len(set(search.candidates)) == len(grid(head)) > 1
    large = narrowed(8_000, 512, 60, 5, head)
    assert large.heads == (head,)
    assert cost(8_000, 512, 60, 5, large) <= cost(8_000, 512, 60, 5, search)


def test_every_head_that_can_be_trained_is_searched_or_refused_with_a_reason() -> None:
    from modicum.classifiers.classifier import REFUSED

    assert set(HEADS) <= {*SCALES, *REFUSED}
    assert not set(SCALES) & set(REFUSED)

"""Problems of files become findings."""

from __future__ import annotations

from modicum.data.findings import from_problems, some
from modicum.data.images import Problem


def test_one_finding_for_every_kind_with_all_paths_and_the_first_few_reasons():
    problems = [Problem(f"{index}.png", "truncated", "cut") for index in range(5)] + [Problem("x.heic", "ignored", "no")]
    truncated, ignored = from_problems(problems, 1000)
    assert truncated.paths == ("0.png", "1.png", "2.png", "3.png", "4.png")
    assert truncated.message == "cut off, left out: 5 (0.png: cut, 1.png: cut, 2.png: cut, ...)"
    assert (truncated.severity, ignored.severity) == ("warning", "note")


def test_a_tenth_of_unusable_pictures_is_unsafe():
    lost = [Problem("a", "missing", ""), Problem("b", "too-large", "")]
    assert [finding.kind for finding in from_problems(lost, 21)] == ["missing", "too-large"]
    assert [finding.kind for finding in from_problems(lost, 20)] == ["missing", "too-large", "many-bad"]


def test_some_names():
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c", "d"]) == "a, b, c, ..."

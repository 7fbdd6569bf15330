"""Progress without a terminal: few lines; with one: a bar with the time left."""

from __future__ import annotations

import io

import pytest

from modicum.commands.progress import PlainLines, progress, time_left


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_grows_with_what_is_left() -> None:
    # 100 of 400 in 60 s: 300 more take 180 s
    assert time_left(100, 400, 60.0) == "3 min left"
    assert time_left(100, 400, 10.0) == "30 s left"
    assert time_left(1, 101, 100.0) == "3 h left"
    assert time_left(0, 400, 60.0) == ""
    assert time_left(400, 400, 60.0) == "0 s left"


def test_short_work_prints_nothing_and_long_work_a_line_a_minute() -> None:
    stream, clock = io.StringIO(), Clock()
    tick = PlainLines("training", stream, clock)
    for second in range(150):
        clock.now = float(second)
        tick(second, 200)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "training: 20/200 (10 %), 3 min left",
        "training: 80/200 (40 %), 2 min left",
        "training: 140/200 (70 %), 60 s left",
    ]


def test_a_second_count_starts_its_own_clock() -> None:
    stream, clock = io.StringIO(), Clock()
    tick = PlainLines("fitting", stream, clock)
    tick(1, 10)
    clock.now = 1000.0
    tick(0, 50)
    clock.now = 1100.0
    tick(25, 50)
    assert stream.getvalue().splitlines()[-1] == "fitting: 25/50 (50 %), 2 min left"


def test_what_was_done_before_a_resumption_does_not_count_as_speed() -> None:
    stream, clock = io.StringIO(), Clock()
    tick = PlainLines("training", stream, clock)
    tick(900, 1000)
    clock.now = 100.0
    tick(910, 1000)  # 10 in 100 s: 90 more take 900 s
    assert stream.getvalue() == "training: 910/1000 (91 %), 15 min left\n"


def test_an_unknown_total_is_no_error() -> None:
    stream, clock = io.StringIO(), Clock()
    tick = PlainLines("reading", stream, clock)
    clock.now = 100.0
    tick(5, 0)
    assert stream.getvalue() == "reading: 5/0\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_counts_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("training") as tick:
        for step in range(1, 31):
            tick(step, 30)
        tick(1, 7)
    shown = terminal.getvalue()
    assert "training" in shown
    assert "left:" in shown
    assert "1/7" in shown

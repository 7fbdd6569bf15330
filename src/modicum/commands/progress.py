"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from modicum.runtime import Progress

FIRST_LINE = 20.0  # seconds without a word are fine where nobody watches
BETWEEN_LINES = 60.0


def time_left(done: int, total: int, elapsed: float) -> str:
    """`3 min left` from what is done after so many seconds; "" where nothing is done yet."""
    if done <= 0 or total <= 0:
        return ""
    seconds = elapsed * max(total - done, 0) / done
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"


class PlainLines:
    """A `Progress` that prints a line after FIRST_LINE seconds and then one every BETWEEN_LINES."""

    def __init__(self, what: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self.stream = stream
        self.clock = clock
        self.due = clock() + FIRST_LINE
        self.first = (0, 0, 0.0)  # done, total and time of the first call of this count: what was before it tells nothing
        self.done = 0

    def __call__(self, done: int, total: int) -> None:
        now = self.clock()
        if total != self.first[1] or done < self.done:
            self.first = (done, total, now)
        self.done = done
        if now < self.due:
            return
        self.due = now + BETWEEN_LINES
        share = f" ({100 * done // total} %)" if total > 0 else ""
        left = time_left(done - self.first[0], total - self.first[0], now - self.first[2])
        print(f"{self.what}: {done}/{total}{share}{', ' + left if left else ''}", file=self.stream, flush=True)


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bars:
        task = bars.add_task(what, total=None)
        before = (0, -1)

        def tick(done: int, total: int) -> None:
            nonlocal before
            if total != before[1] or done < before[0]:
                bars.reset(task, total=total, completed=done)
            else:
                bars.update(task, completed=done)
            before = (done, total)

        yield tick


@contextmanager
def progress(what: str, stream: TextIO | None = None) -> Iterator[Progress]:
    """A callable (done, total) that shows how far `what` is; a new total or a smaller `done` starts a new count."""
    stream = stream or sys.stderr
    if stream.isatty():
        with _bar(what) as tick:
            yield tick
    else:
        yield PlainLines(what, stream)

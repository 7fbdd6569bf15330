"""`modicum demo`: train on handwriting, evaluate, report."""

from __future__ import annotations

from modicum.commands.progress import progress
from modicum.configs import Demo


def run(config: Demo) -> int:
    """Run the demonstration and say where its page is."""
    from modicum.recipes.demo import run as demonstrate
    from modicum.reporting.page import write_report

    with progress("demo") as tick:
        page = demonstrate(config, progress=tick, report=write_report)
    print(f"report: {page.resolve()}")
    return 0

"""`modicum report`: one self-contained page about runs and classifiers."""

from __future__ import annotations

from pathlib import Path

from modicum.configs import Report


def run(config: Report) -> int:
    """Write the page and say where it is."""
    from modicum.reporting.page import write_report

    page = write_report([Path(source) for source in config.sources], Path(config.out))
    print(f"report: {page}")
    return 0

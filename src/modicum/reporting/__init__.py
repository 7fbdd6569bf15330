"""Figures and self-contained HTML pages made from result files only."""

from modicum.reporting.page import write_report

__all__ = ["write_report"]

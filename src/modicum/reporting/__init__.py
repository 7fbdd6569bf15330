"""Figures and self-contained HTML pages made from result files only."""

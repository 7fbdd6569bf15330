"""Metrics with their uncertainty, calibration and analyses."""

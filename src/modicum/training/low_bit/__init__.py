"""Trainings of `quantize`: the stages of a low-bit network, and what is measured of it."""

"""Trainings on the rows of one table: Meta-Neighborhoods for regression and its baselines."""

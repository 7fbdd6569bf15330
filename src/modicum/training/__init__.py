"""Outer loops, schedules, checkpoints, logs, evaluation of a run."""

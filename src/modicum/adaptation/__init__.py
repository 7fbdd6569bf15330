"""Heads and learners: support set -> predictor."""

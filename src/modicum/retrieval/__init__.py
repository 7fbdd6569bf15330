"""Prediction with retrieved neighbours: Retrieval Augmented Classification and its baselines."""

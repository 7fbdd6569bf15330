"""Training, evaluation and runs of Meta-Neighborhoods and its baselines on pictures of all classes."""

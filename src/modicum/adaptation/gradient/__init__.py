"""Adaptation by gradient steps: one inner loop with exchangeable start, rule and choice of moving parameters."""

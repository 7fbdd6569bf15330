"""Batched solvers behind the heads; Cholesky, never batched LU."""

"""Benchmarks: each prints a table; none passes or fails."""

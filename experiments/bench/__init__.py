"""Benchmarks: each prints one table; the figures are in docs/results/speed.md."""

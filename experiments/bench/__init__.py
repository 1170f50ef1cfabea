"""Benchmarks: each prints one table; the figures stand in docs/benchmarks.md."""

"""Benchmarks. Each prints its measurements; docs/benchmarks.md records them."""

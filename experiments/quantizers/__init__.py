"""Quantizers compared as the bottleneck of one detector."""

"""Detectors that are fitted to the features of a few good parts, without training."""

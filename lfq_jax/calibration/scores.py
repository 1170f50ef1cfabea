"""Scores of images whose answer is known."""

from typing import NamedTuple

Scores = dict[str, list[float]]
"""Every image score by its name, and `map_max`: the maximum of the smoothed map."""


class CalibrationScores(NamedTuple):
    """Scores of images whose answer is known, by kind."""

    varied: Scores
    """Variations of the shots, each compared with the others."""
    synthetic_good: Scores
    """The good half of the synthetic validation."""
    synthetic_anomalous: Scores
    """Its anomalous half."""

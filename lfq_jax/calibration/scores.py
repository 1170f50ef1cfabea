"""Scores of images that are known to be good or anomalous."""

from typing import NamedTuple

Scores = dict[str, list[float]]
"""A list of values for every image score, by name, and for `map_max`, the maximum of
the smoothed map."""


class CalibrationScores(NamedTuple):
    """Scores of images that are known to be good or anomalous, by kind."""

    varied: Scores
    """Variations of the shots, each compared with the other shots."""
    synthetic_good: Scores
    """The good half of the synthetic validation."""
    synthetic_anomalous: Scores
    """The anomalous half of the synthetic validation."""

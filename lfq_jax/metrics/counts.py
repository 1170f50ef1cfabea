"""Counts of good and anomalous scores at every threshold."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped


class Counts(NamedTuple):
    """How much of each class lies at each threshold, from the highest score down."""

    thresholds: Float64[np.ndarray, "t"]
    """The smallest score that is counted here."""
    normal: Float64[np.ndarray, "t"]
    """Normal pixels (or images)."""
    anomalous: Float64[np.ndarray, "t"]
    """Anomalous pixels (or images)."""
    covered: Float64[np.ndarray, "t"]
    """Sum over the ground-truth regions of the share of the region that lies here. The
    total is the number of regions."""
    tied: Bool[np.ndarray, "t"]
    """True where scores that differ may be counted together."""


def count_scores(
    scores: Shaped[np.ndarray, "n"],
    anomalous: Shaped[np.ndarray, "a"],
    region_sizes: Int64[np.ndarray, "a"] | None = None,
) -> Counts:
    """Exact counts at every score of an anomalous pixel, and between them.

    Normal pixels between two neighbouring anomalous scores are counted together: that
    changes no figure, and leaves out only points on straight lines of the curves.

    Args:
      scores: of all pixels (or images).
      anomalous: scores of the anomalous ones.
      region_sizes: of their regions; without it nothing is covered.
    """
    ordered = np.sort(scores)
    values, place = np.unique(anomalous, return_inverse=True)
    found = np.bincount(place, minlength=len(values)).astype(np.float64)
    covered = np.zeros(len(values))
    if region_sizes is not None:  # of nothing, bincount gives integers
        covered += np.bincount(place, 1.0 / region_sizes, len(values))
    below = np.searchsorted(ordered, values, "left")
    up_to = np.searchsorted(ordered, values, "right")
    return _interleaved(ordered, values, below, up_to, found, covered)


def _interleaved(
    ordered: Shaped[np.ndarray, "n"],
    values: Shaped[np.ndarray, "v"],
    below: Int64[np.ndarray, "v"],
    up_to: Int64[np.ndarray, "v"],
    found: Float64[np.ndarray, "v"],
    covered: Float64[np.ndarray, "v"],
) -> Counts:
    """Counts at `values` and at what lies below, between and above them."""
    size = 2 * len(values) + 1
    starts = np.zeros(size, np.int64)  # in `ordered`, of each group
    starts[1::2], starts[2::2] = below, up_to
    everything = np.diff(starts, append=len(ordered))
    anomalous, shares = np.zeros(size), np.zeros(size)
    anomalous[1::2], shares[1::2] = found, covered
    some = np.flatnonzero(everything)[::-1]
    return Counts(
        thresholds=ordered[starts[some]].astype(np.float64),
        normal=(everything - anomalous)[some],
        anomalous=anomalous[some],
        covered=shares[some],
        tied=np.zeros(len(some), bool),
    )

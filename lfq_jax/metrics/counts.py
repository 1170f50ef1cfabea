"""Counts of good and anomalous scores at every threshold."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped


class Counts(NamedTuple):
    """Counts of each class in groups of scores, from the highest scores down."""

    thresholds: Float64[np.ndarray, "t"]
    """Smallest score of each group."""
    normal: Float64[np.ndarray, "t"]
    """Number of normal pixels (or images)."""
    anomalous: Float64[np.ndarray, "t"]
    """Number of anomalous pixels (or images)."""
    covered: Float64[np.ndarray, "t"]
    """Share of each ground-truth region with a score in this group, summed over the
    regions. The total over all groups is the number of regions."""
    tied: Bool[np.ndarray, "t"]
    """True where one group may contain different scores."""


def count_scores(
    scores: Shaped[np.ndarray, "n"],
    anomalous: Shaped[np.ndarray, "a"],
    region_sizes: Int64[np.ndarray, "a"] | None = None,
) -> Counts:
    """Exact counts at every score of an anomalous pixel, and between these scores.

    Normal pixels between two neighbouring anomalous scores are counted together. This
    changes no metric: it only omits points on straight segments of the curves.

    Args:
      scores: scores of all pixels (or images).
      anomalous: scores of the anomalous pixels (or images).
      region_sizes: sizes of the anomalous pixels' regions. None: `covered` is 0.
    """
    ordered = np.sort(scores)
    values, place = np.unique(anomalous, return_inverse=True)
    found = np.bincount(place, minlength=len(values)).astype(np.float64)
    covered = np.zeros(len(values))
    if region_sizes is not None:  # bincount of an empty array gives integers
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
    """Counts at `values` and in the intervals below, between and above them."""
    size = 2 * len(values) + 1
    starts = np.zeros(size, np.int64)  # index in `ordered` of each group's first score
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

"""A histogram of float64 scores that float32 cannot hold, with bins where scores are.

`ScoreHistogram` splits all of float32 into pages and finds a bin by arithmetic. Scores
such as 1e9 + r share all upper bits, and 1e-300 is outside float32. Here the bins that
occur are kept in a sorted array, which is slower and keeps the order of any float64.
"""

import numpy as np
from jaxtyping import Float64, Int64, Shaped, UInt64

from lfq_jax.metrics import score_histogram
from lfq_jax.metrics.score_histogram import Bins, ScoreHistogram

_SIGN = np.uint64(1 << 63)
_FLOAT32_TAIL = 29
"""Bits of a float64's mantissa that are 0 in every normal float32."""


class SortedHistogram:
    """Integer columns (counts or weights) by float64 score, in `MOST_BINS` bins.

    A bin is the set of scores whose bits are equal after the last `dropped_bits`.
    `dropped_bits` is the smallest number for which the bins that hold a score fit. The
    state therefore depends only on the scores, not on their order or on how they were
    split among merged histograms.
    """

    def __init__(self, columns: int) -> None:
        self.dropped_bits = 0
        self._bins = np.zeros(0, np.uint64)  # upper bits of the scores, rising
        self._totals = np.zeros((columns, 0), np.int64)

    def is_empty(self) -> bool:
        return not len(self._bins)

    def add(
        self,
        column: int,
        scores: Float64[np.ndarray, "n"],
        weights: Int64[np.ndarray, "n"] | None = None,
    ) -> None:
        """Add every score, with weight 1 or its own. The scores must be finite."""
        if not len(scores):
            return
        bins = _ordered(scores) >> np.uint64(self.dropped_bits)
        if weights is None:
            bins, sums = np.unique(bins, return_counts=True)
        else:
            order = np.argsort(bins, kind="stable")
            bins, starts = np.unique(bins[order], return_index=True)
            sums = np.add.reduceat(weights[order], starts)
        place = self._opened(bins)
        self._totals[column, place] += sums
        self._coarsen_to_fit()

    def merge(self, other: "SortedHistogram") -> None:
        """Add the counts of `other`, which does not change."""
        self._absorb(other)
        self._coarsen_to_fit()

    def with_narrow(self, narrow: ScoreHistogram) -> "SortedHistogram":
        """This histogram and `narrow` as one, with the wider bins of the two.

        The bins of `narrow` are bins of float64 scores too, with 29 more bits dropped.
        The result may have twice `MOST_BINS` bins.
        """
        found = narrow.bins()
        both = SortedHistogram(len(self._totals))
        if narrow.dropped_bits:
            both.dropped_bits = narrow.dropped_bits + _FLOAT32_TAIL
        bins = _ordered(found.thresholds[::-1]) >> np.uint64(both.dropped_bits)
        both._bins, both._totals = bins, found.totals[:, ::-1].copy()
        both._absorb(self)
        return both

    def bins(self) -> Bins:
        """The bins that hold a score, with their totals, from the highest down."""
        lowest = self._bins[::-1] << np.uint64(self.dropped_bits)
        tied = np.full(len(lowest), self.dropped_bits > 0)
        return Bins(_scores(lowest), self._totals[:, ::-1], tied)

    def _absorb(self, other: "SortedHistogram") -> None:
        self._coarsen(other.dropped_bits)
        theirs = other
        if other.dropped_bits < self.dropped_bits:
            theirs = SortedHistogram(len(other._totals))
            theirs.dropped_bits = other.dropped_bits
            theirs._bins, theirs._totals = other._bins, other._totals
            theirs._coarsen(self.dropped_bits)
        place = self._opened(theirs._bins)
        self._totals[:, place] += theirs._totals

    def _opened(self, bins: UInt64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        """Places of `bins`, which rise and differ, after adding those that are new."""
        place = np.searchsorted(self._bins, bins)
        is_new = place == len(self._bins)
        if len(self._bins):
            is_new |= self._bins.take(place, mode="clip") != bins
        if is_new.any():
            at = place[is_new]
            self._bins = np.insert(self._bins, at, bins[is_new])
            self._totals = np.insert(self._totals, at, 0, axis=1)
        return place + np.cumsum(is_new) - is_new

    def _coarsen_to_fit(self) -> None:
        if len(self._bins) <= score_histogram.MOST_BINS:
            return
        different = self._bins[1:] ^ self._bins[:-1]
        bits = 0
        while np.count_nonzero(different) >= score_histogram.MOST_BINS:
            different >>= np.uint64(1)
            bits += 1
        self._coarsen(self.dropped_bits + bits)

    def _coarsen(self, dropped_bits: int) -> None:
        """Drop more bits, up to `dropped_bits`, and add up the bins that are equal."""
        more = dropped_bits - self.dropped_bits
        if more <= 0:
            return
        self.dropped_bits = dropped_bits
        if len(self._bins):
            bins = self._bins >> np.uint64(more)
            self._bins, starts = np.unique(bins, return_index=True)
            self._totals = np.add.reduceat(self._totals, starts, axis=1)


def _ordered(scores: Float64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """Integers in the order of the scores; 0 and -0.0 are equal."""
    bits = (scores + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _scores(ordered: UInt64[np.ndarray, "n"]) -> Shaped[np.ndarray, "n"]:
    """Inverse of `_ordered`, finite: the lowest bin may begin below every float64."""
    bits = np.where(ordered & _SIGN, ordered & ~_SIGN, ~ordered)
    scores = bits.view(np.float64)
    return np.where(np.isfinite(scores), scores, -np.finfo(np.float64).max)

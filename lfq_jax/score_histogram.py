"""A histogram of float32 scores that needs no bounds in advance and merges exactly."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

PAGE_BITS = 16
MOST_BINS = 1 << 22
_PAGES = 1 << (32 - PAGE_BITS)
_ZERO_PAGES = (0x0000, 0x8000)
_BLOCK = 1 << 16  # what is looked up at a time stays in the processor's cache


class Bins(NamedTuple):
    """The bins that hold anything, from the highest score down."""

    thresholds: Float64[np.ndarray, "t"]
    """The smallest score of each."""
    totals: Int64[np.ndarray, "columns t"]
    tied: Bool[np.ndarray, "t"]
    """True where a bin is wider than one float32."""


class ScoreHistogram:
    """Integer columns (counts or weights) by score, in at most `most_bins` bins.

    The scores that share the upper 16 bits of their float32 (sign, exponent and 7 bits
    of the mantissa: 128 to the octave) are a page. Each page that holds a score is
    split into 2^(16 - dropped_bits) bins, and `dropped_bits` is the least with which
    all pages together fit. So

    - any finite score has its place, whatever the range, and nothing is clipped;
    - scores within 64 pages (half an octave) are told apart to the last bit, those in
      [2^-28, 1] to 1 part in 2^17, and any at all to 1 part in 2^13;
    - the state depends on the scores alone, not on their order or on how they were
      split among histograms that were merged: `dropped_bits` follows from the set of
      pages, and integers add without rounding.

    Scores nearer to 0 than 1e-40 count as 0.
    """

    def __init__(self, columns: int, *, most_bins: int = MOST_BINS) -> None:
        if most_bins < _PAGES:
            raise ValueError(f"most_bins must be at least {_PAGES}, got {most_bins}")
        self.most_bins = most_bins
        self.dropped_bits = 0
        self._pages = np.zeros(0, np.uint32)
        self._first_bin = np.full(_PAGES, -1, np.int64)
        self._totals = np.zeros((columns, 0), np.int64)

    def is_empty(self) -> bool:
        return not len(self._pages)

    def add(
        self,
        column: int,
        scores: Float32[np.ndarray, "n"],
        weights: Int64[np.ndarray, "n"] | None = None,
    ) -> None:
        """Add 1, or its weight, for every score. The scores must be finite."""
        if not len(scores):
            return
        bins = self._find_bins(scores)
        if weights is None:
            # Sums of integers are exact, in any order.
            self._totals[column] += np.bincount(bins, minlength=self._totals.shape[1])
        else:
            np.add.at(self._totals[column], bins, weights)

    def merge(self, other: "ScoreHistogram") -> None:
        """Add what `other` holds. `other` stays as it is.

        Raises:
          ValueError: where the two were made with different settings.
        """
        if (other.most_bins, len(other._totals)) != (self.most_bins, len(self._totals)):
            raise ValueError(
                "other must have this histogram's columns and most_bins "
                f"({len(self._totals)}, {self.most_bins}), got "
                f"({len(other._totals)}, {other.most_bins})"
            )
        self._open_pages(other._pages)
        while self.dropped_bits < other.dropped_bits:
            self._coarsen()
        theirs = other._totals
        for _ in range(self.dropped_bits - other.dropped_bits):
            theirs = _halve(theirs)
        per_page = self._bins_per_page()
        first = self._first_bin[other._pages]
        bins = (first[:, None] + np.arange(per_page)).ravel()
        self._totals[:, bins] += theirs

    def bins(self) -> Bins:
        """What was counted, by score."""
        per_page = self._bins_per_page()
        used = np.flatnonzero(self._totals.any(0))
        page, place = self._pages[used // per_page], used % per_page
        bits = (page << PAGE_BITS) | (place << self.dropped_bits).astype(np.uint32)
        # Of negative numbers, the largest integer is the smallest score.
        bits = np.where(page >> 15, bits | ((1 << self.dropped_bits) - 1), bits)
        thresholds = bits.astype(np.uint32).view(np.float32).astype(np.float64)
        thresholds[np.isin(page, _ZERO_PAGES)] = 0.0
        order = np.argsort(-thresholds, kind="stable")
        starts = np.flatnonzero(np.diff(thresholds[order], prepend=np.inf))
        if not len(used):
            return Bins(thresholds, self._totals[:, used], np.zeros(0, bool))
        found = thresholds[order][starts]
        totals = np.add.reduceat(self._totals[:, used[order]], starts, axis=1)
        return Bins(found, totals, (found != 0.0) & (self.dropped_bits > 0))

    def _bins_per_page(self) -> int:
        return 1 << (PAGE_BITS - self.dropped_bits)

    def _find_bins(self, scores: Float32[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
        bits = np.ascontiguousarray(scores).view(np.uint32)
        bins = np.empty(len(bits), np.int64)
        start = 0
        while start < len(bits):
            block = bits[start : start + _BLOCK]
            page = (block >> PAGE_BITS).astype(np.intp)
            found = bins[start : start + _BLOCK]
            np.take(self._first_bin, page, out=found, mode="clip")
            if found.min() < 0:
                # New pages may coarsen every bin: begin again.
                self._open_pages(np.unique(bits >> PAGE_BITS))
                start = 0
                continue
            found += (block & ((1 << PAGE_BITS) - 1)) >> self.dropped_bits
            start += _BLOCK
        return bins

    def _open_pages(self, pages: np.ndarray) -> None:
        """Make room for `pages`, with coarser bins if need be."""
        new = pages[self._first_bin[pages] < 0].astype(np.uint32)
        self._pages = np.concatenate([self._pages, new])
        room = len(new) << (PAGE_BITS - self.dropped_bits)
        # Coarsen what is there before the room for what is new is taken.
        while len(self._pages) << (PAGE_BITS - self.dropped_bits) > self.most_bins:
            self._coarsen()
            room //= 2
        columns = len(self._totals)
        self._totals = np.concatenate(
            [self._totals, np.zeros((columns, room), np.int64)], axis=1
        )
        per_page = self._bins_per_page()
        self._first_bin[self._pages] = np.arange(len(self._pages)) * per_page

    def _coarsen(self) -> None:
        """Drop one more bit."""
        self._totals = _halve(self._totals)
        self.dropped_bits += 1
        self._first_bin[self._first_bin >= 0] //= 2


def _halve(totals: Int64[np.ndarray, "columns t"]) -> Int64[np.ndarray, "columns u"]:
    return totals[:, 0::2] + totals[:, 1::2]

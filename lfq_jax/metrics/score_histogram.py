"""A histogram of float32 scores that needs no bounds in advance and merges exactly."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt32

PAGE_BITS = 16
MOST_BINS = 1 << 20
"""Most bins of a histogram: 8 MB a column, about the size of a processor's cache. At
least one bin for each of the 2^16 pages."""
_PAGES = 1 << (32 - PAGE_BITS)
_ZERO_PAGES = (0x0000, 0x8000)
_IN_PAGE = np.uint32((1 << PAGE_BITS) - 1)
_BLOCK = 1 << 16  # scores counted at once, so that they stay in the processor's cache


class Bins(NamedTuple):
    """The bins that are not empty, from the highest score down."""

    thresholds: Float64[np.ndarray, "t"]
    """Smallest score of each bin."""
    totals: Int64[np.ndarray, "columns t"]
    """Sum of the counts or weights in each bin."""
    tied: Bool[np.ndarray, "t"]
    """True where a bin is wider than one float32."""


class _Run(NamedTuple):
    """Consecutive pages with consecutive bins, which need no lookup table."""

    start: np.uint32
    """Start of the first page, as the bits of a float32."""
    length: np.uint32
    """Length of the run, also in float32 bit patterns. It is below 2^32, since no
    finite float32 lies between the pages of the two signs."""
    first_bin: np.int64
    """Index of the first page's first bin."""


class ScoreHistogram:
    """Integer columns (counts or weights) by score, in at most `MOST_BINS` bins.

    A page is the set of scores with the same upper 16 bits of their float32: sign,
    exponent and 7 bits of the mantissa, so 128 pages per octave. Each page that holds
    a score is split into 2^(16 - dropped_bits) bins. `dropped_bits` is the smallest
    number for which the bins of all pages fit. Consequences:

    - Every finite score has a bin. There is no range to choose, and no clipping.
    - Scores within 16 pages (an eighth of an octave) are distinguished to the last
      bit, scores in [2^-28, 1] to 1 part in 2^15, and all others to 1 part in 2^11.
    - The state depends only on the scores, not on their order or on how they were
      split among merged histograms: `dropped_bits` follows from the set of pages, and
      integers add without rounding.

    Scores within 1e-40 of 0 count as 0.
    """

    def __init__(self, columns: int) -> None:
        self.dropped_bits = 0
        self._pages = np.zeros(0, np.uint32)
        self._first_bin = np.full(_PAGES, -1, np.int64)
        self._run = _Run(np.uint32(0), np.uint32(0), np.int64(0))
        self._totals = np.zeros((columns, 0), np.int64)

    def is_empty(self) -> bool:
        return not len(self._pages)

    def add(
        self,
        column: int,
        scores: Float32[np.ndarray, "n"],
        weights: Int64[np.ndarray, "n"] | None = None,
    ) -> None:
        """Add every score, with weight 1 or its own. The scores must be finite."""
        bits = np.ascontiguousarray(scores).view(np.uint32)
        start = 0
        while start < len(bits):
            block = slice(start, start + _BLOCK)
            bins = self._find_bins(bits[block])
            if bins is None:  # open all new pages of the remaining scores at once
                new = np.bincount(bits[start:] >> PAGE_BITS)
                self._open_pages(np.flatnonzero(new))
                continue
            # Integer sums are exact in any order.
            amounts = 1 if weights is None else weights[block]
            np.add.at(self._totals[column], bins, amounts)
            start += _BLOCK

    def merge(self, other: "ScoreHistogram") -> None:
        """Add the counts of `other`, which does not change.

        Raises:
          ValueError: if the two histograms have different numbers of columns.
        """
        if len(other._totals) != len(self._totals):
            raise ValueError(
                f"other must have this histogram's {len(self._totals)} columns, "
                f"got {len(other._totals)}"
            )
        self._open_pages(other._pages)
        while self.dropped_bits < other.dropped_bits:
            self._coarsen()
        added = other._totals
        for _ in range(self.dropped_bits - other.dropped_bits):
            added = _halve(added)
        per_page = self._bins_per_page()
        first = self._first_bin[other._pages]
        bins = (first[:, None] + np.arange(per_page)).ravel()
        self._totals[:, bins] += added

    def bins(self) -> Bins:
        """The bins that are not empty, with their totals, by score."""
        per_page = self._bins_per_page()
        used = np.flatnonzero(self._totals.any(0))
        page, place = self._pages[used // per_page], used % per_page
        bits = (page << PAGE_BITS) | (place << self.dropped_bits).astype(np.uint32)
        # For negative scores, the largest bit pattern is the smallest score.
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

    def _find_bins(
        self, bits: UInt32[np.ndarray, "n"]
    ) -> Int64[np.ndarray, "n"] | None:
        """The bin of each score, or None if a score's page is not open yet."""
        place = bits - self._run.start  # scores below the run wrap to large numbers
        outside = np.flatnonzero(place >= self._run.length)
        place >>= np.uint32(self.dropped_bits)
        bins = place + self._run.first_bin
        if len(outside):
            others = bits[outside]
            first = self._first_bin[others >> PAGE_BITS]
            if first.min() < 0:
                return None
            bins[outside] = first + ((others & _IN_PAGE) >> self.dropped_bits)
        return bins

    def _open_pages(self, pages: np.ndarray) -> None:
        """Add bins for `pages`; all bins become coarser if they would be too many."""
        new = pages[self._first_bin[pages] < 0].astype(np.uint32)
        self._pages = np.concatenate([self._pages, new])
        room = len(new) << (PAGE_BITS - self.dropped_bits)
        # Coarsen the existing bins before allocating the new ones.
        while len(self._pages) << (PAGE_BITS - self.dropped_bits) > MOST_BINS:
            self._coarsen()
            room //= 2
        columns = len(self._totals)
        self._totals = np.concatenate(
            [self._totals, np.zeros((columns, room), np.int64)], axis=1
        )
        per_page = self._bins_per_page()
        self._first_bin[self._pages] = np.arange(len(self._pages)) * per_page
        if len(self._pages):
            self._run = self._longest_run()

    def _longest_run(self) -> _Run:
        breaks = np.flatnonzero(np.diff(self._pages.astype(np.int64)) != 1) + 1
        edges = np.concatenate([[0], breaks, [len(self._pages)]])
        lengths = np.diff(edges)
        longest = int(np.argmax(lengths))
        first = edges[longest]
        return _Run(
            start=np.uint32(int(self._pages[first]) << PAGE_BITS),
            length=np.uint32(int(lengths[longest]) << PAGE_BITS),
            first_bin=np.int64(first * self._bins_per_page()),
        )

    def _coarsen(self) -> None:
        """Halve the number of bins: drop one more bit."""
        self._totals = _halve(self._totals)
        self.dropped_bits += 1
        self._first_bin[self._first_bin >= 0] //= 2


def _halve(totals: Int64[np.ndarray, "columns t"]) -> Int64[np.ndarray, "columns u"]:
    return totals[:, 0::2] + totals[:, 1::2]

"""A histogram of float32 scores that needs no bounds in advance and merges exactly."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt32

PAGE_BITS = 16
MOST_BINS = 1 << 20
"""A column of 8 MB: what a processor's cache holds, or nearly."""
_PAGES = 1 << (32 - PAGE_BITS)
_ZERO_PAGES = (0x0000, 0x8000)
_IN_PAGE = np.uint32((1 << PAGE_BITS) - 1)
_BLOCK = 1 << 16  # what is looked up at a time stays in the processor's cache


class Bins(NamedTuple):
    """The bins that hold anything, from the highest score down."""

    thresholds: Float64[np.ndarray, "t"]
    """The smallest score of each."""
    totals: Int64[np.ndarray, "columns t"]
    tied: Bool[np.ndarray, "t"]
    """True where a bin is wider than one float32."""


class _Run(NamedTuple):
    """Pages that follow one another, and so do their bins: no table is needed there."""

    start: np.uint32
    """Of the first page, as the bits of a float32."""
    length: np.uint32
    """In bits as well. No finite float32 lies between the two signs' pages, so that a
    run never holds all 2^32."""
    first_bin: np.int64


class ScoreHistogram:
    """Integer columns (counts or weights) by score, in at most `most_bins` bins.

    The scores that share the upper 16 bits of their float32 (sign, exponent and 7 bits
    of the mantissa: 128 to the octave) are a page. Each page that holds a score is
    split into 2^(16 - dropped_bits) bins, and `dropped_bits` is the least with which
    all pages together fit. So

    - any finite score has its place, whatever the range, and nothing is clipped;
    - scores within 16 pages (an eighth of an octave) are told apart to the last bit,
      those in [2^-28, 1] to 1 part in 2^15, and any at all to 1 part in 2^11;
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
        """Add 1, or its weight, for every score. The scores must be finite."""
        bits = np.ascontiguousarray(scores).view(np.uint32)
        start = 0
        while start < len(bits):
            block = slice(start, start + _BLOCK)
            bins = self._find_bins(bits[block])
            if bins is None:  # what follows may hold more new pages: all at once
                new = np.bincount(bits[start:] >> PAGE_BITS)
                self._open_pages(np.flatnonzero(new))
                continue
            # Sums of integers are exact, in any order.
            amounts = 1 if weights is None else weights[block]
            np.add.at(self._totals[column], bins, amounts)
            start += _BLOCK

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

    def _find_bins(
        self, bits: UInt32[np.ndarray, "n"]
    ) -> Int64[np.ndarray, "n"] | None:
        """None where a score lies in no page that is open."""
        place = bits - self._run.start  # what lies below wraps, and is large
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
        """Drop one more bit."""
        self._totals = _halve(self._totals)
        self.dropped_bits += 1
        self._first_bin[self._first_bin >= 0] //= 2


def _halve(totals: Int64[np.ndarray, "columns t"]) -> Int64[np.ndarray, "columns u"]:
    return totals[:, 0::2] + totals[:, 1::2]

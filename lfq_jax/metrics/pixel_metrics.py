"""Pixel counts, image by image: streaming in constant memory, or exactly by sorting.

Both share one interface: `update(maps, masks)`, `merge(other)`, `counts()` and
`compute()`.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from lfq_jax.metrics import ground_truth
from lfq_jax.metrics.counts import Counts, count_scores
from lfq_jax.metrics.score_histogram import ScoreHistogram
from lfq_jax.metrics.sorted_histogram import SortedHistogram
from lfq_jax.metrics.values import PRO_FPR_LIMITS, MetricValues, pixel_figures

Mode = Literal["streaming", "exact"]
EXACT_PIXELS = 1 << 22
"""Up to this number of pixels, `StreamingPixelMetrics` stores them and is exact."""
_BATCH_PIXELS = {
    np.float32: 1 << 17,  # fewer mean more calls; more do not fit in the CPU's cache
    np.float64: 1 << 20,  # every batch is merged into a sorted array of this length
}
_SMALLEST_NORMAL = np.finfo(np.float32).tiny
REGION_UNIT = 1 << 40
"""Weight of one region, an integer so that sums do not depend on their order."""
MOST_REGIONS = (1 << 63) // REGION_UNIT - 1


class _Pixels(NamedTuple):
    """Pixels that are not counted yet."""

    scores: Shaped[np.ndarray, "n"]
    """Scores of all pixels."""
    anomalous: Shaped[np.ndarray, "a"]
    """Scores of the anomalous pixels."""
    region_sizes: Int64[np.ndarray, "a"]
    """Size of each anomalous pixel's region, in pixels."""


class _Waiting:
    """Pixels of one dtype that are not counted yet."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[_Pixels] = []

    def add(self, pixels: _Pixels) -> None:
        self._parts.append(pixels)
        self.count += len(pixels.scores)

    def take(self, other: "_Waiting") -> None:
        """Add the pixels of `other`, which does not change."""
        self._parts += other._parts
        self.count += other.count

    def gathered(self) -> _Pixels:
        """All pixels, concatenated."""
        if not self._parts:
            return _Pixels(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
        if len(self._parts) > 1:
            self._parts = [_concatenated(self._parts)]
        return self._parts[0]


def _concatenated(parts: Sequence[_Pixels]) -> _Pixels:
    return _Pixels(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class _PixelMetrics:
    """The part that exact and streaming counting share."""

    def __init__(self) -> None:
        self.images = 0
        self.pixels = 0
        self._waiting = {np.float32: _Waiting(), np.float64: _Waiting()}
        self._warned = False

    def update(
        self,
        maps: Iterable[Shaped[np.ndarray, "..."]],
        masks: Iterable[Shaped[np.ndarray, "..."]],
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Add images.

        Args:
          maps: scores [h w], higher is more anomalous; sizes may differ.
          masks: [h w], of the same shape as the map: bool, or 0 to 255 (anomalous
            above 127).
          names: image names for error messages; their indices by default.

        Warns:
          UserWarning: once, if a mask has values strictly between 0 and 255.

        Raises:
          ValueError: if a map is not finite or differs in shape from its mask, or a
            mask is neither boolean nor integers from 0 to 255.
        """
        for i, (anomaly_map, mask) in enumerate(zip(maps, masks, strict=True)):
            name = names[i] if names is not None else str(self.images)
            self._warn_of_levels(mask, name)
            mask = ground_truth.binarise(mask, name=f"masks[{name}]")
            _check_map(anomaly_map, mask, name)
            self._add(anomaly_map, mask, name)
            self.images += 1
            self.pixels += mask.size

    def _warn_of_levels(self, mask: np.ndarray, name: str) -> None:
        if not self._warned and not ground_truth.is_two_level(mask):
            self._warned = True
            warnings.warn(
                f"masks[{name}] has values other than 0 and 255; a mask is anomalous "
                f"where it is > {ground_truth.THRESHOLD} of 255",
                stacklevel=3,
            )

    def _add(self, anomaly_map: np.ndarray, mask: np.ndarray, name: str) -> None:
        inside = np.flatnonzero(mask)
        scores = _scores(anomaly_map, name)
        pixels = _Pixels(scores, scores[inside], ground_truth.regions(mask))
        self._waiting[scores.dtype.type].add(pixels)

    def _take_waiting(self, other: "_PixelMetrics") -> None:
        for dtype, waiting in self._waiting.items():
            waiting.take(other._waiting[dtype])
        self.images += other.images
        self.pixels += other.pixels

    def _exact_counts(self) -> Counts:
        """Counts of the waiting pixels. float32 scores become float64 beside others."""
        parts = [each.gathered() for each in self._waiting.values() if each.count]
        if not parts:
            parts = [_Waiting().gathered()]
        return count_scores(*(parts[0] if len(parts) == 1 else _concatenated(parts)))

    def counts(self) -> Counts:
        """Counts at every threshold. `curves` computes metrics from them."""
        raise NotImplementedError

    def compute(
        self, *, pro_fpr_limits: Sequence[float] = PRO_FPR_LIMITS
    ) -> MetricValues:
        """The metrics of all images so far."""
        return pixel_figures(self.counts(), pro_fpr_limits=pro_fpr_limits)


class StreamingPixelMetrics(_PixelMetrics):
    """Pixel metrics in one pass and constant memory, mergeable across processes.

    Up to `EXACT_PIXELS` pixels are stored, and their metrics equal those of
    `ExactPixelMetrics`. More pixels are counted in a `ScoreHistogram`. It needs no
    score bounds in advance: its bins follow the float32 scores that occur, as fine as
    1 million bins allow. Maps whose scores float32 cannot hold are counted in a
    `SortedHistogram` of float64 scores, which is slower. `MetricValues.error_bounds`
    has the largest possible error of each metric, about 1e-6 for maps in [0, 1].

    The state depends on which images were added, not on their order or on how they
    were split: merged parts have the same counts to the last bit. Memory stays below
    about 300 MB for any number of images, unless a single image is larger. Objects can
    be pickled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.regions = 0.0
        self.histogram = ScoreHistogram(3)
        self.wide_histogram = SortedHistogram(3)

    def merge(self, other: "StreamingPixelMetrics") -> None:
        """Add the counts of `other`, which does not change."""
        self.histogram.merge(other.histogram)
        self.wide_histogram.merge(other.wide_histogram)
        self._check_regions(other.regions)
        self._take_waiting(other)
        self._count_if_many()

    def counts(self) -> Counts:
        if self.pixels <= EXACT_PIXELS:
            return self._exact_counts()
        self._count_waiting()
        histogram = self.histogram
        if not self.wide_histogram.is_empty():
            histogram = self.wide_histogram.with_narrow(histogram)
        thresholds, totals, tied = histogram.bins()
        everything, anomalous, covered = totals
        return Counts(
            thresholds=thresholds,
            normal=(everything - anomalous).astype(np.float64),
            anomalous=anomalous.astype(np.float64),
            covered=covered / REGION_UNIT,
            tied=tied,
        )

    def _add(self, anomaly_map: np.ndarray, mask: np.ndarray, name: str) -> None:
        super()._add(anomaly_map, mask, name)
        self._count_if_many()

    def _count_if_many(self) -> None:
        if self.histogram.is_empty() and self.wide_histogram.is_empty():
            if sum(each.count for each in self._waiting.values()) > EXACT_PIXELS:
                self._count_waiting()
            return
        if any(w.count > _BATCH_PIXELS[dtype] for dtype, w in self._waiting.items()):
            self._count_waiting()

    def _count_waiting(self) -> None:
        for dtype, waiting in self._waiting.items():
            scores, anomalous, sizes = waiting.gathered()
            self._waiting[dtype] = _Waiting()
            if not len(scores):
                continue
            is_narrow = dtype is np.float32
            histogram = self.histogram if is_narrow else self.wide_histogram
            self._check_regions(float((1.0 / sizes).sum()))
            histogram.add(0, scores)
            histogram.add(1, anomalous)
            histogram.add(2, anomalous, np.rint(REGION_UNIT / sizes).astype(np.int64))

    def _check_regions(self, new: float) -> None:
        self.regions += new
        if self.regions > MOST_REGIONS:
            raise ValueError(
                f"masks must have at most {MOST_REGIONS:,} regions in all, "
                f"got {self.regions:,.0f}"
            )


class ExactPixelMetrics(_PixelMetrics):
    """Pixel metrics by sorting. Stores all pixels; float64 scores stay float64."""

    def merge(self, other: "ExactPixelMetrics") -> None:
        """Add the pixels of `other`, which does not change."""
        self._take_waiting(other)

    def counts(self) -> Counts:
        return self._exact_counts()


def _scores(anomaly_map: Shaped[np.ndarray, "h w"], name: str) -> np.ndarray:
    """A copy of the scores, [h w] flattened: float32 if it holds them, else float64.

    float32 below its smallest normal number counts as not held, since
    `ScoreHistogram` counts such scores as 0.

    Raises:
      ValueError: if a score is not finite, or float64 does not hold it either.
    """
    flat = anomaly_map.ravel()
    with np.errstate(over="ignore"):  # _check_finite refuses overflow
        wide = flat if flat.dtype.itemsize <= 4 else flat.astype(np.float64)
        narrow = flat.astype(np.float32)  # a copy: the caller may overwrite the array
    _check_finite(wide, anomaly_map, name)
    if flat.dtype.kind in "iu":
        _check_whole_numbers(flat, name)
    if flat.dtype not in (np.float16, np.float32) and not (narrow == wide).all():
        return wide.astype(np.float64)
    is_tiny = (np.abs(narrow) < _SMALLEST_NORMAL) & (narrow != 0)
    return narrow.astype(np.float64) if is_tiny.any() else narrow


def _check_whole_numbers(flat: Shaped[np.ndarray, "n"], name: str) -> None:
    """Refuse integers beyond the range in which float64 holds every integer."""
    limit = 1 << np.finfo(np.float64).nmant + 1
    if flat.size and (int(flat.min()) < -limit or int(flat.max()) > limit):
        raise ValueError(
            f"maps[{name}] must hold integers in [-2^53, 2^53], which float64 holds, "
            f"got {flat.min()} to {flat.max()}"
        )


def _check_map(
    anomaly_map: Shaped[np.ndarray, "..."],
    mask: Bool[np.ndarray, "..."],
    name: str,
) -> None:
    if anomaly_map.shape != mask.shape or mask.ndim != 2:
        raise ValueError(
            f"maps[{name}] must be [h w] and have its mask's shape {mask.shape}, "
            f"got {anomaly_map.shape}"
        )
    if anomaly_map.dtype.kind not in "fiu" or anomaly_map.dtype.itemsize > 8:
        raise ValueError(
            f"maps[{name}] must be numbers of at most 64 bits, got {anomaly_map.dtype}"
        )


def _check_finite(
    scores: Shaped[np.ndarray, "n"], anomaly_map: Shaped[np.ndarray, "h w"], name: str
) -> None:
    finite = np.isfinite(scores)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), anomaly_map.shape[1])
        raise ValueError(
            f"maps[{name}] must be finite {scores.dtype}, "
            f"got {anomaly_map[row, column]} at row {row}, column {column}"
        )
